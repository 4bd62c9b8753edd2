"""Small folders in the form in which py-tgb keeps its temporal knowledge graphs."""

import pickle
from pathlib import Path

import numpy as np

from tirgn_eqx.data.graph import SPLITS, both_directions
from tirgn_eqx.data.readers.tgb import NAMED, SAMPLED, read_tgb


def facts(seed=0, days=14, per_day=10, entities=9, relations=3):
    """Rows (time, head, tail, relation), some of them twice, in the order of time."""
    random = np.random.default_rng(seed)
    rows = []
    for day in range(days):
        head, tail = random.integers(0, entities, (2, per_day))
        rows += zip([1000 + 86400 * day] * per_day, head, tail, random.integers(0, relations, per_day))
        rows.append(rows[-1])
    rows[:relations] = [(1000, number, number + 1, number) for number in range(relations)]
    return np.array(rows, np.int64)


def write(folder: Path, name: str, rows=None, *, negatives=6, protocol=pickle.HIGHEST_PROTOCOL, seed=0) -> Path:
    """A folder of the set `name`; for tkgl-wikidata with negatives of its valid and test split."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = facts(seed) if rows is None else rows

    def text(kind, number):
        return f"{kind}{number + 40}" if name in NAMED else str(number)

    lines = [f"{t},{text('Q', s)},{text('Q', o)},{text('P', r)}" for t, s, o, r in rows.tolist()]
    (folder / f"{name}_edgelist.csv").write_text("\n".join(["timestamp,head,tail,relation_type", *lines]) + "\n")
    if name in NAMED:
        static = [f"{text('Q', number)},{text('Q', 100 + number % 3)},P{7 + number % 2}" for number in range(6)]
        static.append("Q999,Q41,P7")
        (folder / f"{name}_static_edgelist.csv").write_text("\n".join(["head,tail,relation_type", *static]) + "\n")
    if name in SAMPLED:
        graph = read_tgb(folder)
        for split, short in (("valid", "val"), ("test", "test")):
            drawn = draw(graph, split, negatives, seed)
            with (folder / f"{name}_{short}_ns.pkl").open("wb") as file:
                pickle.dump(drawn, file, protocol=protocol)
    return folder


def draw(graph, split, number, seed):
    """Candidates by query; among them, as in TGB's files, now and then the answer itself."""
    random, drawn = np.random.default_rng(seed), {}
    chosen = np.flatnonzero(graph.split == SPLITS.index(split))
    subject, relation, _ = both_directions(graph, chosen)
    times = np.tile(graph.times[graph.snapshot[chosen]], 2)
    for key in zip(times, subject, relation):
        drawn[tuple(np.int64(part) for part in key)] = random.choice(graph.num_entities, number, replace=False)
    return drawn
