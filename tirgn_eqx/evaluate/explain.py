"""Why a candidate was forecast: the past events that carry its intensity, with their exact shares."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from tirgn_eqx.data.batches.evidence_queries import Asked, Gatherer, on_device, rounded_bucket
from tirgn_eqx.data.batches.windows import WindowLoader
from tirgn_eqx.data.graph import TemporalGraph
from tirgn_eqx.data.index.evidence import EvidenceIndex, Known
from tirgn_eqx.data.index.occurrences import Occurrences
from tirgn_eqx.data.snapshot_time import moment
from tirgn_eqx.errors import DataError
from tirgn_eqx.evaluate.encoding import Encoder
from tirgn_eqx.models import Mixture, MixtureAtTarget
from tirgn_eqx.models.evidence import MIN_INTENSITY, Evidence
from tirgn_eqx.runtime.compiling import Programs
from tirgn_eqx.types import EvidenceBatch


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
        time = lambda number: None if number is None else moment(graph, number)
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


class Carried(NamedTuple):
    """What carries the candidates of one entity question: their intensities, and how much of them entries, popularity
    and (where there is one) the structure give."""

    intensity: Float[Array | np.ndarray, " entity"]
    entry: Float[Array | np.ndarray, " entry"]
    popular: Float[Array | np.ndarray, " popular"]
    structure: Float[Array | np.ndarray, " entity"]


def carried(model: Evidence | MixtureAtTarget, batch: EvidenceBatch) -> Carried:
    """Of the first unit of `batch`."""
    intensity = model.entity_intensities(batch)[0]
    structure = (
        model.structure_intensities(batch)[0] if isinstance(model, MixtureAtTarget) else jnp.zeros_like(intensity)
    )
    return Carried(intensity, model.entry_intensities(batch)[0], model.popular_intensities(batch), structure)


def explained(
    index: EvidenceIndex,
    known: Known,
    asked: tuple[int, int, int],
    snapshot: int,
    found: Carried,
    gathered: dict[str, np.ndarray],
) -> Explanation:
    """Why the candidate was forecast. **Arguments:** `asked`: (subject, relation, candidate); `snapshot`: the target;
    `found`, `gathered`: of the question, as NumPy arrays."""
    subject, relation, chosen = asked
    intensity = float(found.intensity[chosen])

    def occurrence(occurrences: Occurrences, key: int) -> tuple[int, int]:
        """(events so far, last snapshot) of a key that is known."""
        row = occurrences.last(occurrences.group(np.array([key])), known.before)
        return int(occurrences.events[row[0]]), int(occurrences.occurrence[row[0]] % len(index.clock))

    mine = np.flatnonzero(gathered["partner_object"][gathered["entry_neighbour"]] == chosen)
    shares = []
    for entry in mine.tolist():
        q = int(gathered["entry_relation"][entry])
        last = occurrence(index.triple, (subject * index.entities + chosen) * index.rel2 + q)
        shares.append(Share("event", float(found.entry[entry] / intensity), q, *last))
    place = np.flatnonzero(gathered["popular_object"] == chosen)
    popular = float(found.popular[place[0]]) if len(place) else 0.0
    if popular:
        last = occurrence(index.popular, relation * index.entities + chosen)
        shares.append(Share("popularity", popular / intensity, None, *last))
    structure = float(found.structure[chosen])
    if structure:
        shares.append(Share("structure", structure / intensity))
    rest = intensity - float(found.entry[mine].sum()) - popular - structure
    shares.append(Share("background", max(rest, MIN_INTENSITY * intensity) / intensity))
    return Explanation(
        *asked,
        snapshot,
        intensity / float(found.intensity.sum()),
        intensity,
        tuple(sorted(shares, key=lambda share: -share.share)),
    )


class Explainer:
    """Explains forecasts of one model on one graph; `index`: of the same graph, when it is there; `history_len`: of the
    structure that goes with the evidence."""

    def __init__(
        self,
        model: Evidence | Mixture,
        graph: TemporalGraph,
        index: EvidenceIndex | None = None,
        *,
        history_len: int = 0,
    ):
        self.graph, self.index = graph, index or EvidenceIndex(graph)
        part: Any = model
        self.at: Callable[[int, int | None], Any] = lambda snapshot, before: model
        if isinstance(model, Mixture):
            encoder = Encoder(model.structure, WindowLoader(graph, None, history_len=history_len))
            part, self.at = model.evidence, lambda snapshot, before: model.at(*encoder(snapshot, before))
        assert isinstance(part, Evidence)
        self.gatherer = Gatherer(self.index, **part.loader_options)
        self._programs = Programs(carried)

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
        gathered = self.gatherer.gather(Asked(one(subject), one(relation), one(object or 0)), known)
        bucket = rounded_bucket(gathered)
        found = self._programs(bucket, self.at(snapshot, before), on_device(gathered, bucket))
        found = Carried(*(np.asarray(x, np.float64) for x in found))
        chosen = int(found.intensity.argmax()) if object is None else object
        return explained(self.index, known, (subject, relation, chosen), snapshot, found, gathered)
