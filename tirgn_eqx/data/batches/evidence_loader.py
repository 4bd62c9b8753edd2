"""The questions of one split with their evidence: a few padded shapes, order by seed and epoch, prefetch."""

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np

from tirgn_eqx.data.batches.buckets import group_loads, round_up
from tirgn_eqx.data.batches.evidence_queries import LENGTHS, MOST_LINKS, Asked, EvidenceBucket, Gatherer, on_device
from tirgn_eqx.data.batches.prefetch import prefetch
from tirgn_eqx.data.batches.queries import Candidates
from tirgn_eqx.data.graph import SPLITS, TemporalGraph, both_directions
from tirgn_eqx.data.index.evidence import EvidenceIndex
from tirgn_eqx.data.index.occurrences import find
from tirgn_eqx.types import EvidenceBatch

SIZES = tuple(LENGTHS)
# Cells and entries of one batch: beyond that a snapshot is asked in parts, however few its questions.
MOST_CELLS = 2**20


@dataclass(frozen=True)
class PreparedEvidence:
    """A batch with what the host keeps about it. `rows`: int64 `(answer,)`, the position of every answer, of either
    kind, among [facts, inverse facts] of the target; empty when equal answers were put together."""

    target: int
    bucket: int
    batch: EvidenceBatch
    num_facts: int
    rows: np.ndarray


class EvidenceLoader:
    """Builds the batches of one split's snapshots, whole ones or parts, each part with some of the subjects.

    **Arguments:** `graph`; `index`: of the same graph; `split`; `batch_size`: questions of a part, more only where a
    single subject has more (0 = all of a snapshot); `max_partners`: of a subject, those met last (0 = all);
    `context`, `background`: make the features that the model's settings of these names need; `max_buckets`: padded
    shapes; `known`: nothing from this snapshot on is known to any target (multi-step); `with_truth`: keep every
    answer for itself and ship the filter of evaluation; `candidates`: of a snapshot, (subject, relation, object) to be
    shipped as that filter instead of what is true; `seed`: of the order.

    Nothing at or after a target's time enters its batches except the questions' own answers and the filter.
    """

    def __init__(
        self,
        graph: TemporalGraph,
        index: EvidenceIndex,
        split: str,
        *,
        batch_size: int = 0,
        max_partners: int = 0,
        context: bool = True,
        background: bool = True,
        max_buckets: int = 3,
        known: int | None = None,
        with_truth: bool = False,
        candidates: Candidates | None = None,
        seed: int = 0,
    ):
        self.graph, self.index, self.split = graph, index, SPLITS.index(split)
        self.gatherer = Gatherer(index, max_partners, context, background)
        self.batch_size, self.known = batch_size, known
        self.with_truth, self.candidates, self.seed = with_truth, candidates, seed
        targets = graph.split_snapshots(split)
        self.snapshots = targets[targets > 0]
        # A part: (target, its subjects); known by its number.
        self.parts: list[tuple[int, np.ndarray]] = []
        loads = []
        for target in self.snapshots.tolist():
            for subjects, sizes in self._divide(target):
                self.parts.append((target, subjects))
                loads.append(sizes)
        self.targets = np.arange(len(self.parts))
        self.buckets, self.bucket_of = self._plan(np.array(loads), max_buckets)

    # --- parts and shapes --------------------------------------------------------------------------------------

    def _facts(self, target: int) -> np.ndarray:
        """Rows of the split's facts at `target`."""
        rows = np.arange(*self.graph.offsets[target : target + 2].tolist())
        return rows[self.graph.split[rows] == self.split]

    def _all_facts(self, target: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """int64 (subject, relation, object) of all that is true at `target`, in both directions, or of `candidates`."""
        if self.candidates is not None:
            return self.candidates(target)
        return both_directions(self.graph, slice(*self.graph.offsets[target : target + 2].tolist()))

    def _divide(self, target: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """The parts of a snapshot: subjects, and the sizes that asking about them takes (some a little too large)."""
        index, known = self.index, self.index.known(target, self.known)
        s, q, o = both_directions(self.graph, self._facts(target))
        subjects, owner = np.unique(s, return_inverse=True)
        per_subject = lambda values, weights=None: np.bincount(values, weights, len(subjects)).astype(np.int64)
        units = np.unique(owner * index.rel2 + q)
        unit_owner, unit_relation = units // index.rel2, units % index.rel2
        partners = index.partners(subjects, known, self.gatherer.max_partners)
        number = per_subject(partners.owner)
        entries = per_subject(partners.owner[partners.entry_neighbour])
        exact = index.num_objects(subjects[unit_owner], unit_relation, known)
        pair_units = np.unique(owner * index.entities + o)
        met = find(
            subjects[partners.owner] * index.entities + index.pair_object[partners.pair],
            subjects[pair_units // index.entities] * index.entities + pair_units % index.entities,
        )
        asked = np.where(met >= 0, np.bincount(partners.entry_neighbour, minlength=len(partners.pair) + 1)[met], 0)
        questions, cells = per_subject(owner), per_subject(unit_owner) * number
        all_subjects = self._all_facts(target)[0] if self.with_truth else np.zeros(0, np.int64)
        part = _parts(questions, np.maximum(cells, entries), self.batch_size)
        out = []
        for place in range(part[-1] + 1 if len(part) else 0):
            mine = part == place
            kinds = np.unique(unit_relation[mine[unit_owner]])
            own = int(questions[mine].sum())
            true = int(np.isin(all_subjects, subjects[mine]).sum())
            pair_mine = mine[pair_units // index.entities]
            sizes = {
                "unit": int(mine[unit_owner].sum()),
                "answer": own,
                "true": true,
                "partner": int(number[mine].sum()),
                "entry": int(entries[mine].sum()),
                "cell": int(cells[mine].sum()),
                "exact": int(exact[mine[unit_owner]].sum()),
                "kind": len(kinds),
                "popular": index.num_popular(kinds, known),
                "link": min(index.num_links(known), MOST_LINKS) if self.gatherer.background else 0,
                "pair_unit": int(pair_mine.sum()),
                "pair_answer": own,
                "pair_true": true,
                "asked": int(asked[pair_mine].sum()),
            }
            out.append((subjects[mine], np.array([sizes[name] for name in SIZES])))
        return out

    def _plan(self, loads: np.ndarray, max_buckets: int) -> tuple[list[EvidenceBucket], np.ndarray]:
        if len(loads) == 0:
            return [], np.zeros(0, np.int64)
        work = loads[:, SIZES.index("cell")] + loads[:, SIZES.index("entry")] + loads[:, SIZES.index("unit")]
        groups = group_loads(work, min(max_buckets, len(work)))
        largest = lambda rows: tuple(round_up(size) for size in rows.max(0).tolist())
        buckets = [EvidenceBucket(largest(loads[groups == number])) for number in range(groups.max() + 1)]
        distinct = list(dict.fromkeys(buckets))
        return distinct, np.array([distinct.index(buckets[group]) for group in groups])

    @property
    def most_questions(self) -> int:
        """Questions of the largest part."""
        return max((bucket["answer"] for bucket in self.buckets), default=0)

    # --- batches -----------------------------------------------------------------------------------------------

    def build(self, number: int) -> PreparedEvidence:
        """The batch of part `number`."""
        target, subjects = self.parts[number]
        place = int(self.bucket_of[number])
        bucket = self.buckets[place]
        known = self.index.known(target, self.known)
        facts = self._facts(target)
        s, q, o = both_directions(self.graph, facts)
        rows = np.flatnonzero(np.isin(s, subjects))
        truth = Asked(*self._all_facts(target)) if self.with_truth else None
        gathered = self.gatherer.gather(Asked(s[rows], q[rows], o[rows]), known, truth)
        own = rows if self.with_truth else np.zeros(0, np.int64)
        return PreparedEvidence(target, place, on_device(gathered, bucket), (len(rows) + 1) // 2, own)

    # --- order -------------------------------------------------------------------------------------------------

    def order(self, epoch: int) -> np.ndarray:
        """The parts in the order of `epoch`, a function of the seed and the epoch alone."""
        return np.random.default_rng((self.seed, epoch)).permutation(self.targets)

    def __len__(self) -> int:
        return len(self.parts)

    def epoch(self, epoch: int, start: int = 0) -> Generator[PreparedEvidence, None, None]:
        """Every part once, shuffled, built ahead in a thread; the first `start` of them left out."""
        return prefetch(self.build, self.order(epoch)[start:].tolist())

    def one_of_each(self) -> Generator[PreparedEvidence, None, None]:
        """A batch of every bucket, that with the most cells first."""
        cells = [bucket["cell"] for bucket in self.buckets]
        for number in np.argsort(cells)[::-1].tolist():
            yield self.build(int(np.flatnonzero(self.bucket_of == number)[0]))

    def in_order(self) -> Generator[PreparedEvidence, None, None]:
        """Every part once, in time order, built ahead in a thread."""
        return prefetch(self.build, self.targets.tolist())


def _parts(questions: np.ndarray, cells: np.ndarray, batch_size: int) -> np.ndarray:
    """int64 `(subject,)`: which part of the snapshot each subject goes to; parts are runs of subjects."""
    part = np.zeros(len(questions), np.int64)
    number = asked = filled = 0
    for place, (some, more) in enumerate(zip(questions.tolist(), cells.tolist())):
        full = (batch_size and asked + some > batch_size) or filled + more > MOST_CELLS
        if asked and full:
            number, asked, filled = number + 1, 0, 0
        part[place] = number
        asked, filled = asked + some, filled + more
    return part
