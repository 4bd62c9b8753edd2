"""Losses and gradients that are no numbers: such steps change nothing, are said, and in the end stop the training."""

import json

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers import family_config
from tirgn_eqx import simulate, train_tirgn
from tirgn_eqx.checkpoint.files import load_checkpoint
from tirgn_eqx.errors import DivergedError
from tirgn_eqx.train import trainer as training
from tirgn_eqx.train.compiled_step import with_key
from tirgn_eqx.train.events import EpochRecord, SkippedStepRecord
from tirgn_eqx.train.families import make_step
from tirgn_eqx.train.optimizer import init_optimizer, make_optimizer

SMALL = {
    "embedding_dim": 8,
    "history_len": 2,
    "num_layers": 1,
    "static_blocks": 4,
    "conv_channels": 3,
    "batch_size": 0,
    "epochs": 2,
    "eval_interval": 1,
    "checkpoint_interval": 0,
    "learning_rate": 0.02,
    "max_buckets": 1,
    "precision": "f32",
    "remat": "none",
    "evidence_heads": 4,
    "evidence_hidden": 4,
}


@pytest.fixture(scope="module")
def graph():
    return simulate(num_entities=14, num_relations=4, num_days=16, facts_per_day=10, seed=2).graph


def configured(folder, **changes):
    return family_config(**SMALL | changes, logdir=str(folder / "logs"))


@pytest.mark.ci
@pytest.mark.parametrize("changes", [{"loss": "shared", "num_shared": 2}, {"family": "evidence"}])
def test_a_step_that_gives_nan_changes_no_bit(graph, tmp_path, changes):
    config = configured(tmp_path, ema_decay=0.5, **changes)
    run = training.Trainer(graph, config, tmp_path, lambda record: None)
    (prepared,) = run.loader.one_of_each()
    batch = with_key(prepared, jax.random.key(0))
    step = eqx.filter_jit(make_step(config, make_optimizer(config)))

    def poison(model, value):
        return jax.tree.map(
            lambda leaf: leaf.at[(0,) * leaf.ndim].set(value) if eqx.is_inexact_array(leaf) and leaf.size else leaf,
            model,
        )

    model = poison(run.state.model, jnp.nan)
    state = init_optimizer(make_optimizer(config), model)
    new, new_state, metrics = step(model, state, batch)
    assert not np.isfinite(metrics["gradient_norm"])
    for before, after in zip(jax.tree.leaves((model, state)), jax.tree.leaves((new, new_state)), strict=True):
        np.testing.assert_array_equal(np.asarray(before), np.asarray(after))
    # The same step without the poison does change something.
    state = init_optimizer(make_optimizer(config), run.state.model)
    new, _, metrics = step(run.state.model, state, batch)
    assert np.isfinite(metrics["loss"])
    assert any(
        (np.asarray(a) != np.asarray(b)).any() for a, b in zip(jax.tree.leaves(run.state.model), jax.tree.leaves(new))
    )


class Spoilt:
    """A compiled step that gives NaN where it is told to, as a broken snapshot would."""

    def __init__(self, inner, spoil):
        self.inner, self.spoil = inner, spoil
        self.programs, self.compile = inner.programs, inner.compile

    def __call__(self, model, opt_state, prepared, key):
        before = jax.tree.map(lambda x: jnp.array(x) if eqx.is_array(x) else x, (model, opt_state))
        model, opt_state, metrics = self.inner(model, opt_state, prepared, key)
        if self.spoil(prepared.target):
            return *before, metrics | {"loss": jnp.float32(jnp.nan), "gradient_norm": jnp.float32(jnp.inf)}
        return model, opt_state, metrics


def spoil(monkeypatch, chosen):
    made = training.CompiledStep
    monkeypatch.setattr(training, "CompiledStep", lambda *arguments: Spoilt(made(*arguments), chosen))


@pytest.mark.slow
def test_skipped_steps_are_counted_and_logged_and_resumed(graph, tmp_path, monkeypatch):
    spoil(monkeypatch, lambda target: target in (3, 4))
    ends = {}
    for name in ("whole", "broken"):
        folder, records = tmp_path / name, []
        config = configured(folder)
        answers = iter([False] * 9 + [name == "broken"] + [False] * 99)

        def stop(answers=answers):
            return next(answers)

        result = train_tirgn(graph, config, model_dir=folder, on_record=records.append, stop=stop)
        if name == "broken":
            assert result["status"] == "interrupted"
            result = train_tirgn(graph, config, model_dir=folder, on_record=records.append, resume=True)
        assert result["status"] == "complete" and result["skipped_steps"] == 4
        bad = [record for record in records if isinstance(record, SkippedStepRecord)]
        assert len(bad) == 4 and {record.time for record in bad} == {3, 4}
        said = [json.loads(line) for line in (folder / "logs" / "text.jsonl").read_text().splitlines()]
        said = [(line["step"], line["skipped_step"]) for line in said if "skipped_step" in line]
        assert len(said) == 4 and all("loss nan, gradient norm inf" in text for _, text in said)
        metrics = [json.loads(line) for line in (folder / "logs" / "metrics.jsonl").read_text().splitlines()]
        losses = [line["train/loss"] for line in metrics if "train/loss" in line]
        assert len(losses) == 2 and all(np.isfinite(losses))
        ends[name] = (said, losses, load_checkpoint(folder / "tirgn_trained").arrays)
    assert ends["whole"][:2] == ends["broken"][:2]
    for name, array in ends["whole"][2].items():
        np.testing.assert_array_equal(array, ends["broken"][2][name])


@pytest.mark.ci
def test_too_many_end_the_training_at_the_last_good_checkpoint(graph, tmp_path, monkeypatch):
    begun = []
    # The second epoch goes wrong: the first one's best checkpoint stays.
    spoil(monkeypatch, lambda target: len(begun) == 1 and target > 2)

    def emit(record):
        return begun.append(1) if isinstance(record, EpochRecord) else None

    with pytest.raises(DivergedError, match=r"4 of \d+ steps of epoch 2 .*max_skipped_steps = 3.*loss nan") as error:
        train_tirgn(graph, configured(tmp_path, max_skipped_steps=3, epochs=3), model_dir=tmp_path, on_record=emit)
    assert f"{tmp_path / 'tirgn_best.npz'} is that of epoch 1" in str(error.value)
    assert "smaller --lr (now 0.02)" in str(error.value) and "\n" not in str(error.value)
    assert load_checkpoint(tmp_path / "tirgn_best").metadata["metrics"]["epoch"] == 1


@pytest.mark.slow
def test_an_epoch_of_skipped_steps_alone_ends_the_training(graph, tmp_path, monkeypatch):
    spoil(monkeypatch, lambda target: True)
    with pytest.raises(DivergedError, match="there is no checkpoint yet"):
        train_tirgn(graph, configured(tmp_path, max_skipped_steps=10**6), model_dir=tmp_path)


@pytest.mark.slow
def test_a_learning_rate_without_measure_ends_in_one_line(graph, tmp_path):
    # Nothing is made up here: the weights overflow, and every later step is bad.
    with pytest.raises(DivergedError, match="the largest weight is"):
        train_tirgn(graph, configured(tmp_path, learning_rate=1e37, epochs=5), model_dir=tmp_path)


@pytest.mark.slow
def test_old_checkpoints_go_only_when_the_new_one_can_be_read(graph, tmp_path, monkeypatch):
    config = configured(tmp_path, checkpoint_interval=1, keep=2, epochs=4)
    stale = tmp_path / "tirgn_epoch_9.npz"  # of another training
    stale.write_bytes(b"")
    train_tirgn(graph, config, model_dir=tmp_path)
    names = sorted(path.name for path in tmp_path.glob("tirgn_epoch_*"))
    assert names == ["tirgn_epoch_3.json", "tirgn_epoch_3.npz", "tirgn_epoch_4.json", "tirgn_epoch_4.npz", stale.name]
    from tirgn_eqx.checkpoint.run_folder import prune_checkpoints
    from tirgn_eqx.errors import CheckpointError

    (tmp_path / "tirgn_epoch_4.npz").write_bytes(b"PK broken")
    with pytest.raises(CheckpointError):
        prune_checkpoints(tmp_path / "tirgn_epoch_4.npz", 4, 1)
    assert (tmp_path / "tirgn_epoch_3.npz").exists()
