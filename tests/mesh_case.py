"""One step and one evaluation on a mesh of four devices beside one device, in processes of their own.

    python -m tests.mesh_case CASE MESH [ADDRESS INDEX]

How many devices a process has is settled before JAX starts: all four, or, with the address of process 0 and its own
number, two. Process 0 prints one JSON document.
"""

import dataclasses
import json
import os
import sys

if __name__ == "__main__":
    devices = 4 if len(sys.argv) < 4 else 2
    flags = f"--xla_force_host_platform_device_count={devices} --xla_backend_optimization_level=0"
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flags}"

import equinox as eqx
import jax
import numpy as np

from tirgn_eqx.config import FAMILIES
from tirgn_eqx.data.graph import StaticGraph
from tirgn_eqx.data.synthetic.world import simulate
from tirgn_eqx.evaluate.evaluators import RecurrentGraphEvaluator
from tirgn_eqx.models import build_model
from tirgn_eqx.runtime.meshes import Placement, made, make_mesh, on, parse_mesh, to_host
from tirgn_eqx.runtime.processes import is_first, join
from tirgn_eqx.train.data import make_loader
from tirgn_eqx.train.families import make_step
from tirgn_eqx.train.optimizer import init_optimizer, make_optimizer
from tirgn_eqx.train.step import loss_and_gradient

SMALL = {
    "embedding_dim": 8,
    "history_len": 3,
    "num_layers": 1,
    "static_blocks": 2,
    "conv_channels": 3,
    "precision": "f32",
    "remat": "none",
    "batch_size": 60,
    "max_buckets": 1,
}
CASES = {
    "tirgn": {},
    "tirgn-sampled": {"loss": "sampled", "num_negatives": 6, "remat": "full"},
    "tirgn-shared": {"loss": "shared", "num_shared": 7, "unique_queries": True, "ema_decay": 0.9},
    "regcn": {"batch_size": 0},
    "regcn-sampled": {"loss": "sampled", "num_negatives": 6, "static_graph": False},
}


def world():
    """39 entities, so that no mesh divides them, with a static graph."""
    graph = simulate(num_days=12, num_entities=39, seed=1).graph
    rng = np.random.default_rng(0)
    entity = np.arange(graph.num_entities, dtype=np.int32)
    relation, word = (rng.integers(0, size, len(entity)).astype(np.int32) for size in (2, 5))
    static = StaticGraph(entity, relation, word, num_relations=2, num_words=5)
    return dataclasses.replace(graph, static=static)


def figures(graph, config, mesh):
    """Losses, every gradient, the model after a step and a validation's ranks, on a mesh or (None) on one device."""
    placement = Placement(mesh)
    optimizer = make_optimizer(config)

    def build():
        return build_model(
            graph.num_entities,
            graph.num_relations,
            config,
            graph.static if config.static_graph else None,
            key=jax.random.key(0),
        )

    loader = make_loader(graph, config, placement=placement)
    batch = loader.build(int(loader.items[-1])).batch
    batch = eqx.tree_at(lambda b: b.key, batch, placement.key(jax.random.key(3)), is_leaf=lambda x: x is None)
    with on(mesh):
        model = made(build, mesh)
        opt_state = made(lambda: init_optimizer(optimizer, build()), mesh)
        step = eqx.filter_jit(make_step(config, optimizer, graph.num_entities))
        part = model if batch.rows is None or batch.rows.index is None else model.at_rows(batch.rows)
        # The number of entities is a setting, not an array.
        differentiate = eqx.filter_jit(
            lambda model, batch: loss_and_gradient(model, batch, num_entities=graph.num_entities).gradient
        )
        gradient = differentiate(part, batch)
        after, _, metrics = step(model, opt_state, batch)
        evaluation = RecurrentGraphEvaluator(
            graph, "valid", history_len=config.history_len, history_window=0, placement=placement
        )(after)
    leaves = {}
    for name, tree in (("gradient", gradient), ("after", after)):
        flat, _ = jax.tree_util.tree_flatten_with_path(eqx.filter(tree, eqx.is_inexact_array))
        leaves |= {name + jax.tree_util.keystr(path): to_host(leaf) for path, leaf in flat}
    return {name: float(value) for name, value in metrics.items()}, leaves, evaluation


def compare(case: str, text: str) -> dict:
    graph = world()
    config = FAMILIES[case.partition("-")[0]](**SMALL | CASES[case])
    mesh = make_mesh(parse_mesh(text, jax.device_count()))
    one, many = figures(graph, config, None), figures(graph, config, mesh)

    def apart(leaf, other):
        """The largest difference, as a share of the largest value; rows that only one has must be zero."""
        rows = min(len(leaf), len(other)) if leaf.ndim else None
        assert rows is None or not (leaf[rows:].any() or other[rows:].any()), "padding is not zero"
        difference = np.abs(leaf[:rows] - other[:rows]) if leaf.ndim else np.abs(leaf - other)
        return float(np.max(difference, initial=0) / max(1e-3, np.max(np.abs(leaf), initial=0)))

    return {
        "metrics": [one[0], many[0]],
        "apart": {key: apart(leaf, many[1][key]) for key, leaf in one[1].items()},
        "mrr": [one[2].entity["mrr"], many[2].entity["mrr"]],
        "nll": [one[2].entity["nll"], many[2].entity["nll"]],
        "ranks_apart": int((one[2].filtered["entity"] != many[2].filtered["entity"]).sum()),
    }


if __name__ == "__main__":
    if len(sys.argv) > 3:
        join(sys.argv[3], 2, int(sys.argv[4]))
    found = compare(*sys.argv[1:3])
    if is_first():
        print(json.dumps(found))
