"""A model of your own, built from the library's encoder and layers, trained with its step and its evaluator.

    python examples/own_model.py

The encoder evolves the states as in TiRGN. The logits are those of DistMult with a time vector: for (s, r, o), the sum
over d of s_d (r_d + t_d) o_d.
"""

import argparse

import equinox as eqx
import jax.random as jr

import tirgn_eqx as tg
from tirgn_eqx.models import RecurrentEncoder
from tirgn_eqx.nn import GRUCell, TimeEncoding


class DistMult(tg.RecurrentGraphModel):
    """An encoder, a time encoding, and a product of three vectors as decoder; no history mode."""

    encoder: RecurrentEncoder
    time: TimeEncoding
    history_rate, history_mask, task_weight = 0.0, "multiply", 0.7

    def __init__(self, num_entities: int, num_relations: int, config: tg.TiRGNTrainingConfig, *, key):
        dim, keys = config.embedding_dim, jr.split(key, 7 + config.num_layers)
        update = GRUCell(dim, dim, key=keys[0])
        self.encoder = RecurrentEncoder(num_entities, num_relations, config, update=update, keys=keys[2:])
        self.time = TimeEncoding(dim, key=keys[1])

    def decoders(self, kind):
        return ()  # no convolutional decoder, whose BatchNorm would have buffers

    def decode(self, encoding, queries, time_index, buffers, *, kind, training=False, key=None):
        # States and relations have length 1. The factor 8 makes the softmax sharp enough.
        entity, relation = encoding.entity, 8 * encoding.relation
        if kind == "entity":
            condition, candidates = relation[queries.condition] + self.time(time_index)[1], entity
        else:
            condition, candidates = 8 * entity[queries.condition], relation
        vectors = entity[queries.subject] * condition
        return vectors, vectors, candidates, buffers


def main(epochs: int, days: int) -> None:
    graph = tg.simulate(num_days=days).graph
    config = tg.preset("sim").replace(learning_rate=5e-3)
    assert isinstance(config, tg.TiRGNTrainingConfig)
    model = DistMult(graph.num_entities, graph.num_relations, config, key=jr.key(0))
    optimizer, batches = tg.make_optimizer(config), tg.make_loader(graph, config)
    state, step = tg.init_optimizer(optimizer, model), eqx.filter_jit(tg.make_step(config))
    evaluator = tg.make_evaluator(model, graph, **config.window())
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
