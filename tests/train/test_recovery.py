"""Steps that are not finite; and running out of memory: which settings change in which order, and nothing is lost."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tirgn_eqx import TiRGNTrainingConfig, simulate, train_tirgn
from tirgn_eqx.config import EvidenceTrainingConfig
from tirgn_eqx.errors import DataError
from tirgn_eqx.train import trainer as training
from tirgn_eqx.train.events import OutOfMemoryRecord
from tirgn_eqx.train.recovery import (
    SkippedSteps,
    cheaper_config,
    describe_divergence,
    evidence_oom_overrides,
    is_finite,
    is_out_of_memory,
    is_skipped,
    recurrent_oom_overrides,
    select_tree,
)

EXHAUSTED = jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 12345 bytes.")


def test_the_loop_over_the_window_comes_back_first():
    config = TiRGNTrainingConfig(unroll=True, remat="none", batch_size=0)
    assert cheaper_config(config, queries=100) == config.replace(unroll=False)


def test_first_stronger_rematerialisation_then_smaller_batches():
    config, configs = TiRGNTrainingConfig(remat="none", batch_size=0), []
    while config is not None:
        configs.append((config.remat, config.batch_size))
        config = cheaper_config(config, queries=100)
    assert configs == [("none", 0), ("dots", 0), ("full", 0), ("full", 50), ("full", 25)]
    larger_than_needed = cheaper_config(TiRGNTrainingConfig(remat="full", batch_size=4096), queries=100)
    assert larger_than_needed.batch_size == 50


def test_what_counts_as_out_of_memory():
    assert is_out_of_memory(EXHAUSTED) and is_out_of_memory(MemoryError())
    assert not is_out_of_memory(jax.errors.JaxRuntimeError("INVALID_ARGUMENT: shapes"))
    assert not is_out_of_memory(ValueError("Out of memory"))


def test_as_many_skipped_steps_as_allowed_are_not_too_many():
    def many(count, steps=10):
        return SkippedSteps(2, 1, steps, count).too_many

    assert [many(count) for count in (0, 1, 2, 3, 4)] == [False, False, False, True, True]
    assert many(2, steps=2) and not many(1, steps=2)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["loss", "gradient_norm"])
def test_a_loss_or_a_gradient_that_is_no_number_is_skipped(name, bad):
    good = {"loss": jnp.asarray(1.0), "gradient_norm": jnp.asarray(2.0)}
    metrics = good | {name: jnp.asarray(bad)}
    assert bool(is_finite(good)) and not bool(is_finite(metrics))
    assert not is_skipped(good) and is_skipped(metrics)
    new, old = {"a": jnp.ones(2), "b": "word"}, {"a": jnp.zeros(2), "b": "word"}
    kept = select_tree(is_finite(metrics), new, old)
    assert kept["a"].tolist() == [0, 0] and select_tree(is_finite(good), new, old)["a"].tolist() == [1, 1]


def test_the_message_names_the_first_skipped_step_and_what_to_do():
    steps = SkippedSteps(1, epoch=3, steps=10)
    bad = {"loss": np.float32("nan"), "gradient_norm": np.float32(2.0)}
    good = {"loss": np.float32(1.0), "gradient_norm": np.float32(2.0)}
    for number, metrics in enumerate([good, bad, good, bad], start=1):
        steps.add(number, 10 * number, metrics)
    # The last two are not read yet, and the others only once.
    assert [found[:2] for found in steps.read(waiting=2)] == [(2, 20)] and steps.unread == 2
    assert steps.describe(2, "2026-01-02", bad) == (
        "skipped step 2 of epoch 3, snapshot 2026-01-02: loss nan, gradient norm 2"
    )
    assert [found.step for found in steps.read()] == [4] and steps.too_many
    steps.describe(4, "2026-01-04", bad)
    told = str(steps.error("use fewer"))
    assert "2 of 10 steps of epoch 3" in told and "step 2 of epoch 3, snapshot 2026-01-02" in told
    assert told.endswith("; use fewer")


def test_a_divergence_names_the_largest_weight_and_a_smaller_step():
    model = {"small": jnp.ones(3), "large": jnp.asarray([-5.0, 1.0]), "empty": jnp.ones(0), "ids": jnp.asarray([99])}
    config = TiRGNTrainingConfig(learning_rate=0.25, precision="bf16")
    told = describe_divergence(model, config, "x.npz is kept")
    assert "5 (in large); x.npz is kept" in told and "now 0.25) or --precision f32" in told
    assert "--precision" not in describe_divergence(model, config.replace(precision="f32"), "")


def test_the_overrides_are_the_settings_of_the_next_cheaper_step():
    config, error = TiRGNTrainingConfig(remat="dots", batch_size=64), MemoryError()
    assert recurrent_oom_overrides(config, 100, "d", error) == {"remat": "full", "batch_size": 64}
    unrolled = recurrent_oom_overrides(config.replace(unroll=True), 100, "d", error)
    assert unrolled == {"remat": "dots", "batch_size": 64, "unroll": False}
    with pytest.raises(MemoryError):
        recurrent_oom_overrides(config.replace(remat="full", batch_size=16), 100, "d", error)
    with pytest.raises(DataError, match="d: out of memory .* 1,000 queries; .* --batch-size .now 2048") as told:
        evidence_oom_overrides(EvidenceTrainingConfig(), 1000, "d", error)
    assert told.value.__cause__ is error


@pytest.fixture(scope="module")
def graph():
    return simulate(num_entities=14, num_relations=4, num_days=12, facts_per_day=20, seed=2).graph


def configured(folder, **changes):
    settings = {
        "embedding_dim": 8,
        "history_len": 2,
        "num_layers": 1,
        "conv_channels": 3,
        "epochs": 2,
        "eval_interval": 1,
        "max_buckets": 1,
        "precision": "f32",
        "batch_size": 0,
        "remat": "dots",
    }
    return TiRGNTrainingConfig(**settings | changes, logdir=str(folder / "logs"))


def limited(monkeypatch, allows):
    """Lets the step run only in a form that `allows`; a step that is refused deletes its arguments, as a device that
    ran out of memory halfway may have invalidated them."""
    real = training.CompiledStep

    class Limited(real):
        def __init__(self, config, *rest):
            super().__init__(config, *rest)
            self.config, self.steps = config, 0

        def __call__(self, model, opt_state, prepared, key):
            self.steps += 1
            if self.steps > 3 and not allows(self.config):
                jax.tree.map(lambda leaf: leaf.delete(), (model, opt_state))
                raise EXHAUSTED
            return super().__call__(model, opt_state, prepared, key)

    monkeypatch.setattr(training, "CompiledStep", Limited)


@pytest.mark.slow
def test_a_training_takes_cheaper_steps_and_says_so(graph, tmp_path, monkeypatch):
    limited(monkeypatch, lambda config: config.remat == "full" and 0 < config.batch_size <= 32)
    records = []
    result = train_tirgn(graph, configured(tmp_path), model_dir=tmp_path, on_record=records.append)
    assert result["status"] == "complete" and result["epochs_trained"] == 2
    facts = max(len(graph.subject[graph.snapshot == time]) for time in range(1, graph.num_snapshots))
    said = [(r.overrides["remat"], r.overrides["batch_size"]) for r in records if isinstance(r, OutOfMemoryRecord)]
    assert said[0] == ("full", 0) and said[-1][1] <= 32 and len(said) >= 2 and facts > 0
    assert result["oom_overrides"] == {"remat": "full", "batch_size": said[-1][1]}
    assert "out of memory; going on with" in (tmp_path / "logs" / "text.jsonl").read_text()


@pytest.mark.slow
def test_a_stronger_rematerialisation_changes_no_result(graph, tmp_path, monkeypatch):
    plain = train_tirgn(graph, configured(tmp_path / "a", remat="full"), model_dir=tmp_path / "a")
    limited(monkeypatch, lambda config: config.remat == "full")
    result = train_tirgn(graph, configured(tmp_path / "b"), model_dir=tmp_path / "b")
    assert result["oom_overrides"]["remat"] == "full"
    assert result["test"]["entity"] == pytest.approx(plain["test"]["entity"], rel=1e-3)


@pytest.mark.slow
def test_without_a_cheaper_step_the_error_stays(graph, tmp_path, monkeypatch):
    limited(monkeypatch, lambda config: False)
    with pytest.raises(jax.errors.JaxRuntimeError, match="RESOURCE_EXHAUSTED"):
        train_tirgn(graph, configured(tmp_path, remat="full"), model_dir=tmp_path)
