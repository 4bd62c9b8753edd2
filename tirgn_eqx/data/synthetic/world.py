"""The simulated event world: facts drawn from known intensities, so that the best possible score is known.

Countries and organisations act on each other in CAMEO-like relations. On day t every possible fact (s, r, o), s != o,
happens with probability `1 - exp(-rate_t(s, r, o))`, independently of all others, where the rate is the sum of

- recurring behaviour: (s, r, o) at a stable rate;
- periodic behaviour: (s, r) meets one partner after the other, each on its own day of a week or fortnight;
- drifting behaviour: (s, r) has one partner at a time, who is replaced slowly, or only in bursts with quiet times
  between them;
- one-off facts: a small floor under every possible fact, `rate * subject[s] * relation[r] * object[o]`.

Who acts on whom depends on importance, region and home country, and in which relation on the kind of entity.
"""

from dataclasses import dataclass

import numpy as np

from tirgn_eqx.data.graph import SPLITS, StaticGraph, TemporalGraph, from_facts
from tirgn_eqx.data.synthetic.behaviours import (
    Drifting,
    Floor,
    Shape,
    Society,
    SparseRates,
    Steady,
    active,
    draw_facts,
    make_drifting,
    make_steady,
)
from tirgn_eqx.data.synthetic.cast import MAX_ENTITIES, REGIONS, Cast, make_cast, relation_names
from tirgn_eqx.errors import DataError, shown

_Number = int | float
_MOST_FACTS = 100_000_000  # they are drawn in memory


@dataclass(frozen=True)
class World:
    """A simulated event world: its facts and the intensities they were drawn from.

    **Arguments:** `graph`: the facts, in daily snapshots (`graph.times` are days); `floor`, `steady` and
    `drifting`: the parts of the intensity.
    """

    graph: TemporalGraph
    floor: Floor
    steady: Steady
    drifting: Drifting

    def intensity(self, snapshot: int | np.integer) -> SparseRates:
        """The rates of behaviours at `snapshot` (an index into `graph.times`), without the floor of one-off facts.

        **Returns:** int64 subject, relation, object and float64 rate (expected events per day), one entry per fact,
        sorted by (subject, relation, object).
        """
        return active(self.steady, self.drifting, int(self.graph.times[snapshot]), self._shape)

    def rates(
        self, snapshot: int | np.integer, entity: np.ndarray, relation: np.ndarray, *, inverse: bool = False
    ) -> np.ndarray:
        """float64 `(query, entity)`: the full rate, floor included, of every candidate answer.

        **Arguments:** `entity`, `relation`: int `(query,)`, the queries (entity, relation, ?), or with
        `inverse` (?, relation, entity).
        """
        floor, num_relations = self.floor, self.graph.num_relations
        condition, candidate = (floor.object, floor.subject) if inverse else (floor.subject, floor.object)
        # `(query, 1)` times `(entity,)`.
        rates = (floor.total * condition[entity] * floor.relation[relation])[:, None] * candidate
        # No fact has s = o.
        rates[np.arange(len(entity)), entity] = 0.0
        s, r, o, rate = self.intensity(snapshot)
        condition, candidate = (o, s) if inverse else (s, o)
        queries, row = np.unique(_pair(entity, relation, num_relations), return_inverse=True)
        query = _pair(condition, r, num_relations)
        # Beyond the last query, searchsorted gives its length. The comparison below sorts out what is not among them.
        place = np.minimum(np.searchsorted(queries, query), len(queries) - 1)
        hit = queries[place] == query
        extra = np.zeros((len(queries), self.graph.num_entities))
        # Assigned, not added: `intensity` has one entry per fact.
        extra[place[hit], candidate[hit]] = rate[hit]
        return rates + extra[row]

    def probability(
        self, snapshot: int | np.integer, horizon: int, subject: np.ndarray, relation: np.ndarray, object: np.ndarray
    ) -> np.ndarray:
        """float64 `(fact,)`: that each fact happens at least once within `horizon` days from `snapshot` on, by the true
        rates of these days. For whoever sees only the past it is more than can be known, see `best_mrr`.

        **Arguments:** int `(fact,)` each, with s != o.
        """
        floor, shape = self.floor, self._shape
        expected = horizon * floor.total * floor.subject[subject] * floor.relation[relation] * floor.object[object]
        wanted = np.ravel_multi_index((subject, relation, object), shape)
        first = int(self.graph.times[snapshot])
        for day in range(first, first + horizon):
            s, r, o, rate = active(self.steady, self.drifting, day, shape)
            key = np.ravel_multi_index((s, r, o), shape)
            place = np.minimum(np.searchsorted(key, wanted), len(key) - 1)
            expected += np.where(key[place] == wanted, rate[place], 0)
        return -np.expm1(-expected)

    def best_mrr(self, split: str = "test") -> dict[str, float]:
        """The score of a forecaster that knows every intensity: no other does better, up to chance.

        Each fact of `split` is two queries, (s, r, ?) and (?, r, o), over all entities. The answer is ranked by its
        rate, with the time-aware filter (other true answers of the same query on the same day are removed) and ties at
        the mean of the optimistic and the pessimistic rank. The facts of a day are independent, so the order by rate
        has the greatest expected reciprocal rank: exchanging two neighbours in it never helps. For whoever sees only
        the past it is an upper bound: the partner that a burst starts with, or the day on which it ends, cannot be
        known in advance.

        **Returns:** `mrr`, `hits_at_1`, `hits_at_3`, `hits_at_10` as fractions.

        **Raises:** DataError for an unknown split.
        """
        if split not in SPLITS:
            raise DataError(f"split {split!r} does not exist; use one of {', '.join(SPLITS)}")
        graph, ranks = self.graph, []
        for snapshot in graph.split_snapshots(split):
            # A simulated snapshot lies in one split as a whole, so that all its facts are queries.
            rows = slice(*graph.offsets[snapshot : snapshot + 2])
            s, r, o = graph.subject[rows], graph.relation[rows], graph.object[rows]
            for entity, answer, inverse in ((s, o, False), (o, s, True)):
                rates = self.rates(snapshot, entity, r, inverse=inverse)
                ranks.append(_filtered_ranks(rates, answer, _pair(entity, r, graph.num_relations)))
        rank = np.concatenate(ranks)
        hits = {f"hits_at_{k}": float(np.mean(rank <= k)) for k in (1, 3, 10)}
        return {"mrr": float(np.mean(1 / rank)), **hits}

    @property
    def _shape(self) -> Shape:
        return self.graph.num_entities, self.graph.num_relations, self.graph.num_entities


def simulate(
    *,
    num_entities: int = 100,
    num_relations: int = 20,
    num_days: int = 150,
    facts_per_day: _Number = 100.0,
    recurring: _Number = 0.60,
    periodic: _Number = 0.08,
    drifting: _Number = 0.17,
    one_off: _Number = 0.15,
    static_graph: bool = False,
    seed: int = 0,
) -> World:
    """A simulated event world, the same for the same arguments, split 80/10/10 by snapshot in time order.

    More `num_days` only add days: the earlier ones keep their facts.

    **Arguments:**

    - `num_entities`, `num_relations`, `num_days`: sizes.
    - `facts_per_day`: expected facts a day.
    - `recurring`, `periodic`, `drifting`, `one_off`: the share of the facts that each behaviour brings, scaled to a sum
      of 1.
    - `static_graph`: give the graph words for each entity (kind, region, home).
    - `seed`: of everything.

    **Raises:** DataError for a size or share that no world can have.
    """
    # Before any other name exists, these are exactly the arguments.
    options = dict(sorted(locals().items()))
    _check(options)
    weights = np.array([recurring, periodic, drifting, one_off], np.float64)
    expected = (facts_per_day * weights / weights.sum()).tolist()
    rng = np.random.default_rng([seed, 0])
    cast = make_cast(num_entities, rng)
    society = Society(cast, num_relations, rng)
    parts = (
        Floor(expected[3], society.importance, society.relation, society.importance),
        make_steady(society, expected[0], expected[1]),
        make_drifting(society, expected[2], num_days, seed),
    )
    facts = draw_facts(*parts, (num_entities, num_relations, num_entities), num_days, seed)
    graph = from_facts(
        "sim",
        facts,
        _split(facts[:, 3]),
        num_entities,
        num_relations,
        # Given and not derived from the facts: days without facts must not change the clock.
        time_interval=1,
        clock_origin=0,
        entity_names=cast.names,
        relation_names=relation_names(num_relations),
        static=_static_graph(cast) if static_graph else None,
        provenance={"kind": "sim", "path": "sim", **options},
    )
    return World(graph, *parts)


def _check(options: dict[str, _Number]) -> None:
    """**Raises:** DataError for the first option of `simulate` that cannot be."""
    # A fact happens at most once a day.
    possible = options["num_entities"] * (options["num_entities"] - 1) * options["num_relations"]
    limits = {
        "num_entities": (3, MAX_ENTITIES),
        "num_relations": (1, 10_000),
        "num_days": (10, 100_000),
        "facts_per_day": (5, possible),
        "seed": (0, 2**63),
    }
    for name, (low, high) in limits.items():
        if not low <= options[name] <= high:
            raise DataError(f"sim: {name} = {shown(options[name])}: must be from {low} to {high}")
    total = options["facts_per_day"] * options["num_days"]
    if total > _MOST_FACTS:
        raise DataError(
            f"sim: {total:,.0f} facts in all, more than {_MOST_FACTS:,}; ask for fewer days or facts_per_day"
        )
    weights = {name: options[name] for name in ("recurring", "periodic", "drifting", "one_off")}
    for name, value in weights.items():
        if not 0 <= value < np.inf:
            raise DataError(f"sim: {name} = {value}: a weight must be a finite number, 0 or more")
    if not 0 < sum(weights.values()) < np.inf:
        raise DataError(f"sim: {', '.join(weights)} have no finite sum above 0: give weights such as 0.6")


def _split(time: np.ndarray) -> np.ndarray:
    """int8 `(fact,)`: the first 80 % of the snapshots train, the next 10 % valid, the rest test."""
    times, snapshot = np.unique(time, return_inverse=True)
    held_out = max(1, round(0.1 * len(times)))
    return np.digitize(snapshot, [len(times) - 2 * held_out, len(times) - held_out]).astype(np.int8)


def _pair(entity: np.ndarray, relation: np.ndarray, num_relations: int) -> np.ndarray:
    return entity.astype(np.int64) * num_relations + relation


def _filtered_ranks(rates: np.ndarray, answer: np.ndarray, query: np.ndarray) -> np.ndarray:
    """float64 `(query,)`: ranks of `answer`; those of the same `query` are filtered from each other's ranking."""
    queries, row = np.unique(query, return_inverse=True)
    answers = np.zeros((len(queries), rates.shape[1]), bool)
    answers[row, answer] = True
    # All candidates but the true answers: neither the answer itself nor another one counts against it.
    others = ~answers[row]
    true = np.take_along_axis(rates, answer[:, None].astype(np.int64), 1)
    above, equal = ((rates > true) & others).sum(1), ((rates == true) & others).sum(1)
    # The mean of the optimistic rank, 1 + above, and the pessimistic one, 1 + above + equal.
    return 1 + above + equal / 2


def _static_graph(cast: Cast) -> StaticGraph:
    """Three words of every entity: its kind (relation 0), its region (1), its home country or itself (2)."""
    num_entities = len(cast.names)
    entity = np.arange(num_entities, dtype=np.int32)
    # An alliance has no home country and is a word of its own.
    own = np.where(cast.home >= 0, cast.home, entity)
    names, own = np.unique(own, return_inverse=True)
    # All words share one numbering: kinds, then regions, then countries.
    word = [cast.kind, len(cast.kinds) + cast.region, len(cast.kinds) + len(REGIONS) + own]
    return StaticGraph(
        entity=np.tile(entity, 3),
        relation=np.repeat(np.arange(3, dtype=np.int32), num_entities),
        word=np.concatenate(word).astype(np.int32),
        num_relations=3,
        num_words=len(cast.kinds) + len(REGIONS) + len(names),
    )
