"""The last stage: which gate forecasts what, what a gate is fitted for, and which stages are taken as done."""

import dataclasses
import json

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers import make_graph, tiny_config
from tirgn_eqx.checkpoint.files import save_checkpoint
from tirgn_eqx.checkpoint.metadata import StageDocument, StageIdentity
from tirgn_eqx.config import MixtureTrainingConfig, preset
from tirgn_eqx.data.vocabulary import describe_vocabulary
from tirgn_eqx.evaluate.evaluators import MixtureEvaluator
from tirgn_eqx.evaluate.ranks import Ranks
from tirgn_eqx.evaluate.results import Evaluation
from tirgn_eqx.models import build_model
from tirgn_eqx.train import staged

SMALL = {"embedding_dim": 4, "evidence_heads": 2, "evidence_hidden": 3, "evidence_background": False}


@pytest.fixture(scope="module")
def graph():
    """A fact at each of nine times, five of which are the valid split."""
    return make_graph([(t % 4, t % 2, (t + 1) % 4, t) for t in range(9)], num_entities=4, num_relations=2, valid=4)


@pytest.fixture(scope="module")
def model():
    config = MixtureTrainingConfig.of(tiny_config(history_len=1), preset("evidence").replace(**SMALL))

    def make(key):
        return build_model(4, 2, config, key=key)

    shape = eqx.filter_eval_shape(make, jax.random.key(0))
    return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shape)


def numbered(model, number):
    """The model with a gate that is known by a number."""
    return eqx.tree_at(lambda m: m.gate.base, model, jnp.full(3, float(number)))


class Told(MixtureEvaluator):
    """Every figure of every question is the number of the gate."""

    def __call__(self, model):
        snapshot = np.repeat(self.loader.snapshots, 2)

        def of():
            return {kind: np.full(len(snapshot), float(model.gate.base[0])) for kind in ("entity", "relation")}

        inverse = np.arange(len(snapshot)) % 2 == 1
        columns = {name: of() for name in Ranks._fields}
        return Evaluation(self.graph, "valid", "single-step", snapshot, inverse, seconds=0.0, **columns)


@pytest.mark.parametrize("stopped_at", [None, 1, 2, 3])
def test_every_snapshot_is_forecast_by_a_gate_that_has_not_seen_it(graph, model, monkeypatch, stopped_at):
    fitted = []  # the snapshots of every fit, by its number

    class Fit:
        def __init__(self, *_):
            pass

        def __call__(self, chosen, stop):
            fitted.append(set(chosen.tolist()))
            return None if len(fitted) == stopped_at else numbered(model, len(fitted))

    monkeypatch.setattr(staged, "GateFitter", Fit)
    evaluator = Told(graph, "valid", history_len=1, **model.evidence.loader_options)
    final, found = staged.fit_gate(model, evaluator, lambda record: None, lambda: False)
    if stopped_at:
        assert final is None and (found is None) == (stopped_at < 3)
        return
    snapshots = set(graph.split_snapshots("valid").tolist())
    assert len(snapshots) == 5 and final is not None and found is not None
    assert [len(seen) for seen in fitted] == [3, 2, 5] and fitted[0] | fitted[1] == fitted[2] == snapshots
    assert float(final.gate.base[0]) == 3
    for name in Ranks._fields:
        for kind in ("entity", "relation"):
            for snapshot, number in zip(found.snapshot.tolist(), getattr(found, name)[kind].astype(int).tolist()):
                assert number in (1, 2) and snapshot not in fitted[number - 1]


def test_a_stage_is_done_only_with_the_same_settings_data_names_and_weights(tmp_path, graph):
    identity = StageIdentity(config={"seed": 0}, sha256="a", start="b")
    save_checkpoint(tmp_path / "tirgn_best", {"x": np.zeros(1, np.float32)}, describe_vocabulary(graph))
    document = StageDocument(identity=identity, best="tirgn_best.npz", result={"status": "complete"})
    (tmp_path / staged.STAGE_FILE).write_text(json.dumps(document.model_dump()))

    def done(known=graph, **changes):
        return staged.finished_stage(tmp_path, known, identity.model_copy(update=changes))

    assert done() == document
    for changes in ({"config": {"seed": 1}}, {"sha256": "c"}, {"start": "c"}, {"start": None}):
        assert done(**changes) is None
    named = dataclasses.replace(graph, entity_names=tuple("abcd"), relation_names=tuple("rs"))
    save_checkpoint(tmp_path / "tirgn_best", {"x": np.zeros(1, np.float32)}, describe_vocabulary(named))
    assert done(named) == document
    assert done(dataclasses.replace(named, entity_names=tuple("abdc"))) is None
    elsewhere = document.model_copy(update={"best": "../tirgn_best.npz"})
    (tmp_path / staged.STAGE_FILE).write_text(json.dumps(elsewhere.model_dump()))
    assert done(named) is None
    (tmp_path / staged.STAGE_FILE).write_text(json.dumps(document.model_dump()))
    (tmp_path / "tirgn_best.npz").unlink()
    assert done(named) is None
