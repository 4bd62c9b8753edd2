"""Why a candidate was forecast: the past events that make up its intensity, with their exact shares.

`Explainer` explains queries by id on a graph; `Forecaster` calls `explain_candidate` for forecasts by name.
"""
# JAX's own annotations are partial.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from typing import Literal, NamedTuple, TypedDict

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from pydantic import Field

from tirgn_eqx.data.batches.evidence_queries import Gatherer, QueryFacts, build_batch, rounded_bucket
from tirgn_eqx.data.batches.windows import WindowLoader
from tirgn_eqx.data.graph import TemporalGraph
from tirgn_eqx.data.index.evidence import Cutoff, EvidenceIndex
from tirgn_eqx.data.index.occurrences import Occurrences
from tirgn_eqx.data.times import format_snapshot_time
from tirgn_eqx.errors import DataError
from tirgn_eqx.evaluate.compare import relation_name
from tirgn_eqx.evaluate.encoding import model_at
from tirgn_eqx.evaluate.results import Document
from tirgn_eqx.models import Mixture, MixtureAtTarget
from tirgn_eqx.models.entries import expand_entries
from tirgn_eqx.models.evidence import MIN_INTENSITY, Evidence
from tirgn_eqx.runtime.compiling import CompileCache
from tirgn_eqx.types import EvidenceBatch


class Share(Document):
    """One summand of a candidate's intensity, as a share of it.

    - `kind`: "event" (a past triple of the subject with the candidate), "popularity" (others had the relation with the
      candidate), "structure" (what the graph model of a mixture gives by itself) or "background" (what the embeddings
      of the evidence model give, and the small constant that every candidate has).
    - `subject`, `relation`, `object`: of an event, who did what to whom.
    - `events`, `last`: of an event or of popularity, how often it happened and when last.
    - `relation_id`, `snapshot`: the relation, inverse ones included, and the last snapshot by number; not in the JSON.
    """

    kind: Literal["event", "popularity", "structure", "background"]
    share: float
    subject: str | None = None
    relation: str | None = None
    object: str | None = None
    events: int | None = None
    last: int | str | None = None
    relation_id: int | None = Field(default=None, exclude=True)
    snapshot: int | None = Field(default=None, exclude=True)


class Explanation(Document):
    """The forecast of one candidate, by name: its probability, its intensity, and the shares of the intensity, largest
    first, which sum to 1.

    - `predicted`: "subject" or "object", the part that the query leaves open and the candidate fills.
    - `candidate`: its id; not in the JSON.
    """

    time: int | str
    subject: str
    relation: str
    object: str
    predicted: Literal["subject", "object"]
    probability: float
    intensity: float
    shares: list[Share]
    candidate: int = Field(..., exclude=True)


class IntensityParts(NamedTuple):
    """The intensity of every candidate of one entity query, and what entries, popularity and, in a mixture, the
    structure contribute to it."""

    intensity: Float[Array | np.ndarray, " entity"]
    entry: Float[Array | np.ndarray, " entry"]
    popular: Float[Array | np.ndarray, " popular"]
    structure: Float[Array | np.ndarray, " entity"]


class PastEvents(TypedDict):
    """The fields of a `Share` that say how often something happened, and when last."""

    events: int
    last: int | str
    snapshot: int


def intensity_parts(model: Evidence | MixtureAtTarget, batch: EvidenceBatch) -> IntensityParts:
    """The parts of the first query of `batch`."""
    intensity = model.entity_intensities(batch)[0]
    # Without a structure its intensity is 0 everywhere, and `explain_candidate` lists no share of it.
    structure = (
        model.structure_intensities(batch)[0] if isinstance(model, MixtureAtTarget) else jnp.zeros_like(intensity)
    )
    factors = model.entry_factors(batch)
    entry, popular = expand_entries(factors, batch)[0], factors.popular * factors.scale[0]
    return IntensityParts(intensity, entry, popular, structure)


def explain_candidate(
    index: EvidenceIndex,
    cutoff: Cutoff,
    fact: tuple[int, int, int],
    snapshot: int,
    parts: IntensityParts,
    gathered: dict[str, np.ndarray],
) -> Explanation:
    """Explain one candidate of an entity query.

    **Arguments:** `cutoff`: where the history of the target `snapshot` ends; `fact`: (subject, relation, candidate) by
    id; `parts`: of the query, float64; `gathered`: the evidence for it, as `Gatherer` returns it.
    """
    graph, (subject, relation, candidate) = index.graph, fact
    intensity = float(parts.intensity[candidate])

    def names(relation: int) -> dict[str, str]:
        """Who does what to whom; inverse relations are turned round."""
        ends = [graph.entity_names[e] if graph.entity_names else str(e) for e in (subject, candidate)]
        first, second = ends if relation < graph.num_relations else ends[::-1]
        return {"subject": first, "relation": relation_name(graph, relation % graph.num_relations), "object": second}

    def past(occurrences: Occurrences, key: int) -> PastEvents:
        # The key was gathered from the history, so there is a last occurrence.
        row = occurrences.last(occurrences.group(np.array([key])), cutoff.before)[0]
        last = int(occurrences.occurrence[row] % len(index.clock))
        return {"events": int(occurrences.events[row]), "last": format_snapshot_time(graph, last), "snapshot": last}

    # The evidence was gathered for one query, so that every neighbour is one of its subject.
    entries = np.flatnonzero(gathered["neighbour_object"][gathered["entry_neighbour"]] == candidate)
    shares: list[Share] = []
    for entry in entries.tolist():
        q, share = int(gathered["entry_relation"][entry]), float(parts.entry[entry] / intensity)
        # The keys of both indexes are composed as `EvidenceIndex` says.
        found = past(index.triple, (subject * index.entities + candidate) * index.rel2 + q)
        shares.append(Share(kind="event", share=share, relation_id=q, **names(q), **found))
    place = np.flatnonzero(gathered["popular_object"] == candidate)
    popular = float(parts.popular[place[0]]) if len(place) else 0.0
    if popular:
        found = past(index.popular, relation * index.entities + candidate)
        shares.append(Share(kind="popularity", share=popular / intensity, **found))
    structure = float(parts.structure[candidate])
    if structure:
        shares.append(Share(kind="structure", share=structure / intensity))
    # A difference of f32 numbers, which rounding may bring to 0 or below, although every candidate has a background.
    rest = intensity - float(parts.entry[entries].sum()) - popular - structure
    shares.append(Share(kind="background", share=max(rest, MIN_INTENSITY * intensity) / intensity))
    return Explanation(
        time=format_snapshot_time(graph, snapshot),
        **names(relation),
        predicted="object" if relation < graph.num_relations else "subject",
        probability=intensity / float(parts.intensity.sum()),
        intensity=intensity,
        shares=sorted(shares, key=lambda share: -share.share),
        candidate=candidate,
    )


class Explainer:
    """Explains forecasts of one evidence model or mixture on one graph.

    **Arguments:** `index`: of the same graph, built here unless given; `history_len`: of the structure in a mixture, as
    trained.

    **Example:**

        explain = Explainer(model, graph, history_len=config.history_len)
        print(explain(subject, relation, None, snapshot=300).to_dict())
    """

    def __init__(
        self,
        model: Evidence | Mixture,
        graph: TemporalGraph,
        index: EvidenceIndex | None = None,
        *,
        history_len: int = 0,
    ):
        self.graph, self.index = graph, index or EvidenceIndex(graph)
        mixture = isinstance(model, Mixture)
        self._model_at = model_at(model, WindowLoader(graph, None, history_len=history_len) if mixture else None)
        options = (model.evidence if mixture else model).loader_options
        self._gatherer = Gatherer(self.index, **options)
        self._parts = CompileCache(intensity_parts)

    def __call__(
        self, subject: int, relation: int, object: int | None, snapshot: int, history_end: int | None = None
    ) -> Explanation:
        """Explain why `object` answers (subject, relation, ?) at `snapshot`.

        **Arguments:** ids, `relation` up to twice `num_relations`; `object` None takes the most probable candidate;
        `snapshot`: number of the target; `history_end`: the snapshot before which the history ends (None: `snapshot`).

        **Raises:** DataError for an id that does not exist.
        """
        sizes = {"entity": self.index.entities, "relation": self.index.rel2, "snapshot": self.graph.num_snapshots}
        ids = [("entity", subject), ("relation", relation), ("snapshot", snapshot)]
        for kind, number in ids + ([("entity", object)] if object is not None else []):
            if not 0 <= number < sizes[kind]:
                raise DataError(f"{kind} {number} does not exist; numbers go from 0 to {sizes[kind] - 1}")
        cutoff = self.index.cutoff(snapshot, history_end)
        # Intensities do not read the answer that the object becomes, so entity 0 may stand in for None.
        query = (np.array([number], np.int64) for number in (subject, relation, object or 0))
        gathered = self._gatherer.gather(QueryFacts(*query), cutoff)
        # Sizes rounded to powers of two, so that many single queries share a few compiled shapes.
        bucket = rounded_bucket(gathered)
        found = self._parts(bucket, self._model_at(snapshot, history_end), build_batch(gathered, bucket))
        # Shares are ratios and differences of the parts, so they are computed in float64.
        parts = IntensityParts(*(np.asarray(x, np.float64) for x in found))
        candidate = int(parts.intensity.argmax()) if object is None else object
        return explain_candidate(self.index, cutoff, (subject, relation, candidate), snapshot, parts, gathered)
