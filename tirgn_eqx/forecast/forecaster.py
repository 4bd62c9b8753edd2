"""`Forecaster`: who will do what to whom next, by name."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from tirgn_eqx.checkpoint.models import load_model
from tirgn_eqx.config import TrainingConfig
from tirgn_eqx.data.clock import Metadata
from tirgn_eqx.data.forecast_target import make_forecast_target
from tirgn_eqx.data.graph import TemporalGraph
from tirgn_eqx.data.index.evidence import EvidenceIndex
from tirgn_eqx.data.times import format_snapshot_time, parse_snapshot_time
from tirgn_eqx.data.vocabulary import match_checkpoint
from tirgn_eqx.errors import DataError
from tirgn_eqx.evaluate.results import Document
from tirgn_eqx.forecast.facts import Fact, probable_facts
from tirgn_eqx.forecast.history import check_vocabulary, load_history
from tirgn_eqx.forecast.names import Names
from tirgn_eqx.forecast.queries import PARTS
from tirgn_eqx.forecast.states import (
    MAX_QUERIES,
    EvidenceExplanation,
    HistoryExplanation,
    state_at,
    with_temperature,
)
from tirgn_eqx.models import Model

# (subject, relation, object) by name, with None for the part that is predicted.
Query = tuple[str | None, str | None, str | None]
Ids = Int[np.ndarray, " query"]


class Candidate(Document):
    """One answer, its probability, and where it was asked for, what the forecast rests on: of evidence models and
    mixtures the shares of the intensity, of recurrent graph models past events and the share of history mode."""

    name: str
    probability: float
    explanation: EvidenceExplanation | HistoryExplanation | None = None


class Forecast(Document):
    """The most probable answers to a query, most probable first.

    `predicted` names the part that the query leaves open, which is None. The others are names as the model knows them,
    which shows what was found for a name in another spelling.
    """

    time: int | str
    subject: str | None = None
    relation: str | None = None
    object: str | None = None
    predicted: str
    candidates: list[Candidate]


class Forecaster:
    """Forecasts from one model, for one target time, from all that is known before it.

    What all queries share (the encoder's states, the cached states of all entities) is computed once, here.

    **Arguments:**

    - `model`, `config`: as `load_model` returns them.
    - `graph`: what is known.
    - `at`: the target time, an ISO 8601 date or time of event tables or a time in the unit of `graph.times`; None: the
      step after the last snapshot.
    - `temperature`: of the probabilities, by kind of query ("entity", "relation"), as `fit_temperature` finds it.
    - `metadata`: as `load_model` returns it, to match the names of `graph` with those of the model (see
      `match_checkpoint`). Without it, ids are taken to be those of the model.

    **Raises:** DataError for a time before all facts, or a graph that the model does not fit.

    **Example:**

        forecaster = Forecaster.load("models/tkg/tirgn_best.npz")
        for candidate in forecaster.forecast("RUSSIA", "042_Q1").candidates:
            print(candidate.name, candidate.probability)
    """

    def __init__(
        self,
        model: Model,
        config: TrainingConfig,
        graph: TemporalGraph,
        *,
        at: str | int | None = None,
        temperature: dict[str, float] | None = None,
        metadata: Metadata | None = None,
    ):
        graph = graph if metadata is None else match_checkpoint(graph, metadata, "the model")
        check_vocabulary(model, graph)
        self.names, self.temperature = Names(graph), temperature or {}
        self.target = make_forecast_target(graph, None if at is None else parse_snapshot_time(graph, at))
        self.graph, self.index = self.target.graph, EvidenceIndex(self.target.graph)
        self.state = state_at(model, self.target, self.index, **config.window())

    @classmethod
    def load(
        cls,
        checkpoint: str | Path,
        data_path: str | None = None,
        *,
        at: str | int | None = None,
        **load: Any,  # options of every type
    ) -> "Forecaster":
        """A forecaster of a checkpoint, with its calibration.

        **Arguments:** `data_path`: what is known, read with the vocabulary of the checkpoint; None: the data that it
        was trained on; `at`: see `Forecaster`; `load`: options of `load_graph`, each as in training unless given.

        **Raises:** CheckpointError where neither the checkpoint nor `data_path` says where the data are.
        """
        model, config, metadata = load_model(checkpoint)
        graph = load_history(checkpoint, metadata, data_path, load)
        return cls(model, config, graph, at=at, temperature=metadata.temperature)

    @property
    def time(self) -> int | str:
        """The time that is forecast."""
        return format_snapshot_time(self.graph, self.target.target)

    def compile(self) -> None:
        """Compile what a single question for an entity, with its explanation, and one for a relation need, so that the
        first one is answered as fast as the others."""
        graph = self.graph
        subject, relation, object = (int(ids[-1]) for ids in (graph.subject, graph.relation, graph.object))
        self.forecast_ids(subject, relation, top=1)
        self.relations(np.array([subject]), np.array([object]))

    # --- probabilities by id -------------------------------------------------------------------------------------

    def objects(self, subject: Ids, relation: Ids) -> Float[np.ndarray, "query entity"]:
        """The probability of every object of (subject, relation, ?), by id; relations from `num_relations` on are
        inverse. Float32, or float64 with a temperature."""
        return self._in_chunks("entity", self.state.entity, subject, relation)

    def relations(self, subject: Ids, object: Ids) -> Float[np.ndarray, "query rel2"]:
        """The probability of every relation of (subject, ?, object), inverse ones too, by id; types as `objects`."""
        return self._in_chunks("relation", self.state.relation, subject, object)

    def _in_chunks(
        self, kind: str, probabilities: Callable[[np.ndarray, np.ndarray], np.ndarray], first: Ids, second: Ids
    ) -> np.ndarray:
        first, second = np.asarray(first, np.int64), np.asarray(second, np.int64)
        chunks = [slice(begin, begin + MAX_QUERIES) for begin in range(0, len(first), MAX_QUERIES)]
        parts = [probabilities(first[chunk], second[chunk]) for chunk in chunks]
        found = np.concatenate(parts) if parts else np.zeros((0, 0), np.float32)
        return with_temperature(found, self.temperature.get(kind, 1.0))

    # --- forecasts by name ---------------------------------------------------------------------------------------

    def forecast(
        self,
        subject: str | None = None,
        relation: str | None = None,
        object: str | None = None,
        *,
        top: int = 10,
        explain: bool = True,
    ) -> Forecast:
        """The most probable answers to a query: the part that is None is predicted.

        **Arguments:** names; `top`: how many candidates; `explain`: say what the forecast of an entity rests on.

        **Raises:** DataError for a name that is not known, or unless exactly one part is missing.
        """
        predicted = _predicted_part((subject, relation, object), 1)
        if not explain or predicted == "relation":
            return self.forecasts([(subject, relation, object)], top=top)[0]
        # (?, r, o) is the query (o, inverse of r, ?).
        ends = (subject, relation) if predicted == "object" else (object, relation)
        first, second = self.names.entity(str(ends[0])), self.names.relation(str(ends[1]))
        return self.forecast_ids(first, second + self.graph.num_relations * (predicted == "subject"), top=top)

    def forecast_ids(self, subject: int, relation: int, *, top: int = 10) -> Forecast:
        """The most probable objects of (subject, relation, ?) by id, each explained; a relation from `num_relations` on
        is inverse and predicts the subject."""
        probability, explain = self.state.explained(subject, relation)
        best, value = _best(with_temperature(probability[None], self.temperature.get("entity", 1.0)), top)
        places: list[int] = best[0].tolist()
        candidates = [
            Candidate(name=self.names.entities[o], probability=p, explanation=explain(o))
            for o, p in zip(places, value[0].tolist())
        ]
        predicted, other = ("object", "subject") if relation < self.graph.num_relations else ("subject", "object")
        condition = {other: self.names.entities[subject]}
        name = self.names.relations[relation % self.graph.num_relations]
        return Forecast(time=self.time, relation=name, predicted=predicted, candidates=candidates, **condition)

    def forecasts(self, queries: Sequence[Query], *, top: int = 10) -> list[Forecast]:
        """The most probable answers to many queries (subject, relation, object), each with None for the part that is
        predicted; without explanations.

        **Raises:** DataError as `forecast`.
        """
        predicted = [_predicted_part(query, number) for number, query in enumerate(queries, start=1)]
        out: dict[int, Forecast] = {}
        names, relations = self.names, self.graph.num_relations
        for part in (part for part in PARTS if part in predicted):
            rows = [row for row, other in enumerate(predicted) if other == part]
            others = [other for other in PARTS if other != part]
            kinds = ["relation" if other == "relation" else "entity" for other in others]
            columns = zip(*([name for name in queries[row] if name is not None] for row in rows))
            pairs = np.stack([names.ids(kind, column) for kind, column in zip(kinds, columns)], 1)
            # A subject is predicted as the object of (object, inverse relation, ?).
            # Equal queries are forecast once, and those of one entity side by side, since they share its past.
            ordered = pairs[:, ::-1] + [0, relations] if part == "subject" else pairs
            distinct, place = np.unique(ordered, axis=0, return_inverse=True)
            # NumPy 2.0 gives `place` as a column, other versions as a vector; `ravel` takes both.
            places: list[int] = place.ravel().tolist()
            best, probability = self._best_answers(distinct, part, top)
            ids: list[list[int]] = best.tolist()
            conditions: list[list[int]] = pairs.tolist()
            answers = names.relations if part == "relation" else names.entities
            for row, number, pair in zip(rows, places, conditions):
                found = zip(ids[number], probability[number].tolist())
                candidates = [Candidate(name=answers[i], probability=p) for i, p in found]
                condition = {other: names.of[kind][i] for other, kind, i in zip(others, kinds, pair)}
                out[row] = Forecast(time=self.time, predicted=part, candidates=candidates, **condition)
        return [out[row] for row in range(len(queries))]

    def _best_answers(self, pairs: np.ndarray, part: str, top: int) -> tuple[np.ndarray, np.ndarray]:
        """(candidates, probabilities) of the best answers, `(query, top)` each, to queries by id."""
        found: list[tuple[np.ndarray, np.ndarray]] = []
        for begin in range(0, len(pairs), MAX_QUERIES):
            first, second = pairs[begin : begin + MAX_QUERIES].T
            if part == "relation":
                # The direction is given: inverse relations are what the object does to the subject.
                shares = self.relations(first, second)[:, : self.graph.num_relations]
                shares = shares / shares.sum(1, keepdims=True)
            else:
                shares = self.objects(first, second)
            # Only the best are kept: the probabilities of all entities are held for one chunk at a time.
            found.append(_best(shares, top))
        best, probability = zip(*found)
        return np.concatenate(best), np.concatenate(probability)

    # --- facts ---------------------------------------------------------------------------------------------------

    def score(self, facts: Sequence[tuple[str, str, str]]) -> dict[str, Float[np.ndarray, " fact"]]:
        """How probable given future facts (subject, relation, object) are, float64, by the part that is predicted:
        "object" p(o | s, r), "subject" p(s | r, o), "relation" p(r | s, o).

        **Raises:** DataError for a name that is not known.
        """
        columns = ([fact[place] for fact in facts] for place in range(3))
        s, r, o = (self.names.ids(kind, c) for kind, c in zip(("entity", "relation", "entity"), columns))
        relations, out = self.graph.num_relations, {part: np.empty(len(facts)) for part in PARTS}
        for begin in range(0, len(facts), MAX_QUERIES):
            chunk = slice(begin, begin + MAX_QUERIES)
            row = np.arange(len(s[chunk]))
            out["object"][chunk] = self.objects(s[chunk], r[chunk])[row, o[chunk]]
            out["subject"][chunk] = self.objects(o[chunk], r[chunk] + relations)[row, s[chunk]]
            # As in `_best_answers`: among the forward relations, since the direction is given.
            forward = self.relations(s[chunk], o[chunk])[:, :relations]
            out["relation"][chunk] = forward[row, r[chunk]] / forward.sum(1)
        return out

    def top_facts(self, number: int = 20) -> list[Fact]:
        """The most probable facts at the target time, over all queries, most probable first; see `probable_facts`."""
        cutoff = self.index.cutoff(self.target.target, self.target.history_end)
        return probable_facts(self.graph, cutoff, self.names, self.objects, number)


def _best(probability: np.ndarray, top: int) -> tuple[np.ndarray, np.ndarray]:
    """(place, value) of the `top` largest of each row, largest first, equal ones by place."""
    top = min(top, probability.shape[1])
    # Places ascend before the stable sort by value, so that equal values stay in that order.
    place = np.sort(np.argpartition(-probability, top - 1, 1)[:, :top], 1)
    value = np.take_along_axis(probability, place, 1)
    order = np.argsort(-value, 1, kind="stable")
    return np.take_along_axis(place, order, 1), np.take_along_axis(value, order, 1)


def _predicted_part(query: Query, number: int) -> str:
    missing = [part for part, name in zip(PARTS, query) if name is None]
    if len(missing) != 1:
        state = "nothing is" if not missing else f"{' and '.join(missing)} are"
        raise DataError(f"query {number}: {state} missing; give two of subject, relation and object")
    return missing[0]
