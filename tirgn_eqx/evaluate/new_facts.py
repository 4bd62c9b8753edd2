"""Facts that never occurred before, of pairs (s, r) that did: how probable they were said to be, against what came.

There are millions of them and few come, so that those that came stand beside a sample of those that did not, drawn
evenly and weighted by how many it stands for.
"""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int64

from tirgn_eqx.evaluate.event_rates import Expected, RatesForecaster, popular_share
from tirgn_eqx.evaluate.event_tally import ratio
from tirgn_eqx.evaluate.results import Document

SAMPLED = 1000  # pairs with an object, of each snapshot; the few of them that are known facts are left out


class NewFactScores(Document):
    """Facts of known pairs with objects that are new to them, objects by how often the relation had them.

    - `facts`, `occurred`: how many could come over all snapshots, and how many did; `sampled`: of those that did not.
    - `expected`: the sum of their probabilities, estimated from the sample.
    - `auc`: the probability that one that came was given a higher probability than one that did not.
    """

    facts: int
    occurred: int
    sampled: int
    expected: float
    auc: float


class NewFactSample:
    """The sample of one target: known pairs with objects that are new to them.

    **Arguments:** `forecaster`; `target`; `pairs`: positions of the known pairs, as the forecaster's `novel` got them.
    """

    def __init__(self, forecaster: RatesForecaster, target: int, pairs: Int64[np.ndarray, " pair"]):
        index, rng = forecaster.index, np.random.default_rng(target)
        self.forecaster, self.target, self.pairs = forecaster, target, pairs
        self.row_of = np.full(len(index.pair.key), -1)
        self.row_of[pairs] = np.arange(len(pairs))
        loops = index.has_loops(target)
        objects = index.entities if loops else index.entities - 1
        self.candidates = len(pairs) * objects - index.fact.num_known(target)
        row, object = rng.integers(0, max(len(pairs), 1), SAMPLED), rng.integers(0, index.entities, SAMPLED)
        pair = index.pair.key[pairs[row]] if len(pairs) else np.zeros(0, np.int64)
        possible = (pair // index.relations != object[: len(pair)]) | loops
        self.key = (pair * index.entities + object[: len(pair)])[possible]
        self.key = self.key[index.fact.last(index.fact.group(self.key), target) < 0]

    def add(self, tally: "NewFactTally", novel: Expected, horizon: int, end: int) -> None:
        """Count what was forecast for the horizon at that position against what came before snapshot `end`."""
        index = self.forecaster.index
        new = index.fact.key[index.new_facts(self.target, end)]
        came = new[self.row_of[index.pair.group(new // index.entities)] >= 0]
        others = self.key[~np.isin(self.key, came)]
        tally.add(
            self._probability(came, novel, horizon),
            self._probability(others, novel, horizon),
            self.candidates - len(came),
        )

    def _probability(self, key: np.ndarray, novel: Expected, horizon: int) -> Float[np.ndarray, " fact"]:
        index = self.forecaster.index
        pair, object = np.divmod(key, index.entities)
        row = self.row_of[index.pair.group(pair)]
        share = popular_share(index, pair, object, self.target)
        return Expected(novel.mean[row], novel.shape[row]).of_share(share[:, None], horizon)[:, 0]


@dataclass
class NewFactTally:
    """Probabilities of facts that came and of a sample of those that did not, over all snapshots."""

    came: list[np.ndarray] = field(default_factory=list[np.ndarray])
    others: list[np.ndarray] = field(default_factory=list[np.ndarray])
    weight: list[float] = field(default_factory=list[float])
    facts: int = 0

    def add(self, came: np.ndarray, others: np.ndarray, number: int) -> None:
        """The probabilities at one snapshot, where `number` facts could have come and did not."""
        self.came.append(came)
        self.others.append(others)
        self.weight.append(number / max(len(others), 1))
        self.facts += len(came) + number

    def scores(self) -> NewFactScores:
        came = np.concatenate(self.came)
        others = np.concatenate(self.others)
        weight = np.repeat(self.weight, [len(one) for one in self.others])
        order = np.argsort(others)
        below = np.concatenate([[0.0], np.cumsum(weight[order])])
        low, high = (np.searchsorted(others[order], came, side) for side in ("left", "right"))
        wins = (below[low] + below[high]) / 2
        return NewFactScores(
            facts=self.facts,
            occurred=len(came),
            sampled=len(others),
            expected=float(came.sum() + (weight * others).sum()),
            auc=float(ratio(float(wins.sum()), float(len(came) * weight.sum()))),
        )
