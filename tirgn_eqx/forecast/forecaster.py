"""`Forecaster`: who will do what to whom next, by name."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tirgn_eqx.checkpoint.models import load_model
from tirgn_eqx.config import TrainingConfig
from tirgn_eqx.data.forecast_target import outlook
from tirgn_eqx.data.graph import TemporalGraph
from tirgn_eqx.data.index.evidence import EvidenceIndex
from tirgn_eqx.data.readers.load import load_graph, reading_of
from tirgn_eqx.data.snapshot_time import moment, parse_time
from tirgn_eqx.data.vocabulary import for_checkpoint
from tirgn_eqx.errors import CheckpointError, DataError
from tirgn_eqx.evaluate.explain import explained
from tirgn_eqx.forecast.facts import Fact, probable_facts
from tirgn_eqx.forecast.names import Names
from tirgn_eqx.forecast.states import MOST_UNITS, EvidenceState, RecurrentState, state_at
from tirgn_eqx.models import Model

ASKED = ("subject", "relation", "object")


@dataclass(frozen=True)
class Candidate:
    """One answer. `because`: with evidence, the shares of its intensity (see `Share.to_dict`); else how often the fact
    was seen and when last, and `from_history`, the share of its probability that history mode gives."""

    name: str
    probability: float
    because: dict[str, Any] | None = None


@dataclass(frozen=True)
class Forecast:
    """The most probable answers to a question; what `asked_for` names is None in it. The other parts are names as the
    model knows them, which tells what was found for a name in another spelling."""

    time: int | str
    subject: str | None
    relation: str | None
    object: str | None
    asked_for: str
    candidates: tuple[Candidate, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON-compatible."""
        given = {part: getattr(self, part) for part in ASKED if part != self.asked_for}
        candidates = [{k: v for k, v in vars(found).items() if v is not None} for found in self.candidates]
        return {"time": self.time, **given, "asked_for": self.asked_for, "candidates": candidates}


class Forecaster:
    """Forecasts from one model, for one moment, from all that is known before it.

    What all questions share (the encoder's states, the background) is computed once, here.

    **Arguments:** `model`, `config`: as `load_model` gives them; `graph`: what is known; `at`: the moment, an ISO 8601
    date or time of event tables or a time in the graph's own unit; None: the step after the last snapshot;
    `temperature`: of the probabilities, by kind of question, as `tirgn eval --calibrate` found it; `metadata`: as
    `load_model` gives it, by which the names of `graph` are matched with those of the model (see `for_checkpoint`);
    without it, ids are taken to be those of the model.

    **Raises:** DataError for a moment before all facts, or a graph that the model does not fit.
    """

    def __init__(
        self,
        model: Model,
        config: TrainingConfig,
        graph: TemporalGraph,
        *,
        at: str | int | None = None,
        temperature: dict[str, float] | None = None,
        metadata: dict[str, Any] | None = None,
    ):
        graph = graph if metadata is None else for_checkpoint(graph, metadata, "the model")
        sizes = (model.num_entities, model.num_relations)
        if sizes != (graph.num_entities, graph.num_relations):
            raise DataError(
                f"{graph.name}: has {graph.num_entities:,} entities and {graph.num_relations:,} relations, but the "
                f"model was trained with {sizes[0]:,} and {sizes[1]:,}; use the data that it was trained on, or retrain"
            )
        self.names, self.temperature = Names(graph), temperature or {}
        self.outlook = outlook(graph, None if at is None else parse_time(graph, at))
        self.graph, self.target = self.outlook.graph, self.outlook.target
        self.index = EvidenceIndex(self.graph)
        self.known = self.index.known(self.target, self.outlook.known)
        self.state = state_at(model, self.outlook, self.index, **config.window())

    @classmethod
    def load(
        cls,
        checkpoint: str | Path,
        data_path: str | None = None,
        *,
        at: str | int | None = None,
        **load: Any,
    ) -> "Forecaster":
        """A forecaster of a checkpoint, with its calibration.

        **Arguments:** `data_path`: what is known, read with the vocabulary of the checkpoint; None: the data that it
        was trained on; `load`: options of `load_graph`, each as in training unless given.
        """
        model, config, described = load_model(checkpoint)
        provenance = (described.get("data") or {}).get("provenance") or {}
        if data_path is None and not provenance:
            raise CheckpointError(f"{checkpoint}: does not say where its data came from; give the path of the data")
        own = data_path is None
        graph = (
            load_graph(**provenance | load)
            if own
            else load_graph(data_path, **reading_of(provenance, data_path) | load)
        )
        graph = for_checkpoint(graph, described, checkpoint)
        calibration = described.get("calibration") or {}
        return cls(model, config, graph, at=at, temperature=calibration.get("temperature"))

    @property
    def time(self) -> int | str:
        """The moment that is forecast."""
        return moment(self.graph, self.target)

    # --- probabilities by id -------------------------------------------------------------------------------------

    def objects(self, subject: np.ndarray, relation: np.ndarray) -> np.ndarray:
        """float32 `(question, entity)`: probability of every object of (subject, relation, ?); ids, relations from
        `num_relations` on are inverse."""
        return self._in_parts("entity", self.state.entity, subject, relation)

    def relations(self, subject: np.ndarray, object: np.ndarray) -> np.ndarray:
        """float32 `(question, rel2)`: probability of every relation, inverse ones too, of (subject, ?, object)."""
        return self._in_parts("relation", self.state.relation, subject, object)

    def _in_parts(self, kind: str, ask: Any, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        first, second = np.asarray(first, np.int64), np.asarray(second, np.int64)
        parts = [
            ask(first[begin : begin + MOST_UNITS], second[begin : begin + MOST_UNITS])
            for begin in range(0, len(first), MOST_UNITS)
        ]
        found = np.concatenate(parts) if parts else np.zeros((0, 0), np.float32)
        return tempered(found, self.temperature.get(kind, 1.0))

    # --- forecasts by name ---------------------------------------------------------------------------------------

    def forecast(
        self,
        subject: str | None = None,
        relation: str | None = None,
        object: str | None = None,
        *,
        top: int = 10,
        because: bool = True,
    ) -> Forecast:
        """The most probable answers to a question: the part that is None is asked for.

        **Arguments:** names; `top`: how many candidates; `because`: say what carries each.

        **Raises:** DataError for a name that is not known, or unless exactly one part is missing.
        """
        question = (subject, relation, object)
        asked_for = _asked_for(question, 1)
        if not because or asked_for == "relation":
            return self.forecasts([question], top=top)[0]
        ends = (subject, relation) if asked_for == "object" else (object, relation)
        first, second = self.names.entity(str(ends[0])), self.names.relation(str(ends[1]))
        return self.forecast_ids(first, second + self.graph.num_relations * (asked_for == "subject"), top=top)

    def forecast_ids(self, subject: int, relation: int, *, top: int = 10) -> Forecast:
        """The most probable objects of (subject, relation, ?) by id, with what carries them; a relation from
        `num_relations` on is inverse, and asks for the subject."""
        chosen, probability, reasons = self._with_reasons(subject, relation, top)
        candidates = zip(chosen.tolist(), probability.tolist(), reasons)
        named = tuple(Candidate(self.names.entities[o], p, why) for o, p, why in candidates)
        end, does = self.names.entities[subject], self.names.relations[relation % self.graph.num_relations]
        if relation < self.graph.num_relations:
            return Forecast(self.time, end, does, None, "object", named)
        return Forecast(self.time, None, does, end, "subject", named)

    def forecasts(
        self, questions: Sequence[tuple[str | None, str | None, str | None]], *, top: int = 10
    ) -> list[Forecast]:
        """The most probable answers to many questions (subject, relation, object), of each the part that is None;
        without what carries them.

        **Raises:** DataError as `forecast`.
        """
        asked = [_asked_for(question, number) for number, question in enumerate(questions, start=1)]
        out: list[Forecast | None] = [None] * len(questions)
        names, relations = self.names, self.graph.num_relations
        for kind in ASKED:
            rows = [number for number, part in enumerate(asked) if part == kind]
            if not rows:
                continue
            given = [[str(x) for x in questions[row] if x is not None] for row in rows]
            kinds = (
                ("relation", "entity")
                if kind == "subject"
                else ("entity", "entity" if kind == "relation" else "relation")
            )
            pairs = np.stack([names.ids(k, [pair[place] for pair in given]) for place, k in enumerate(kinds)], 1)
            as_known = [[names.of(k)[i] for k, i in zip(kinds, pair)] for pair in pairs.tolist()]
            # Equal questions are asked once, and those about one entity side by side, which share its past.
            pairs = pairs[:, ::-1] + [0, relations] if kind == "subject" else pairs
            distinct, place = np.unique(pairs, axis=0, return_inverse=True)
            best, probability = self._best_answers(distinct, kind, top)
            known = names.relations if kind == "relation" else names.entities
            for row, number, told in zip(rows, place.ravel().tolist(), as_known):
                chosen = zip(best[number].tolist(), probability[number].tolist())
                candidates = tuple(Candidate(known[i], p) for i, p in chosen)
                question = {part: None if part == kind else told.pop(0) for part in ASKED}
                out[row] = Forecast(self.time, **question, asked_for=kind, candidates=candidates)
        return [forecast for forecast in out if forecast is not None]

    def _best_answers(self, pairs: np.ndarray, kind: str, top: int) -> tuple[np.ndarray, np.ndarray]:
        """(candidates, probabilities) of the best answers, `(question, top)` each, to questions by id."""
        found = []
        for begin in range(0, len(pairs), MOST_UNITS):
            first, second = pairs[begin : begin + MOST_UNITS].T
            if kind == "relation":
                # The direction is given: what the object may do to the subject does not count.
                shares = self.relations(first, second)[:, : self.graph.num_relations]
                shares = shares / shares.sum(1, keepdims=True)
            else:
                shares = self.objects(first, second)
            found.append(_best(shares, top))
        best, probability = zip(*found)
        return np.concatenate(best), np.concatenate(probability)

    def _with_reasons(
        self, subject: int, relation: int, top: int
    ) -> tuple[np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """(candidates, probabilities, what carries each) of an entity question."""
        if isinstance(self.state, EvidenceState):
            found, gathered = self.state.carried(subject, relation)
            shares = np.asarray(found.intensity / found.intensity.sum())
            chosen, probability = self._best_of(shares, top)
            explain = lambda o: explained(self.index, self.known, (subject, relation, o), self.target, found, gathered)
            return chosen, probability, [{"shares": explain(o).to_dict(self.graph)["shares"]} for o in chosen.tolist()]
        assert isinstance(self.state, RecurrentState)
        shares, of_history = self.state.with_history(subject, relation)
        chosen, probability = self._best_of(shares, top)
        keys = (subject * self.index.entities + chosen) * self.index.rel2 + relation
        rows = self.index.triple.last(self.index.triple.group(keys), self.known.before)
        reasons = []
        for o, row in zip(chosen.tolist(), rows.tolist()):
            seen: dict[str, Any] = {"events": 0}
            if row >= 0:
                last = int(self.index.triple.occurrence[row] % self.graph.num_snapshots)
                seen = {"events": int(self.index.triple.events[row]), "last": moment(self.graph, last)}
            reasons.append(seen | {"from_history": float(of_history[o])})
        return chosen, probability, reasons

    def _best_of(self, probability: np.ndarray, top: int) -> tuple[np.ndarray, np.ndarray]:
        """(places, calibrated probabilities) of the best candidates of one entity question."""
        place, value = _best(tempered(probability[None], self.temperature.get("entity", 1.0)), top)
        return place[0], value[0]

    # --- facts ---------------------------------------------------------------------------------------------------

    def score(self, facts: Sequence[tuple[str, str, str]]) -> dict[str, np.ndarray]:
        """How probable given future facts (subject, relation, object) are: float64 `(fact,)` by what is taken as asked
        for: "object" p(o | s, r), "subject" p(s | r, o), "relation" p(r | s, o).

        **Raises:** DataError for a name that is not known.
        """
        columns = [[fact[place] for fact in facts] for place in range(3)]
        s, r, o = (self.names.ids(k, c) for k, c in zip(("entity", "relation", "entity"), columns))
        relations, out = self.graph.num_relations, {part: np.empty(len(facts)) for part in ASKED}
        for begin in range(0, len(facts), MOST_UNITS):
            part = slice(begin, begin + MOST_UNITS)
            row = np.arange(len(s[part]))
            out["object"][part] = self.objects(s[part], r[part])[row, o[part]]
            out["subject"][part] = self.objects(o[part], r[part] + relations)[row, s[part]]
            forward = self.relations(s[part], o[part])[:, :relations]
            out["relation"][part] = forward[row, r[part]] / forward.sum(1)
        return out

    def top_facts(self, number: int = 20) -> list[Fact]:
        """The facts that are most probable at the moment, overall, most probable first; see `probable_facts`."""
        return probable_facts(self, number)


def tempered(probability: np.ndarray, temperature: float) -> np.ndarray:
    """p^(1 / temperature), summing up to 1 in every row."""
    if temperature == 1.0 or probability.size == 0:
        return probability
    log_p = np.log(np.maximum(probability.astype(np.float64), 1e-300)) / temperature
    found = np.exp(log_p - log_p.max(1, keepdims=True))
    return found / found.sum(1, keepdims=True)


def _best(probability: np.ndarray, top: int) -> tuple[np.ndarray, np.ndarray]:
    """(place, value) of the `top` largest of each row, largest first, equal ones by place."""
    top = min(top, probability.shape[1])
    place = np.sort(np.argpartition(-probability, top - 1, 1)[:, :top], 1)
    value = np.take_along_axis(probability, place, 1)
    order = np.argsort(-value, 1, kind="stable")
    return np.take_along_axis(place, order, 1), np.take_along_axis(value, order, 1)


def _asked_for(question: tuple[str | None, str | None, str | None], number: int) -> str:
    missing = [part for part, name in zip(ASKED, question) if name is None]
    if len(missing) != 1:
        state = "nothing is" if not missing else f"{' and '.join(missing)} are"
        raise DataError(f"question {number}: {state} missing; give two of subject, relation and object")
    return missing[0]
