"""Counted operations beside those of the program."""

import math

import equinox as eqx
import jax
import jax.random as jr
import pytest

from benchmarks import flops
from tests.helpers import random_graph, tiny_config
from tirgn_eqx.data.batches.graph_loader import GraphLoader, GraphOptions
from tirgn_eqx.data.index.history import build_history_vocabulary
from tirgn_eqx.models.tirgn import TiRGN
from tirgn_eqx.train.step import loss_and_gradient


def dense_products(jaxpr) -> float:
    """Operations of all dense products in a jaxpr, those of a scan as often as it runs."""
    total = 0.0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            ((contracted, _), _) = equation.params["dimension_numbers"]
            left = equation.invars[0].aval.shape
            inner = math.prod(left[axis] for axis in contracted)
            total += 2.0 * inner * math.prod(equation.outvars[0].aval.shape)
        times = equation.params.get("length", 1) if equation.primitive.name == "scan" else 1
        for value in equation.params.values():
            for inner_jaxpr in value if isinstance(value, (tuple, list)) else (value,):
                inner_jaxpr = getattr(inner_jaxpr, "jaxpr", inner_jaxpr)
                if hasattr(inner_jaxpr, "eqns"):
                    total += times * dense_products(inner_jaxpr)
    return total


@pytest.mark.parametrize("batch_size,loss", [(0, "full"), (16, "full"), (0, "sampled")])
def test_counted_operations_are_those_of_the_program(batch_size, loss):
    graph = random_graph(0, num_entities=300, num_relations=6, num_times=8, facts=40)
    config = tiny_config(
        embedding_dim=64, conv_channels=16, num_layers=2, batch_size=batch_size, loss=loss, num_negatives=4
    )
    options = {"history_len": config.history_len, "batch_size": batch_size, "max_buckets": 1}
    options["num_negatives"] = config.num_negatives if loss == "sampled" else 0
    loader = GraphLoader(graph, build_history_vocabulary(graph), "train", GraphOptions(**options))
    batch = loader.build(int(loader.items[-1])).batch
    batch = eqx.tree_at(lambda b: b.key, batch, jr.key(0), is_leaf=lambda x: x is None)
    model = TiRGN(graph.num_entities, graph.num_relations, config, key=jr.key(1))
    arrays, rest = eqx.partition(model, eqx.is_array)
    program = jax.make_jaxpr(lambda arrays, batch: loss_and_gradient(eqx.combine(arrays, rest), batch))(arrays, batch)
    counted = flops.step_flops(model, batch, padded=True)["step"]
    # Beside what is counted the program has BatchNorm's small products, W_isolated on active rows, and scores
    # that the backward pass computes again.
    found = dense_products(program.jaxpr)
    assert 0.95 * counted <= found <= 1.35 * counted
    assert flops.step_flops(model, batch)["step"] <= counted
