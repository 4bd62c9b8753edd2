"""Random temporal graphs of any size, for costs that no real dataset isolates."""

from collections.abc import Iterator

import numpy as np

from tirgn_eqx.data.graph import TemporalGraph, from_facts
from tirgn_eqx.data.readers.mapped_writer import FactBlock

GDELT = {"entities": 7691, "relations": 240, "snapshots": 2975, "facts": 1_700_000}


def random_graph(
    *,
    entities: int,
    relations: int,
    snapshots: int,
    facts: int,
    last_facts: int | None = None,
    recurring: float = 0.6,
    seed: int = 0,
) -> TemporalGraph:
    """A graph that loads the program as an event stream does, without anything to learn in it.

    Subjects and objects are drawn by a long-tailed popularity, and a share `recurring` of the facts repeats one
    of a pool of known triples, a twentieth of their number. Every snapshot has the same number of facts, up to
    one. The split is 80/10/10 by snapshot.

    **Arguments:** `facts`: in all; `last_facts`: facts of the last train snapshot, when it shall differ.
    """
    rng = np.random.default_rng(seed)
    per_snapshot = np.diff(np.linspace(0, facts, snapshots + 1).astype(np.int64))
    held_out = max(1, round(0.1 * snapshots))
    if last_facts is not None:
        per_snapshot[snapshots - 2 * held_out - 1] = last_facts
    total = int(per_snapshot.sum())
    popularity = np.cumsum(1.0 / (np.arange(entities) + 10))
    frequency = np.cumsum(1.0 / (np.arange(relations) + 3))

    def draw(count: int) -> np.ndarray:
        def entity():
            return np.searchsorted(popularity, rng.random(count) * popularity[-1])

        relation = np.searchsorted(frequency, rng.random(count) * frequency[-1])
        return np.stack([entity(), relation, entity()], 1)

    triples = draw(total)
    pool = draw(max(1, total // 20))
    repeats = rng.random(total) < recurring
    triples[repeats] = pool[rng.integers(0, len(pool), int(repeats.sum()))]
    time = np.repeat(np.arange(snapshots), per_snapshot)
    split = np.digitize(time, [snapshots - 2 * held_out, snapshots - held_out])
    source = {"kind": "random", "seed": seed}
    rows = np.column_stack([triples, time])
    return from_facts("random", rows, split, entities, relations, time_interval=1, provenance=source)


def streamed_facts(
    *, entities: int, relations: int, snapshots: int, facts: int, recurring: float = 0.6, seed: int = 0
) -> Iterator[FactBlock]:
    """Facts in order of time, about a million at once: never are all of them in memory.

    The entity of rank i is drawn with a chance of 1 / (i + 1000), the relation with 1 / (i + 3) (Zipf and Mandelbrot).
    A share `recurring` of the facts repeats one of a pool of triples, a twentieth of their number. Every snapshot has
    the same number of facts, up to one. The split is 98/1/1 by snapshot.
    """

    def ranks(rng: np.random.Generator, count: int, size: int, shift: int) -> np.ndarray:
        return (shift * (1 + size / shift) ** rng.random(count) - shift).astype(np.int32)

    def draw(rng: np.random.Generator, count: int) -> np.ndarray:
        relation = ranks(rng, count, relations, 3)
        return np.stack([ranks(rng, count, entities, 1000), relation, ranks(rng, count, entities, 1000)])

    pool = draw(np.random.default_rng((seed, 0)), max(1, facts // 20))
    bounds = np.linspace(0, facts, snapshots + 1).astype(np.int64)
    held_out = max(1, round(0.01 * snapshots))
    together = max(1, snapshots * 1_000_000 // facts)
    for first in range(0, snapshots, together):
        last = min(first + together, snapshots)
        rng = np.random.default_rng((seed, 1, first))
        time = np.repeat(np.arange(first, last), np.diff(bounds[first : last + 1]))
        triples = draw(rng, len(time))
        repeats = rng.random(len(time)) < recurring
        triples[:, repeats] = pool[:, rng.integers(0, pool.shape[1], int(repeats.sum()))]
        split = np.digitize(time, [snapshots - 2 * held_out, snapshots - held_out])
        yield FactBlock._make((*triples, time, split))
