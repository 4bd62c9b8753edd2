"""Why a candidate was forecast: the past events that carry its intensity, with their exact shares."""

import datetime
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tirgn_eqx.data.events import GRANULARITIES
from tirgn_eqx.data.evidence import EvidenceIndex
from tirgn_eqx.data.evidence_questions import Asked, Gatherer, on_device, rounded_bucket
from tirgn_eqx.data.graph import TemporalGraph
from tirgn_eqx.data.windows import WindowLoader
from tirgn_eqx.errors import DataError
from tirgn_eqx.evaluate.encoding import Encoder
from tirgn_eqx.models.combined import Combined, Informed
from tirgn_eqx.models.evidence import LEAST, Evidence


@dataclass(frozen=True)
class Share:
    """One summand of a candidate's intensity.

    `kind`: "event" (a past triple of the subject with the candidate), "popularity" (others had the relation with the
    candidate), "structure" (what a structure beside the evidence says by itself), or "background" (what the evidence's
    embeddings say, and the small constant that everything has). Of an event:
    `relation` (ids from `num_relations` on are inverse: the candidate did it to the subject), `events`, how many there
    were, and `snapshot`, the last one; of popularity the last two.
    """

    kind: str
    share: float
    relation: int | None = None
    events: int | None = None
    snapshot: int | None = None


@dataclass(frozen=True)
class Explanation:
    """The forecast of one candidate: probability, intensity, and the shares, largest first, that add up to 1."""

    subject: int
    relation: int
    object: int
    snapshot: int
    probability: float
    intensity: float
    shares: tuple[Share, ...]

    def to_dict(self, graph: TemporalGraph) -> dict[str, Any]:
        """By name and date, JSON-compatible; the time of data without dates is a number, as it stands there."""
        entity = lambda number: graph.entity_names[number] if graph.entity_names else str(number)
        time = lambda number: None if number is None else _moment(graph, number)
        shares = [
            {"kind": share.kind, "share": share.share}
            | ({} if share.relation is None else self._event(graph, entity, share.relation))
            | ({} if share.events is None else {"events": share.events, "last": time(share.snapshot)})
            for share in self.shares
        ]
        subject, relation, object_ = self._event(graph, entity, self.relation).values()
        asked = "object" if self.relation < graph.num_relations else "subject"
        return {
            "time": time(self.snapshot),
            "subject": subject,
            "relation": relation,
            "object": object_,
            "asked_for": asked,
            "probability": self.probability,
            "intensity": self.intensity,
            "shares": shares,
        }

    def _event(self, graph: TemporalGraph, entity: Any, relation: int) -> dict[str, str]:
        """Who did what to whom: inverse relations turned round."""
        plain = relation % graph.num_relations
        name = graph.relation_names[plain] if graph.relation_names else str(plain)
        ends = (self.subject, self.object) if relation < graph.num_relations else (self.object, self.subject)
        return {"subject": entity(ends[0]), "relation": name, "object": entity(ends[1])}


def _moment(graph: TemporalGraph, snapshot: int) -> int | str:
    """When a snapshot was: ISO 8601 (UTC) for event tables, whose times count from 1970."""
    time, granularity = int(graph.times[snapshot]), graph.provenance.get("granularity")
    if graph.provenance.get("kind") != "parquet" or granularity not in GRANULARITIES:
        return time
    moment = datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=time * GRANULARITIES[granularity][0])
    return moment.date().isoformat() if granularity == "day" else moment.isoformat(timespec="minutes")


class Explainer:
    """Explains forecasts of one model on one graph; `index`: of the same graph, when it is there; `history_len`: of the
    structure that goes with the evidence."""

    def __init__(
        self,
        model: Evidence | Combined,
        graph: TemporalGraph,
        index: EvidenceIndex | None = None,
        *,
        history_len: int = 0,
    ):
        self.graph, self.index = graph, index or EvidenceIndex(graph)
        part: Any = model
        self.at: Callable[[int, int | None], Any] = lambda snapshot, before: model
        if isinstance(model, Combined):
            encoder = Encoder(model.structure, WindowLoader(graph, None, history_len=history_len))
            part, self.at = model.evidence, lambda snapshot, before: model.at(*encoder(snapshot, before))
        assert isinstance(part, Evidence)
        self.gatherer = Gatherer(self.index, **part.needs)

    def __call__(
        self, subject: int, relation: int, object: int | None, snapshot: int, before: int | None = None
    ) -> Explanation:
        """Why `object` answers (subject, relation, ?) at `snapshot`.

        **Arguments:** ids, `relation` with inverses; `object` None takes the most probable one; `snapshot`: number of
        the target; `before`: nothing from this snapshot on is known (None: all before `snapshot` is).

        **Raises:** DataError for an id that does not exist.
        """
        sizes = {"entity": self.index.entities, "relation": self.index.rel2, "snapshot": self.graph.num_snapshots}
        given = [("entity", subject), ("relation", relation), ("snapshot", snapshot)]
        for kind, number in given + ([("entity", object)] if object is not None else []):
            if not 0 <= number < sizes[kind]:
                raise DataError(f"{kind} {number} does not exist; numbers go from 0 to {sizes[kind] - 1}")
        one = lambda number: np.array([number], np.int64)
        known = self.index.known(snapshot, before)
        asked = Asked(one(subject), one(relation), one(object or 0))
        gathered = self.gatherer.gather(asked, known)
        batch = on_device(gathered, rounded_bucket(gathered))
        model = self.at(snapshot, before)
        intensity = np.asarray(model.entity_intensities(batch), np.float64)[0]
        chosen = int(intensity.argmax()) if object is None else object
        carried = np.asarray(model.entry_intensities(batch), np.float64)[0]
        mine = np.flatnonzero(gathered["partner_object"][gathered["entry_pair"]] == chosen)
        shares = []
        for entry in mine.tolist():
            q = int(gathered["entry_relation"][entry])
            row = self._row(self.index.triple, (subject * self.index.entities + chosen) * self.index.rel2 + q, known)
            shares.append(Share("event", carried[entry] / intensity[chosen], q, *row))
        popular = self._popularity(model, batch, gathered, chosen)
        if popular:
            row = self._row(self.index.popular, relation * self.index.entities + chosen, known)
            shares.append(Share("popularity", popular / intensity[chosen], None, *row))
        rest = intensity[chosen] - carried[mine].sum() - popular
        if isinstance(model, Informed):
            structure = float(np.asarray(model.structure_intensities(batch))[0, chosen])
            shares.append(Share("structure", structure / intensity[chosen]))
            rest -= structure
        shares.append(Share("background", max(rest, LEAST) / intensity[chosen]))
        return Explanation(
            subject,
            relation,
            chosen,
            snapshot,
            float(intensity[chosen] / intensity.sum()),
            float(intensity[chosen]),
            tuple(sorted(shares, key=lambda share: -share.share)),
        )

    def _row(self, index: Any, key: int, known: Any) -> tuple[int, int]:
        """(events so far, last snapshot) of a key that is known."""
        row = index.last(index.group(np.array([key])), known.before)
        return int(index.events[row[0]]), int(index.occurrence[row[0]] % self.graph.num_snapshots)

    def _popularity(self, model: Any, batch: Any, gathered: dict[str, np.ndarray], chosen: int) -> float:
        place = np.flatnonzero(gathered["popular_object"] == chosen)
        if len(place) == 0:
            return 0.0
        return float(np.asarray(model.popular_intensities(batch))[place[0]])
