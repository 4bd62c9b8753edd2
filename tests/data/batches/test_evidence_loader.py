"""Parts of snapshots and their padded shapes."""

import numpy as np
import pytest

from tests.helpers import both_directions, make_graph, random_graph
from tirgn_eqx.data.batches.evidence_loader import MAX_CELLS, EvidenceLoader, EvidenceOptions, divide_subjects
from tirgn_eqx.data.batches.evidence_queries import AXES, Gatherer, QueryFacts
from tirgn_eqx.data.index.evidence import EvidenceIndex


@pytest.mark.parametrize("batch_size", [0, 1, 5, 100])
@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_parts_hold_every_query_once_and_fit_their_shape(batch_size, split):
    graph = random_graph(5, num_entities=12, facts=9)
    index = EvidenceIndex(graph)
    loader = EvidenceLoader(graph, index, split, EvidenceOptions(batch_size=batch_size, with_truth=True, max_buckets=2))
    found: dict[int, list[int]] = {}
    for part, prepared in enumerate(loader.in_order()):
        found.setdefault(prepared.target, []).extend(prepared.rows["entity"].tolist())
        answers = int(prepared.batch.entity.answers.answer_weight.sum())
        assert answers == len(prepared.rows["entity"]) == int(prepared.batch.relation.answers.answer_weight.sum())
        assert not batch_size or answers <= batch_size or len(loader.parts[part][1]) == 1
    for target, rows in found.items():
        here = slice(*graph.offsets[target : target + 2].tolist())
        number = 2 * int(graph.split_mask(split)[here].sum())
        assert sorted(rows) == list(range(number))
    assert sorted(found) == [t for t in graph.split_snapshots(split).tolist() if t > 0]
    assert sum(len(rows) for rows in found.values()) > 0


@pytest.mark.parametrize("most", [0, 2])
def test_the_planned_sizes_are_never_too_small(most):
    graph = random_graph(11, num_entities=9, num_relations=2, num_times=12, facts=12)
    index = EvidenceIndex(graph)
    for split in ("train", "test"):
        loader = EvidenceLoader(
            graph, index, split, EvidenceOptions(batch_size=7, max_partners=most, with_truth=split == "test")
        )
        for number in loader.items.tolist():
            bucket = loader.buckets[loader.bucket_of[number]]
            target, subjects = loader.parts[number]
            here = np.arange(*graph.offsets[target : target + 2].tolist())

            def facts_of(rows):
                return QueryFacts(*(np.array(column) for column in list(zip(*both_directions(graph, rows)))[:3]))

            mine, truth = facts_of(here[graph.split_mask(split)[here]]), facts_of(here)
            chosen = np.isin(mine.subject, subjects)
            asked = QueryFacts(mine.subject[chosen], mine.relation[chosen], mine.object[chosen])
            gathered = Gatherer(index, most).gather(asked, index.cutoff(target), truth if split == "test" else None)
            for name, arrays in AXES.items():
                assert len({len(gathered[array]) for array in arrays}) == 1
                assert len(gathered[arrays[0]]) <= bucket[name], name
            loader.build(number)


def test_a_part_ends_before_it_holds_too_many_queries_or_cells():
    assert divide_subjects(np.array([3, 3, 3, 9, 1]), np.zeros(5, int), 6).tolist() == [0, 0, 1, 2, 3]
    assert divide_subjects(np.array([1, 1, 1]), np.array([MAX_CELLS, 1, 1]), 0).tolist() == [0, 1, 1]
    assert divide_subjects(np.array([1, 1]), np.zeros(2, int), 0).tolist() == [0, 0]


def test_equal_answers_are_merged_with_their_number():
    facts = [(0, 0, 1, 0), (0, 0, 1, 1), (0, 0, 1, 1), (0, 0, 2, 1)]
    graph = make_graph(facts, num_entities=3, num_relations=1)
    loader = EvidenceLoader(graph, EvidenceIndex(graph), "train", EvidenceOptions())
    batch = loader.build(0).batch
    for kind, number in ((batch.entity, 3), (batch.relation, 4)):
        weight = np.asarray(kind.answers.answer_weight)
        assert weight.sum() == 6 and sorted(weight[weight > 0].tolist()) == [1, 1, 2, 2]
        assert len(set(np.asarray(kind.answers.answer_query)[weight > 0].tolist())) == number
