"""Batches of evidence models: the queries about a snapshot, or about some of its subjects, with their evidence."""

from collections.abc import Container
from dataclasses import dataclass

import numpy as np

from tirgn_eqx.data.batches.buckets import group_loads, round_up
from tirgn_eqx.data.batches.evidence_queries import AXES, MAX_LINKS, EvidenceBucket, Gatherer, QueryFacts, build_batch
from tirgn_eqx.data.batches.loader import KINDS, Loader, LoaderOptions, Prepared
from tirgn_eqx.data.graph import TemporalGraph, both_directions
from tirgn_eqx.data.index.evidence import EvidenceIndex
from tirgn_eqx.data.index.occurrences import find
from tirgn_eqx.types import EvidenceBatch

# Cells and entries of one batch. A snapshot with more is divided, however few its queries.
MAX_CELLS = 2**20


@dataclass(frozen=True, kw_only=True)
class EvidenceOptions(LoaderOptions):
    """How an evidence loader builds its batches; `max_partners`, `context`, `background`: see `Gatherer`. A single
    subject may have more than `batch_size` queries."""

    max_partners: int = 0
    context: bool = True
    background: bool = True


class EvidenceLoader(Loader[EvidenceBatch, EvidenceOptions, EvidenceBucket]):
    """Builds the batches of one split's snapshots, whole snapshots or parts with some of the subjects each.

    `parts` are (target, subjects); `items` are their positions. Without `with_truth`, equal answers are merged and
    `Prepared.rows` is empty.

    **Arguments:** `index`: of the same graph.
    """

    def __init__(self, graph: TemporalGraph, index: EvidenceIndex, split: str, options: EvidenceOptions):
        super().__init__(graph, split, options)
        self.index = index
        self.gatherer = Gatherer(index, options.max_partners, options.context, options.background)
        self.parts: list[tuple[int, np.ndarray]] = []
        sizes: list[dict[str, int]] = []
        for target in self.snapshots.tolist():
            for subjects, of_part in self._divide(target):
                self.parts.append((target, subjects))
                sizes.append(of_part)
        self.items = np.arange(len(self.parts))
        if not sizes:
            return self.set_buckets([], self.items)
        work = np.array([of_part["cell"] + of_part["entry"] + of_part["query"] for of_part in sizes])
        group = group_loads(work, min(options.max_buckets, len(work)))
        table = np.array([[of_part[axis] for axis in AXES] for of_part in sizes])
        largest = [table[group == number].max(0).tolist() for number in range(group.max() + 1)]
        self.set_buckets([EvidenceBucket(tuple(map(round_up, of_group))) for of_group in largest], group)

    def padded_work(self, bucket: EvidenceBucket) -> int:
        """The padded number of cells."""
        return bucket["cell"]

    @property
    def max_queries(self) -> int:
        """Padded queries of the largest part, counting one per fact and direction."""
        return max((bucket["answer"] for bucket in self.buckets), default=0)

    def _truth(self, target: int) -> QueryFacts:
        """All that is true at `target`, in both directions, or the `candidates` in its place."""
        if self.options.candidates is not None:
            return QueryFacts(*self.options.candidates(target))
        rows = slice(*self.graph.offsets[target : target + 2].tolist())
        return QueryFacts(*both_directions(self.graph, rows))

    def _divide(self, target: int) -> list[tuple[np.ndarray, dict[str, int]]]:
        """The parts of a snapshot: subjects, and the size of every axis (of some an upper bound)."""
        index, cutoff = self.index, self.index.cutoff(target, self.options.history_end)
        s, q, o = both_directions(self.graph, self.split_facts(target))
        subjects, owner = np.unique(s, return_inverse=True)

        def per_subject(owners: np.ndarray) -> np.ndarray:
            return np.bincount(owners, minlength=len(subjects))

        found = index.neighbours(subjects, cutoff, self.options.max_partners)
        neighbours, entries = per_subject(found.owner), per_subject(found.owner[found.entry_neighbour])
        query_owner, query_relation = np.divmod(np.unique(owner * index.rel2 + q), index.rel2)
        exact = index.num_objects(subjects[query_owner], query_relation, cutoff)
        facts, cells = per_subject(owner), per_subject(query_owner) * neighbours
        # Entries of every relation query (s, o), for which the neighbour is looked up; 0 where there is none.
        pair_owner, pair_object = np.divmod(np.unique(owner * index.entities + o), index.entities)
        met = find(
            subjects[found.owner] * index.entities + index.pair_object[found.pair],
            subjects[pair_owner] * index.entities + pair_object,
        )
        # One count more than there are neighbours, so that index -1 exists even where nobody has a neighbour.
        evidence = np.where(met >= 0, np.bincount(found.entry_neighbour, minlength=len(found.pair) + 1)[met], 0)
        true_subjects = self._truth(target).subject if self.options.with_truth else np.zeros(0, np.int64)
        links = min(index.num_links(cutoff), MAX_LINKS) if self.options.background else 0
        part_of = divide_subjects(facts, np.maximum(cells, entries), self.options.batch_size)
        parts = []
        for part in range(part_of.max(initial=-1) + 1):
            own = part_of == part
            own_queries, own_pairs = own[query_owner], own[pair_owner]
            groups = np.unique(query_relation[own_queries])
            # Upper bounds: equal answers may be merged, and a true fact may have a relation that is not queried.
            answers, true = int(facts[own].sum()), int(np.isin(true_subjects, subjects[own]).sum())
            sizes = {
                "query": int(own_queries.sum()),
                "answer": answers,
                "true": true,
                "neighbour": int(neighbours[own].sum()),
                "entry": int(entries[own].sum()),
                "cell": int(cells[own].sum()),
                "exact": int(exact[own_queries].sum()),
                "group": len(groups),
                "popular": index.num_popular(groups, cutoff),
                "link": links,
                "relation_query": int(own_pairs.sum()),
                "relation_answer": answers,
                "relation_true": true,
                "evidence": int(evidence[own_pairs].sum()),
            }
            parts.append((subjects[own], sizes))
        return parts

    def gather(self, item: int, *, kinds: Container[str] = KINDS) -> tuple[int, np.ndarray, dict[str, np.ndarray]]:
        """The target of part `item`, the rows of its facts among [facts, inverse facts], and the arrays of its batch
        before they are padded; `kinds`: of the queries."""
        target, subjects = self.parts[item]
        cutoff = self.index.cutoff(target, self.options.history_end)
        s, q, o = both_directions(self.graph, self.split_facts(target))
        rows = np.flatnonzero(np.isin(s, subjects))
        truth = self._truth(target) if self.options.with_truth else None
        return target, rows, self.gatherer.gather(QueryFacts(s[rows], q[rows], o[rows]), cutoff, truth, kinds=kinds)

    def build(self, item: int, epoch: int = 0) -> Prepared[EvidenceBatch]:
        """The batch of part `item`; nothing in it depends on `epoch`."""
        target, rows, gathered = self.gather(item)
        batch = build_batch(gathered, self.buckets[self.bucket_of[item]])
        # Without the truth, merged answers stand for several facts, and no row belongs to one.
        answer_rows = rows if self.options.with_truth else rows[:0]
        # A fact has two queries, which may lie in different parts, so that a part can have an odd number of them.
        return Prepared(
            target, self.bucket_of[item], batch, (len(rows) + 1) // 2, {kind: answer_rows for kind in KINDS}
        )


def divide_subjects(facts: np.ndarray, cells: np.ndarray, batch_size: int) -> np.ndarray:
    """int64 `(subject,)`: the part that each subject goes to; parts are runs of subjects.

    **Arguments:** `facts`, `cells`: int64 `(subject,)`, what each subject adds to a part; a part has at most
    `batch_size` facts (0 = any number) and `MAX_CELLS` cells, or a single subject.
    """
    part_of = np.zeros(len(facts), np.int64)
    part = part_facts = part_cells = 0
    for place, (some, more) in enumerate(zip(facts.tolist(), cells.tolist())):
        full = (batch_size and part_facts + some > batch_size) or part_cells + more > MAX_CELLS
        if part_facts and full:
            part, part_facts, part_cells = part + 1, 0, 0
        part_of[place] = part
        part_facts, part_cells = part_facts + some, part_cells + more
    return part_of
