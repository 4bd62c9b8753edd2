"""A model of your own, written from the library's layers and trained with its step and its evaluator.

    python examples/own_model.py

Its states evolve over the last snapshots, as in RE-GCN. Its answers are DistMult's with a word on the day: the score of
(s, r, o) is the sum over d of s_d (r_d + t_d) o_d.
"""

import argparse
from typing import NamedTuple

import equinox as eqx
import jax.random as jr
from jaxtyping import Array, Float

import tirgn_eqx as tg
from tirgn_eqx.nn import GraphConvolution, GRUCell, RunningStatistics, TimeEncoding


class Buffers(NamedTuple):
    """What training changes beside the parameters."""

    graph: tuple[RunningStatistics, ...]


class DistMult(tg.RecurrentGraphModel):
    """The encoder is that of `RecurrentGraphModel`; here stand its layers, how states change, and what answers."""

    entity_embedding: Float[Array, "entity dim"]
    relation_embedding: Float[Array, "rel2 dim"]
    relation_gru: GRUCell
    entity_gru: GRUCell
    layers: tuple[GraphConvolution, ...]
    time: TimeEncoding
    # Neither static graph nor history mode.
    word_embedding = static_conv = static_edges = None
    static_weight, angle, angle_grows, history_rate, history_mask = 0.0, 0.0, False, 0.0, "multiply"
    l2_normalize, dropout, task_weight = True, 0.2, 0.7

    def __init__(self, num_entities: int, num_relations: int, dim: int, *, key):
        keys = jr.split(key, 6)
        self.entity_embedding = jr.normal(keys[0], (num_entities, dim))
        self.relation_embedding = jr.normal(keys[1], (2 * num_relations, dim))
        self.relation_gru, self.entity_gru = GRUCell(2 * dim, dim, key=keys[2]), GRUCell(dim, dim, key=keys[3])
        self.layers, self.time = (GraphConvolution(dim, key=keys[4]),), TimeEncoding(dim, key=keys[5])

    @property
    def buffers(self):
        return Buffers(tuple(layer.norm.running for layer in self.layers))

    def with_buffers(self, buffers):
        return eqx.tree_at(lambda model: model.buffers.graph, self, buffers.graph)

    def updated(self, x, state):
        return self.entity_gru(x, state)

    def after_update(self, state):
        return self._normalized(state)

    def decode(self, encoding, queries, time_index, buffers, *, kind, training=False, key=None):
        entity, relation = encoding.entity, 8 * encoding.relation  # both have length 1: the softmax wants more
        given = relation[queries.given] + self.time(time_index)[1] if kind == "entity" else 8 * entity[queries.given]
        vectors = entity[queries.subject] * given
        return vectors, vectors, entity if kind == "entity" else relation, buffers


def main(epochs: int, days: int) -> None:
    graph = tg.simulate(num_days=days).graph
    config = tg.preset("sim").replace(learning_rate=5e-3)
    assert isinstance(config, tg.TiRGNTrainingConfig)
    model = DistMult(graph.num_entities, graph.num_relations, config.embedding_dim, key=jr.key(0))
    optimizer, batches = tg.make_optimizer(config), tg.make_loader(graph, config)
    state, step = tg.init_optimizer(optimizer, model), eqx.filter_jit(tg.make_step(config))
    evaluator = tg.Evaluator(graph, "test", **config.window())
    for epoch in range(1, epochs + 1):
        losses = []
        for prepared in batches.epoch(epoch):
            model, state, metrics = step(model, state, prepared.batch)
            losses.append(metrics["loss"])
        mean = float(sum(losses)) / len(losses)
        print(f"epoch {epoch}  loss {mean:.3f}  test MRR {evaluator(model).entity['mrr']:.4f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--days", type=int, default=60, help="of the simulated world")
    main(**vars(parser.parse_args()))
