"""Floating-point operations of a training step or an evaluation, counted from the shapes.

Only dense products count, at 2 operations per multiply-add; everything else (gathers, sums over edges, BatchNorm,
softmax, dropout, Adam) is overhead. The count is what the algorithm needs, not what a program does: padding and
rematerialisation add nothing to it, so that a share of the ceiling built on it can only be lost to them.

With N entities (those that a step evolves, where that is not all), R relations, d = `embedding_dim`, L layers, c
channels of kernel k; per snapshot of the window with A active entities (those with an edge):

| part | operations |
|---|---|
| relation GRU: [2R, 2d] x [2d, 3d] and [2R, d] x [d, 3d] | 36 R d^2 |
| graph layers: W_neighbor and W_loop on A rows, W_isolated on the other N - A | 2 L (N + A) d^2 |
| entity GRU: two [N, d] x [d, 3d] | 12 N d^2 |

per static edge 2 d (d / blocks), once per step; and for u units with a answers, p (unit, candidate) pairs in the
history vocabulary, and C candidates (N entities, or 2R relations)

| part | operations |
|---|---|
| two convolutions as products of patches: [u d, 4k] x [4k, c] | 16 u d k c |
| two projections: [u, c d] x [c d, d] | 4 u c d^2 |
| raw mode: all units against all candidates | 2 u C d |
| history mode, where an unseen candidate's logit is 0: seen pairs and answers alone | 2 (p + a) d |
| sampled entity loss, in place of both: answers against 1 + n candidates, two modes | 4 a (1 + n) d |

The backward pass is twice the forward pass: a product gives one for each operand. A unit is a query as it is
decoded; where equal queries are decoded once, they count once.
"""

import numpy as np
from numpy.typing import ArrayLike

from tirgn_eqx.models.tirgn import TiRGN
from tirgn_eqx.types import Batch


def _rows(values: ArrayLike, padding: int, padded: bool) -> int:
    values = np.asarray(values)
    return int(values.size if padded else (values != padding).sum())


def _weighted(weight: ArrayLike, padded: bool) -> int:
    weight = np.asarray(weight)
    return int(weight.size if padded else (weight > 0).sum())


def forward_flops(model: TiRGN, batch: Batch, *, padded: bool = False) -> dict[str, float]:
    """Operations of one forward pass by part: `evolution`, `static`, `decoders`, `scores`.

    **Arguments:** `model`: a TiRGN; `batch`: a Batch with a leading micro axis on its queries; `padded`: count
    the padded shapes instead of what they hold.
    """
    entities, dim = model.encoder.entity_embedding.shape
    # Without an index, all entities are evolved.
    index = None if batch.rows is None else batch.rows.index
    evolved = entities if index is None else _rows(index, entities, padded)
    # Evaluation scores all entities, whichever it evolves.
    scored = entities if batch.entity_queries.true_query is not None else evolved
    relations, layers = model.num_relations, len(model.encoder.layers)
    window = batch.window
    snapshots = _weighted(window.valid, padded)
    active = _rows(window.active, entities if index is None else len(index), padded)
    square = dim * dim
    evolution = snapshots * (36 * relations + 2 * layers * evolved + 12 * evolved) * square
    evolution += 2 * layers * active * square
    static = 0
    if model.encoder.static_conv is not None and model.static_edges is not None:
        blocks, size = model.encoder.static_conv.weight.shape[1:3]
        static = 2 * len(model.static_edges.word) * blocks * size * size
    decoders = scores = 0
    kinds = (
        (batch.entity_queries, model.entity_raw, scored),
        (batch.relation_queries, model.relation_raw, 2 * relations),
    )
    for queries, decoder, candidates in kinds:
        units = _weighted(queries.weight, padded)
        taps, channels = decoder.filters.shape
        decoders += 2 * (2 * units * dim * taps * channels + 2 * units * channels * square)
        answers = _weighted(queries.answer_weight, padded)
        if queries.negatives is None:
            in_history = np.asarray(queries.history_query) < queries.subject.shape[-1]
            pairs = units * candidates + int(in_history.size if padded else in_history.sum()) + answers
        else:
            pairs = 2 * answers * (1 + queries.negatives.shape[-1])
        scores += 2 * pairs * dim
    parts = {"evolution": evolution, "static": static, "decoders": decoders, "scores": scores}
    return {name: float(count) for name, count in parts.items()}


def step_flops(model: TiRGN, batch: Batch, *, padded: bool = False) -> dict[str, float]:
    """Operations of `forward`, `backward` and the whole `step`."""
    forward = sum(forward_flops(model, batch, padded=padded).values())
    return {"forward": forward, "backward": 2 * forward, "step": 3 * forward}


def update_bytes(parameters: int) -> int:
    """Fewest bytes that clip and Adam move: the gradient read twice (norm, update), parameters and both moments
    read and written once, in f32."""
    return parameters * 4 * 8
