"""A few padded shapes for many batches, chosen so that padding costs little."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Bucket:
    """One padded shape of graph batches: window sizes (active, edge, pair), the number of micro-batches, and per kind
    of query the sizes (query, answer, history, true) of a micro-batch; `rows`: entities that are evolved (0 = all)."""

    window: tuple[int, ...]
    num_micro: int
    entity: tuple[int, ...]
    relation: tuple[int, ...]
    rows: int = 0


def group_loads(load: np.ndarray, max_groups: int, group_cost: float = 0.0) -> np.ndarray:
    """Divide items into groups so that the padded load, the sum of group size times largest load, is least.

    **Arguments:** `load`: of every item; `max_groups`: the most groups; `group_cost`: the load that a further group
    must save at least, for its shape is compiled.

    For example, loads [1, 9, 1, 8] in two groups: [0, 1, 0, 1], with a padded load of 2 * 1 + 2 * 9 = 20 instead of
    36. In order of load, a best grouping consists of consecutive runs, which a dynamic program over possible cuts
    finds: `best[i]` is the least padded load of the items up to cut i.

    **Returns:** int64 `(item,)`: the group of every item, in order of load.
    """
    order = np.argsort(load, kind="stable")
    ends = np.unique(np.linspace(0, len(load), 49).astype(int)[1:])  # candidate cuts: one per 2 % of the items
    # A run of items in order of load is padded to its last one.
    top = load[order][ends - 1].astype(np.float64)
    cuts = np.concatenate([[0], ends])
    best = np.concatenate([[0.0], ends * top])
    choice, total = [np.zeros(len(cuts), int)], [best[-1]]
    for _ in range(1, max_groups):
        # cost[j, i]: groups that end at cut i, then one more group up to cut j.
        cost = best[None, :] + (cuts[:, None] - cuts[None, :]) * np.concatenate([[0.0], top])[:, None]
        # A group cannot begin after its end.
        cost[np.triu_indices(len(cuts), 1)] = np.inf
        choice.append(cost.argmin(1))
        best = cost.min(1)
        total.append(best[-1])
    used = int(np.argmin(np.asarray(total) + group_cost * np.arange(len(total))))
    # Back from the last cut: each group begins where the best choice before it ended.
    groups = np.zeros(len(load), int)
    end = len(cuts) - 1
    for number in range(used, -1, -1):
        begin = choice[number][end]
        groups[order[cuts[begin] : cuts[end]]] = number
        end = begin
    return np.unique(groups, return_inverse=True)[1]  # some groups may be empty


def round_up(size: int) -> int:
    """Up to a multiple of 8, or of 1/16 of the size: nearby sizes share a shape."""
    # For example, 100 becomes 104 (steps of 8) and 1000 becomes 1024 (steps of 64).
    step = max(8, 1 << max(0, size.bit_length() - 4))
    return -(-size // step) * step
