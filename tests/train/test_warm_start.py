"""Warm starts: every row goes to the name that it belongs to, and what a model says does not depend on ids."""

import dataclasses
import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers import random_graph, same_bits, tiny_config
from tirgn_eqx.checkpoint.models import load_model
from tirgn_eqx.config import MixtureTrainingConfig, preset
from tirgn_eqx.data.names import add_names, find_names
from tirgn_eqx.data.vocabulary import match_checkpoint
from tirgn_eqx.errors import CheckpointError, ConfigError
from tirgn_eqx.evaluate.protocol import make_evaluator
from tirgn_eqx.models import build_model
from tirgn_eqx.nn import RunningStatistics
from tirgn_eqx.train.api import train_tirgn
from tirgn_eqx.train.warm_start import NameMap, fingerprint, leading_axes, warm_start

ENTITIES, RELATIONS = tuple("ABCDEFGHIJ"), ("give", "take", "meet")
KINDS = ["tirgn", "regcn", "evidence", "combined"]
EVIDENCE = {"embedding_dim": 4, "evidence_heads": 2, "evidence_hidden": 3, "precision": "f32", "max_buckets": 1}
BY_ENTITY = {
    "structure.encoder.entity_embedding",
    "evidence.background.subject",
    "evidence.background.object",
    "evidence.background.neighbour",
}


def build(kind, entities, relations, seed, **changes):
    """A model with numbers for weights, of the shapes that it begins with."""
    config = tiny_config(kind if kind == "regcn" else "tirgn", history_len=2, **changes)
    evidence = preset("evidence").replace(**EVIDENCE)
    mixture = MixtureTrainingConfig.of(config, evidence)
    make = {
        "evidence": lambda: build_model(entities, relations, evidence, key=jax.random.key(0)),
        "combined": lambda: build_model(entities, relations, mixture, key=jax.random.key(0)),
    }.get(kind, lambda: build_model(entities, relations, config, key=jax.random.key(0)))
    shape, rng = eqx.filter_eval_shape(make), np.random.default_rng(seed)

    def number(x):
        return jnp.asarray(0.5 * rng.normal(size=x.shape), x.dtype)

    def is_buffer(node):
        return isinstance(node, RunningStatistics)

    def filled(x):
        return RunningStatistics(len(x.mean)) if is_buffer(x) else number(x)

    return jax.tree.map(filled, shape, is_leaf=is_buffer)


@functools.cache
def old_model(kind):
    return build(kind, len(ENTITIES), len(RELATIONS), 1)


@pytest.fixture(scope="module")
def graph():
    """Its last snapshot is the test split, so that evaluating it compiles one shape."""
    made = random_graph(3, num_entities=len(ENTITIES), num_relations=len(RELATIONS), facts=8)
    split = np.searchsorted([5, 7], made.snapshot, side="right").astype(np.int8)
    return dataclasses.replace(made, split=split, entity_names=ENTITIES, relation_names=RELATIONS)


def renumbered(graph, entities, relations):
    """The same facts, with the names in another order."""
    s, o = (find_names(graph.entity_names, entities)[x].astype(np.int32) for x in (graph.subject, graph.object))
    r = find_names(graph.relation_names, relations)[graph.relation].astype(np.int32)
    named = {"entity_names": entities, "relation_names": relations}
    return dataclasses.replace(graph, subject=s, relation=r, object=o, **named)


def mapped(entities, relations):
    """From the names of the old model to these."""
    known = len(ENTITIES), len(RELATIONS)
    return NameMap(find_names(entities, ENTITIES), find_names(relations, RELATIONS), *known)


@pytest.mark.parametrize("kind", KINDS)
def test_forecasts_are_those_of_the_same_names_in_any_order(graph, kind):
    rng = np.random.default_rng(0)
    entities, relations = tuple(rng.permutation(ENTITIES).tolist()), RELATIONS[::-1]
    old, other = old_model(kind), renumbered(graph, entities, relations)
    new = warm_start(jax.tree.map(jnp.zeros_like, old), old, mapped(entities, relations))
    found = []
    evaluate = make_evaluator(old, graph, split="test", history_len=2)
    found.append(evaluate(old))
    again = make_evaluator(new, other, split="test", history_len=2)
    again.steps = evaluate.steps  # compiled once
    found.append(again(new))
    for asked in ("entity", "relation"):
        assert len(found[0].nll[asked]) > 10 and np.std(found[0].nll[asked]) > 0.02
        for name in ("nll", "confidence", "brier"):
            one, two = (getattr(side, name)[asked] for side in found)
            np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-5)
    assert not np.allclose(again(old).nll["entity"], found[0].nll["entity"], atol=1e-3), "ids alone do not match"
    back = NameMap(*(np.argsort(x) for x in (mapped(entities, relations).entity, [2, 1, 0])), 10, 3)
    assert same_bits(warm_start(old, new, back), old)


def test_known_rows_are_copied_and_new_ones_are_those_of_a_fresh_model():
    entities, relations = ("new 1", "J", "B", "new 2", "A"), ("meet", "new", "give")
    old, fresh = old_model("combined"), build("combined", 5, 3, 7, dropout=0.4)
    new = warm_start(fresh, old, mapped(entities, relations))
    assert new.structure.encoder.dropout == 0.4 and jax.tree.structure(new) == jax.tree.structure(fresh)
    ours, begun, theirs = (leading_axes(model) for model in (new, fresh, old))
    rows = {"entity": [None, 9, 1, None, 0], "rel2": [2, None, 0, 5, None, 3]}
    assert {name for name, (axis, _) in ours.items() if axis == "entity"} == BY_ENTITY
    assert sum(axis == "rel2" for axis, _ in ours.values()) == 32
    for name, (axis, leaf) in ours.items():
        was = theirs[name][1]
        if axis not in rows or ".weight." in name:
            assert same_bits(leaf, was), name
            continue
        expected = [begun[name][1][i] if row is None else was[row] for i, row in enumerate(rows[axis])]
        np.testing.assert_array_equal(leaf, np.stack(expected), err_msg=name)


def test_another_shape_is_refused_with_the_array():
    names, old = mapped(ENTITIES[:4], RELATIONS), old_model("tirgn")

    def shape(**changes):
        return eqx.filter_eval_shape(lambda: build_model(4, 3, tiny_config(**changes), key=jax.random.key(0)))

    with pytest.raises(ConfigError, match=r"'encoder.entity_embedding' is \[4, 8\] .* \[4, 12\]"):
        warm_start(shape(embedding_dim=12), old, names)
    with pytest.raises(ConfigError, match=r"'encoder.entity_embedding' is \[10, 8\] .* \[4, 8\]"):
        warm_start(shape(), old)
    with pytest.raises(ConfigError, match="model with the array 'encoder.entity_update"):
        warm_start(shape(family="regcn"), old, names)


def test_further_names_stand_after_the_others_and_have_no_facts(graph):
    longer = add_names(graph, ["Z", "A", "Y"], ["take"])
    assert longer.entity_names == (*ENTITIES, "Z", "Y") and longer.relation_names == RELATIONS
    assert longer.num_entities == 12 and longer.num_relations == 3 and longer.subject is graph.subject
    assert add_names(graph, ENTITIES) is graph
    described = {"entities": [*ENTITIES, "Z", "Y"], "relations": list(RELATIONS)}
    assert match_checkpoint(graph, described).checksum == longer.checksum != graph.checksum
    assert match_checkpoint(graph, {}) is graph


@pytest.mark.slow
def test_a_training_begins_with_the_weights_and_leaves_the_given_model_alone(graph, tmp_path):
    settings = EVIDENCE | {"evidence_background": False, "epochs": 2, "logdir": str(tmp_path / "logs")}
    # Steps of length 0, so that what it ends with is what it began with.
    config = preset("evidence").replace(**settings, learning_rate=0.0)
    make = jax.jit(lambda key: build_model(graph.num_entities, graph.num_relations, config, key=key))
    start, other = make(jax.random.key(3)), make(jax.random.key(4))
    before, asked = fingerprint(start), iter(range(100))
    options = {"model_dir": tmp_path / "models", "start": start}
    assert train_tirgn(graph, config, stop=lambda: next(asked) == 1, **options)["status"] == "interrupted"
    with pytest.raises(CheckpointError, match="began from other weights"):
        train_tirgn(graph, config, resume=True, **options | {"start": other})
    result = train_tirgn(graph, config, resume=True, **options)
    assert result["status"] == "complete" and fingerprint(start) == before
    assert same_bits(load_model(result["checkpoint"])[0], start)
