"""Running out of memory: which settings change, in which order, and that nothing is lost."""

import jax
import pytest

from tirgn_eqx import TiRGNTrainingConfig, simulate, train_tirgn
from tirgn_eqx.train import trainer as training
from tirgn_eqx.train.events import OutOfMemoryRecord
from tirgn_eqx.train.recovery import cheaper_config, is_out_of_memory

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
