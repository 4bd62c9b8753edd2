"""Several consecutive targets in one step: each forecast from what came before it, all from one evolution."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from tests.helpers import random_graph, same_bits, tiny_config
from tirgn_eqx.data.graph import StaticGraph, from_facts
from tirgn_eqx.models.tirgn import TiRGN
from tirgn_eqx.train.data import make_loader
from tirgn_eqx.train.step import loss_and_gradient

ENTITIES, RELATIONS, TOGETHER = 12, 3, 3
STATIC = StaticGraph(np.arange(18) % ENTITIES, np.arange(18) % 2, np.arange(18) % 5, 2, 5)
gradient_of = eqx.filter_jit(loss_and_gradient)


@pytest.fixture(scope="module")
def graph():
    made = random_graph(5, num_entities=ENTITIES, num_relations=RELATIONS, num_times=16, facts=5)
    return made


def make(graph, **changes):
    config = tiny_config(history_len=2, max_buckets=1, static_weight=0.0, **changes)
    return config, make_loader(graph, config)


def model_of(config):
    return TiRGN(ENTITIES, RELATIONS, config, STATIC, key=jr.key(1))


def test_every_target_is_in_one_step(graph):
    _, single = make(graph)
    _, several = make(graph, targets_per_step=TOGETHER)
    last = int(single.items[-1])
    assert several.items.tolist() == list(range(last, 0, -TOGETHER))[::-1]
    assert len(several) == -(-len(single) // TOGETHER)

    def facts(loader):
        return sum(prepared.num_facts for prepared in loader.epoch(0))

    assert facts(several) == facts(single)


@pytest.mark.parametrize(
    "together,changes",
    [
        pytest.param(3, {}, marks=pytest.mark.slow),
        pytest.param(3, {"batch_size": 4}, marks=pytest.mark.slow),
        pytest.param(3, {"loss": "shared", "num_shared": ENTITIES}, marks=pytest.mark.slow),
        pytest.param(2, {"loss": "shared", "num_shared": ENTITIES}, marks=pytest.mark.ci),
    ],
)
def test_the_gradient_is_the_mean_over_targets_with_windows_that_begin_together(graph, together, changes):
    config, loader = make(graph, targets_per_step=together, **changes)
    target = int(loader.items[-1])
    batch, model = loader.build(target).batch, model_of(config)
    at = model if batch.rows is None else model.at_rows(batch.rows)
    found = gradient_of(at, batch, training=False, num_entities=ENTITIES)
    expected, losses = None, []
    for number in range(together):
        # The same target alone, its window as long as it is when several share it.
        alone = config.replace(targets_per_step=1, loss="full", batch_size=0, history_len=config.history_len + number)
        single = make_loader(graph, alone).build(target - together + 1 + number).batch
        part = gradient_of(model, single, training=False)
        losses.append(float(part.metrics["loss"]))
        scaled = jax.tree.map(lambda g: g / together, part.gradient)
        expected = scaled if expected is None else jax.tree.map(jnp.add, expected, scaled)
    assert float(found.metrics["loss"]) == pytest.approx(np.mean(losses), rel=1e-5)
    largest = max(float(jnp.max(jnp.abs(leaf))) for leaf in jax.tree.leaves(expected))
    for ours, theirs in zip(jax.tree.leaves(found.gradient), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-5 * largest)


def test_a_step_with_fewer_targets_gives_their_mean(graph):
    config, loader = make(graph, targets_per_step=TOGETHER)
    first = int(loader.items[0])
    if first == TOGETHER:  # the number of targets divides evenly: take one more
        pytest.skip("every step is full")
    batch = loader.build(first).batch
    found = gradient_of(model_of(config), batch, training=True)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((found.gradient, found.buffers)))
    assert int((batch.entity_queries.weight > 0).any(1).sum()) == first


def test_an_earlier_target_never_sees_the_later_ones(graph):
    """Law 2 inside a step: whatever happens at a target's time or later changes no bit of its state."""
    config, loader = make(graph, targets_per_step=TOGETHER, loss="shared", num_shared=2)
    target = int(loader.items[-1])
    rows = np.stack([graph.subject, graph.relation, graph.object, graph.snapshot], 1)
    encode = eqx.filter_jit(
        lambda model, batch: model.at_rows(batch.rows).encoder(
            batch.window, rows=batch.rows, targets=TOGETHER, training=True
        )[0]
    )
    model = model_of(config)
    states = []
    for change in (False, True):
        changed = rows.copy()
        later = changed[:, 3] >= target - 1  # the time of the second of three targets
        if change:
            changed[later, 1] = (changed[later, 1] + 1) % RELATIONS
        made = from_facts("made", changed, graph.split, ENTITIES, RELATIONS)
        batch = make_loader(made, config).build(target).batch
        states.append((encode(model, batch), batch.rows))
    (one, one_rows), (other, other_rows) = states

    def place(encoding, rows, number):
        return {
            int(entity): np.asarray(encoding.entity[number, row]).tobytes()
            for row, entity in enumerate(rows.index.tolist())
            if entity < ENTITIES
        }

    for number, same in ((0, True), (1, True), (2, False)):
        first, second = place(one, one_rows, number), place(other, other_rows, number)
        shared = first.keys() & second.keys()
        assert len(shared) > 3 and (all(first[e] == second[e] for e in shared) == same)
        assert same_bits(one.relation[number], other.relation[number]) == same
