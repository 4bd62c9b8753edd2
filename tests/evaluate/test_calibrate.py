"""Temperatures: found where they are known, ranks untouched, probabilities as the definition says."""

from types import SimpleNamespace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers import random_graph
from tirgn_eqx.checkpoint.models import load_model, save_calibration, save_model
from tirgn_eqx.config import MixtureTrainingConfig, TiRGNTrainingConfig, preset
from tirgn_eqx.errors import CheckpointError
from tirgn_eqx.evaluate.calibrate import fit_temperature
from tirgn_eqx.evaluate.protocol import make_evaluator
from tirgn_eqx.models import build_model


@pytest.mark.parametrize("truth", [(1.0, 1.0), (0.6, 1.8), (3.0, 0.3)])
def test_a_known_temperature_is_found(truth):
    """Answers drawn from softmax(logits), forecasts sharpened or flattened by a known factor."""
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(20_000, 12)) * 2
    answer = np.argmax(logits + rng.gumbel(size=logits.shape), 1)

    def evaluate(temperature):
        nll = {}
        for kind, factor, degree in zip(("entity", "relation"), truth, temperature):
            scaled = logits * factor / float(degree)
            log_p = scaled - np.log(np.exp(scaled).sum(1, keepdims=True))
            nll[kind] = -log_p[np.arange(len(answer)), answer]
        return SimpleNamespace(nll=nll)

    found = fit_temperature(evaluate)
    for kind, factor in zip(("entity", "relation"), truth):
        assert abs(found.temperature[kind] / factor - 1) < 0.05
        assert found.nll_after[kind] <= found.nll_before[kind]


@pytest.fixture(scope="module")
def graph():
    return random_graph(3, num_entities=10, facts=6)


def built(graph, kind):
    config = TiRGNTrainingConfig(embedding_dim=6, num_layers=1, conv_channels=3, precision="f32", history_len=2)
    evidence = preset("evidence").replace(embedding_dim=4, evidence_heads=2, evidence_hidden=3, precision="f32")
    sizes = (graph.num_entities, graph.num_relations)
    make = {
        "tirgn": lambda key: build_model(*sizes, config, key=key),
        "evidence": lambda key: build_model(*sizes, evidence, key=key),
        "mixture": lambda key: build_model(*sizes, MixtureTrainingConfig.of(config, evidence), key=key),
    }[kind]
    return eqx.filter_jit(make)(jax.random.key(0))


@pytest.mark.parametrize(
    "kind", ["tirgn", pytest.param("evidence", marks=pytest.mark.ci), pytest.param("mixture", marks=pytest.mark.slow)]
)
def test_a_temperature_moves_probabilities_and_no_rank(graph, kind):
    model = built(graph, kind)
    evaluate = make_evaluator(model, graph, split="test", history_len=2)
    plain, one = evaluate(model), evaluate(model, (jnp.float32(1), jnp.float32(1)))
    flat = evaluate(model, (jnp.float32(1e6), jnp.float32(1e6)))
    for part, size in (("entity", graph.num_entities), ("relation", 2 * graph.num_relations)):
        np.testing.assert_allclose(one.nll[part], plain.nll[part], rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(flat.nll[part], np.log(size), rtol=1e-3)
        np.testing.assert_allclose(flat.confidence[part], 1 / size, rtol=1e-2)
    warm = evaluate(model, (jnp.float32(1.5), jnp.float32(0.8)))
    np.testing.assert_array_equal(warm.filtered["entity"], one.filtered["entity"])
    assert not np.allclose(warm.nll["entity"], one.nll["entity"])


def test_a_checkpoint_keeps_its_temperatures(graph, tmp_path):
    model = built(graph, "evidence")
    path = save_model(tmp_path / "m", model, preset("evidence").replace(**small()), graph)
    save_calibration(path, {"temperature": {"entity": 1.5, "relation": 0.8}})
    again, _, described = load_model(path)
    assert described.temperature == {"entity": 1.5, "relation": 0.8}
    assert jax.tree.all(jax.tree.map(np.array_equal, model, again))
    with pytest.raises(CheckpointError, match="does not exist"):
        save_calibration(tmp_path / "none.npz", {})


def small():
    return {"embedding_dim": 4, "evidence_heads": 2, "evidence_hidden": 3, "precision": "f32"}


def test_the_best_of_all_temperatures_that_were_tried_is_given():
    """Of an NLL that no parabola fits: a dip that only one guess falls into, beside a wide one."""
    tried = []

    def evaluate(temperature):
        logs = [float(np.log(degree)) for degree in temperature]
        nll = [2 - np.exp(-1e5 * (x - 0.4) ** 2) - 0.5 * np.exp(-((x + 0.3) ** 2)) for x in logs]
        tried.append((logs, nll))
        return SimpleNamespace(nll={kind: np.array([value]) for kind, value in zip(("entity", "relation"), nll)})

    found = fit_temperature(evaluate)
    logs, values = (np.array(column) for column in zip(*tried))
    for place, kind in enumerate(("entity", "relation")):
        best = int(np.argmin(values[:, place]))
        assert found.nll_after[kind] == values[best, place] < values[-1, place]
        assert found.temperature[kind] == pytest.approx(np.exp(logs[best, place]), rel=1e-5)
