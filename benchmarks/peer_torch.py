"""TiRGN in plain PyTorch, eager: what a user would write without this project, of the same mathematics.

Our own writing, for comparison alone. Modules and operators are PyTorch's (GRUCell, Conv1d, BatchNorm1d, index_add_,
Adam); facts are edges with global ids; the history masks are dense. `pairs` says which parameter is which of ours,
so that a test can hold the two together.
"""

import math
from collections.abc import Callable

import jax
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from tirgn_eqx.config import TiRGNTrainingConfig
from tirgn_eqx.models.tirgn import TiRGN
from tirgn_eqx.nn.batch_norm import BatchNorm
from tirgn_eqx.types import Batch, Queries

SLOPE = 11 / 48


def normalize(x: torch.Tensor) -> torch.Tensor:
    return F.normalize(x, dim=1)


class GraphLayer(nn.Module):
    """Messages on edges: BatchNorm over two channels, a 1x1 convolution, the mean over in-edges, one matrix."""

    def __init__(self, dim: int, dropout: float):
        super().__init__()
        self.neighbor = nn.Parameter(torch.empty(dim, dim))
        self.loop = nn.Parameter(torch.empty(dim, dim))
        self.isolated = nn.Parameter(torch.empty(dim, dim))
        self.mix = nn.Conv1d(2, 1, 1)
        self.norm = nn.BatchNorm1d(2)
        self.dropout = nn.Dropout(dropout)

    def forward(self, state, relations, edges):
        source, relation, target, degree = edges
        message = self.mix(self.norm(torch.stack([state[source], relations[relation]], 1)))[:, 0]
        total = torch.zeros_like(state).index_add_(0, target, message)
        mean = total / degree.clamp(min=1)[:, None]
        connected = mean @ self.neighbor + state @ self.loop
        out = torch.where(degree[:, None] > 0, connected, state @ self.isolated)
        return self.dropout(F.leaky_relu(out, SLOPE))


class Decoder(nn.Module):
    def __init__(self, dim: int, channels: int, kernel: int, rates: tuple[float, float, float]):
        super().__init__()
        self.norm_input = nn.BatchNorm1d(4)
        self.conv = nn.Conv1d(4, channels, kernel, padding=kernel // 2)
        self.norm_feature = nn.BatchNorm1d(channels)
        self.project = nn.Linear(channels * dim, dim)
        self.norm_hidden = nn.BatchNorm1d(dim)
        self.drops = nn.ModuleList(nn.Dropout(rate) for rate in rates)

    def forward(self, first, second, times):
        drop_input, drop_feature, drop_hidden = self.drops
        x = torch.stack([first, second, *(t.expand_as(first) for t in times)], 1)
        x = drop_input(self.norm_input(x))
        x = drop_feature(F.relu(self.norm_feature(self.conv(x))))
        return F.relu(self.norm_hidden(drop_hidden(self.project(x.flatten(1)))))


class TorchTiRGN(nn.Module):
    """The model; `static` is (word, entity, bounds, degree, words, blocks) or None."""

    def __init__(self, entities: int, relations: int, config: TiRGNTrainingConfig, static: dict | None):
        super().__init__()
        dim = config.embedding_dim
        self.config, self.relations, self.static = config, relations, static
        self.entity = nn.Parameter(torch.empty(entities, dim))
        self.relation = nn.Parameter(torch.empty(2 * relations, dim))
        self.relation_gru, self.entity_gru = nn.GRUCell(2 * dim, dim), nn.GRUCell(dim, dim)
        self.layers = nn.ModuleList(GraphLayer(dim, config.dropout) for _ in range(config.num_layers))
        names = ("weight_linear", "bias_linear", "weight_periodic", "bias_periodic")
        self.time = nn.ParameterDict({name: nn.Parameter(torch.empty(dim)) for name in names})
        rates = (config.input_dropout, config.feature_dropout, config.hidden_dropout)

        def decoder():
            return Decoder(dim, config.conv_channels, config.conv_kernel, rates)

        self.entity_raw, self.entity_history = decoder(), decoder()
        self.relation_raw, self.relation_history = decoder(), decoder()
        if static is not None:
            size = dim // config.static_blocks
            self.word = nn.Parameter(torch.empty(static["words"], dim))
            shape = (2 * (len(static["bounds"]) - 1), config.static_blocks, size, size)
            self.static_weight = nn.Parameter(torch.empty(shape))

    def static_embedding(self) -> torch.Tensor | None:
        if self.static is None:
            return None
        bounds, blocks, size, _ = self.static["bounds"], *self.static_weight.shape[1:]
        half, parts = len(bounds) - 1, []
        for number in range(half):
            words = self.word[self.static["word"][bounds[number] : bounds[number + 1]]]
            product = torch.einsum("ebi,bio->ebo", words.view(-1, blocks, size), self.static_weight[half + number])
            parts.append(product.reshape(len(words), -1))
        total = torch.zeros_like(self.entity).index_add_(0, self.static["entity"], torch.cat(parts))
        embedding = F.leaky_relu(total / self.static["degree"].clamp(min=1)[:, None], SLOPE)
        return normalize(embedding) if self.config.l2_normalize else embedding

    def encode(self, window: list[dict]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        norm = normalize if self.config.l2_normalize else lambda x: x
        static = self.static_embedding()
        state = norm(self.entity) if static is None else static
        relations, loss = self.relation, state.new_zeros(())
        for position, snapshot in enumerate(window):
            pool = state.new_zeros(self.relations, state.shape[1])
            pool = pool.index_add_(0, snapshot["pair_relation"], state[snapshot["pair_entity"]])
            pool = pool / snapshot["pair_count"].clamp(min=1)[:, None]
            pool = torch.cat([pool, pool])
            relations = norm(self.relation_gru(torch.cat([self.relation, pool], 1), relations))
            x = state
            for layer in self.layers:
                x = layer(x, relations, snapshot["edges"])
            state = norm(self.entity_gru(norm(x), state))
            if static is not None:
                steps = position + 1 if self.config.angle_grows else 1
                allowed = math.cos(math.radians(self.config.angle) * steps)
                loss = loss + F.relu(allowed - (static * normalize(state)).sum(1)).sum()
        return norm(state), relations, self.config.static_weight * loss

    def negative_log_likelihood(self, decoders, first, second, times, candidates, mask, answer) -> torch.Tensor:
        rate = self.config.history_rate
        raw, history = (decoder(first, second, times) @ candidates.T for decoder in decoders)
        raw, history = F.log_softmax(raw, 1), F.log_softmax(history * mask, 1)
        return F.nll_loss(torch.logaddexp(raw + math.log1p(-rate), history + math.log(rate)), answer)

    def losses(self, batch: dict) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(entity, relation, weighted static loss) of one target snapshot, both directions."""
        state, relations, static = self.encode(batch["window"])
        state = torch.tanh(state)
        time = self.time
        linear = time["weight_linear"] * batch["time"] + time["bias_linear"]
        times = linear, torch.sin(time["weight_periodic"] * batch["time"] + time["bias_periodic"])
        subject, relation, object_ = batch["queries"]
        one = self.negative_log_likelihood(
            (self.entity_raw, self.entity_history),
            state[subject],
            relations[relation],
            times,
            state,
            batch["entity_mask"],
            object_,
        )
        other = self.negative_log_likelihood(
            (self.relation_raw, self.relation_history),
            state[subject],
            state[object_],
            times,
            relations,
            batch["relation_mask"],
            relation,
        )
        return one, other, static

    def loss(self, batch: dict) -> torch.Tensor:
        entity, relation, static = self.losses(batch)
        return self.config.task_weight * entity + (1 - self.config.task_weight) * relation + static


def make_step(model: TorchTiRGN) -> Callable[[dict], torch.Tensor]:
    """One update as published: clip at the global norm, Adam with L2 in the gradient."""
    config = model.config
    optimizer = torch.optim.Adam(model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)

    def step(batch: dict) -> torch.Tensor:
        optimizer.zero_grad(set_to_none=True)
        loss = model.loss(batch)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), config.grad_clip)
        optimizer.step()
        return loss.detach()

    return step


# --- the same weights and the same batch ------------------------------------------------------------------------


# Where a leaf of ours is, in a model, a layer or a decoder, and how it is laid out in PyTorch.
Leaf = Callable[..., jax.Array]
Pair = tuple[Leaf, Callable[[np.ndarray], np.ndarray]]


def pairs(model: TiRGN) -> dict[str, Pair]:
    """Parameter or buffer of `TorchTiRGN` -> (leaf of a TiRGN of ours, its layout here)."""
    same, transpose = (lambda x: x), (lambda x: x.T)
    table: dict[str, Pair] = {
        "entity": (lambda m: m.encoder.entity_embedding, same),
        "relation": (lambda m: m.encoder.relation_embedding, same),
    }
    for name in ("weight_linear", "bias_linear", "weight_periodic", "bias_periodic"):
        table[f"time.{name}"] = (lambda m, n=name: getattr(m.time, n), same)
    for cell, here in (("relation_gru", "relation_gru"), ("entity_gru", "entity_update")):
        for theirs, ours in (("ih", "input"), ("hh", "hidden")):
            table[f"{cell}.weight_{theirs}"] = (
                lambda m, c=here, o=ours: getattr(getattr(m.encoder, c), f"weight_{o}"),
                transpose,
            )
            table[f"{cell}.bias_{theirs}"] = (
                lambda m, c=here, o=ours: getattr(getattr(m.encoder, c), f"bias_{o}"),
                same,
            )

    def norm(prefix: str, where: Callable[[TiRGN], BatchNorm]) -> None:
        table[f"{prefix}.weight"] = (lambda m: where(m).weight, same)
        table[f"{prefix}.bias"] = (lambda m: where(m).bias, same)
        table[f"{prefix}.running_mean"] = (lambda m: where(m).running.mean, same)
        table[f"{prefix}.running_var"] = (lambda m: where(m).running.var, same)

    for number in range(len(model.encoder.layers)):

        def layer(m, i=number):
            return m.encoder.layers[i]

        for name in ("neighbor", "loop", "isolated"):
            table[f"layers.{number}.{name}"] = (lambda m, f=layer, n=name: getattr(f(m), f"weight_{n}"), same)
        table[f"layers.{number}.mix.weight"] = (lambda m, f=layer: f(m).mix, lambda x: x.reshape(1, 2, 1))
        table[f"layers.{number}.mix.bias"] = (lambda m, f=layer: f(m).mix_bias, lambda x: x.reshape(1))
        norm(f"layers.{number}.norm", lambda m, f=layer: f(m).norm)
    dim = model.encoder.entity_embedding.shape[1]
    for name in ("entity_raw", "entity_history", "relation_raw", "relation_history"):

        def decoder(m, n=name):
            return getattr(m, n)

        kernel, channels = decoder(model).kernel, decoder(model).filter_bias.shape[0]

        def filters(x, k=kernel, c=channels):
            return x.reshape(k, 4, c).transpose(2, 1, 0)

        def project(x, c=channels):
            return x.reshape(dim, c, dim).transpose(2, 1, 0).reshape(dim, c * dim)

        table[f"{name}.conv.weight"] = (lambda m, f=decoder: f(m).filters, filters)
        table[f"{name}.conv.bias"] = (lambda m, f=decoder: f(m).filter_bias, same)
        table[f"{name}.project.weight"] = (lambda m, f=decoder: f(m).project, project)
        table[f"{name}.project.bias"] = (lambda m, f=decoder: f(m).project_bias, same)
        for part in ("norm_input", "norm_feature", "norm_hidden"):
            norm(f"{name}.{part}", lambda m, f=decoder, p=part: getattr(f(m), p))
    if model.encoder.static_conv is not None:
        table["word"] = (lambda m: m.encoder.word_embedding, same)
        table["static_weight"] = (lambda m: m.encoder.static_conv.weight, same)
    return table


def from_jax(
    model: TiRGN, config: TiRGNTrainingConfig, *, device: str = "cpu", dtype: torch.dtype = torch.float32
) -> TorchTiRGN:
    """A TorchTiRGN with the weights and buffers of a TiRGN of ours."""
    static = None
    if model.static_edges is not None and model.word_embedding is not None:
        edges = model.static_edges

        def tensor(x):
            return torch.as_tensor(np.array(x), device=device)

        static = {"word": tensor(edges.word).long(), "entity": tensor(edges.entity).long(), "bounds": edges.bounds}
        static |= {"degree": tensor(edges.degree).to(dtype), "words": model.word_embedding.shape[0]}
    ours = TorchTiRGN(model.num_entities, model.num_relations, config, static).to(device, dtype)
    state = ours.state_dict()
    for name, (where, layout) in pairs(model).items():
        state[name] = torch.as_tensor(np.array(layout(np.asarray(where(model)))), device=device, dtype=dtype)
    ours.load_state_dict(state)
    return ours


def batch_from_jax(batch: Batch, entities: int, relations: int, device: str = "cpu", dtype=torch.float32) -> dict:
    """The facts of a Batch of ours (unbatched queries, one per fact and direction) without their padding."""
    window, queries = batch.window, batch.entity_queries

    def array(x):
        return np.asarray(x)

    def long(x):
        return torch.as_tensor(np.array(x), device=device).long()

    def number(x):
        return torch.as_tensor(np.array(x), device=device).to(dtype)

    snapshots = []
    for step in np.flatnonzero(array(window.valid)):
        active = array(window.active[step])
        real = array(window.edge_target[step]) < len(active)
        pair = array(window.pair_relation[step]) < relations
        target = active[array(window.edge_target[step])[real]]
        pair_relation = array(window.pair_relation[step])[pair]
        edges = (active[array(window.edge_source[step])[real]], array(window.edge_relation[step])[real], target)
        snapshots.append(
            {
                "edges": (*map(long, edges), number(np.bincount(target, minlength=entities))),
                "pair_relation": long(pair_relation),
                "pair_entity": long(active[array(window.pair_entity[step])[pair]]),
                "pair_count": number(np.bincount(pair_relation, minlength=relations)),
            }
        )
    real = array(queries.weight)[0] > 0
    subject, relation, answer = (array(x)[0][real] for x in (queries.subject, queries.condition, queries.answer))

    def mask(some: Queries, candidates: int) -> torch.Tensor:
        unit, candidate = array(some.history_query)[0], array(some.history_candidate)[0]
        dense = np.zeros((len(subject), candidates))
        dense[unit[candidate < candidates], candidate[candidate < candidates]] = 1
        return number(dense)

    return {
        "window": snapshots,
        "time": float(batch.time_index),
        "queries": (long(subject), long(relation), long(answer)),
        "entity_mask": mask(queries, entities),
        "relation_mask": mask(batch.relation_queries, 2 * relations),
    }
