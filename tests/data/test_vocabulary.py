"""A graph gets the ids of a checkpoint by name: in any order, with more names, fewer, none, or two of the same."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers import make_graph, renumbered
from tirgn_eqx.data.graph import StaticGraph
from tirgn_eqx.data.vocabulary import for_checkpoint, for_checkpoints, reordered, vocabulary
from tirgn_eqx.errors import DataError, DataWarning

ENTITIES = ("RUSSIA", "Iran", "IRAN", "iran ", "CHINA", "POLICE", "É", "E\N{COMBINING ACUTE ACCENT}")
RELATIONS = ("meet", "Meet", "fight")
COLUMNS = ("subject", "relation", "object", "snapshot", "split", "times")


def named_graph(**fields):
    """A graph of 12 times in which every id occurs, with names and a static graph."""
    rng = np.random.default_rng(0)
    facts = [
        (int(s), int(rng.integers(3)), int(rng.integers(8)), 5 + 2 * t) for t in range(12) for s in rng.permutation(8)
    ]
    static = StaticGraph(
        np.arange(8, dtype=np.int32), np.zeros(8, np.int32), np.arange(8, dtype=np.int32)[::-1] // 2, 1, 4
    )
    fields = {"entity_names": ENTITIES, "relation_names": RELATIONS, "static": static} | fields
    return make_graph(facts, num_entities=8, num_relations=3, valid=72, test=84, time_interval=2, **fields)


def described(graph):
    """What a checkpoint of `graph` says of its data."""
    data = graph.describe() | {"time_interval": graph.time_interval, "clock_origin": graph.clock_origin}
    return vocabulary(graph) | {"data": data}


def by_name(graph):
    """Facts as names and times, in order."""
    entity, relation = graph.entity_names, graph.relation_names
    columns = (graph.subject.tolist(), graph.relation.tolist(), graph.object.tolist(), graph.snapshot.tolist())
    return [(entity[s], relation[r], entity[o], int(graph.times[t])) for s, r, o, t in zip(*columns)]


@given(st.permutations(range(8)), st.permutations(range(3)))
def test_another_order_of_ids_is_the_very_same_graph(entities, relations):
    graph = named_graph()
    other = renumbered(graph, entities, relations)
    found = for_checkpoint(other, described(graph))
    for name in COLUMNS:
        np.testing.assert_array_equal(getattr(found, name), getattr(graph, name))
    np.testing.assert_array_equal(found.static.entity, graph.static.entity)
    np.testing.assert_array_equal(found.static.word, graph.static.word)
    assert found.checksum == graph.checksum and found.entity_names == ENTITIES and found.left_out == (0, 0, 0)
    assert reordered(other, described(graph)).checksum == graph.checksum


@settings(max_examples=60)
@given(st.sets(st.sampled_from(ENTITIES), min_size=2), st.sets(st.sampled_from(RELATIONS), min_size=1), st.randoms())
def test_facts_with_names_that_are_lacking_are_left_out_and_counted(entities, relations, random):
    graph = named_graph()
    # The checkpoint knows some of the names, in any order, and others that the data lack.
    known = [sorted({*some, *more}) for some, more in ((entities, "XY"), (relations, "Z"))]
    for names in known:
        random.shuffle(names)
    metadata = {"entities": known[0], "relations": known[1]}
    expected = [f for f in by_name(graph) if {f[0], f[2]} <= entities and f[1] in relations]
    kept = [fact in expected for fact in by_name(graph)]
    left_out = tuple(int((graph.split[~np.array(kept)] == split).sum()) for split in range(3))
    if not expected:
        with pytest.raises(DataError, match="no fact is left, each has a name that the checkpoint does not know"):
            for_checkpoint(graph, metadata)
        return
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        found = for_checkpoint(graph, metadata)
    assert by_name(found) == expected and found.left_out == left_out
    assert (found.num_entities, found.num_relations) == (len(known[0]), len(known[1]))
    assert found.split.tolist() == graph.split[kept].tolist() and len(found.times) == found.snapshot[-1] + 1
    assert {found.entity_names[i] for i in found.static.entity} == entities
    assert len(told) == any(left_out)
    if any(left_out):
        assert f"{sum(left_out):,} of 96 facts" in str(told[0].message)
        assert found.describe()["left_out"] == dict(zip(("train", "valid", "test"), left_out))


def test_what_is_said_of_lacking_names():
    graph = named_graph(entity_names=("PERSIA", *ENTITIES[1:]))
    metadata = described(named_graph()) | {"relations": ["meet", "MEET", "fight"]}
    with pytest.warns(DataWarning) as told:
        for_checkpoint(graph, metadata, "m.npz")
    words = str(told[0].message)
    for part in ("m.npz does not know", "1 entity, such as 'PERSIA'; 1 relation, such as 'Meet' (known is 'M"):
        assert part in words, words
    assert "in train" in words and "in test" in words


def test_names_match_exactly_and_a_close_one_is_another():
    """'Iran', 'IRAN' and 'iran ' are three entities; one that the checkpoint lacks does not become one that it has."""
    graph = named_graph()
    metadata = {"entities": [name for name in ENTITIES if name != "Iran"], "relations": list(RELATIONS)}
    with pytest.warns(DataWarning, match="'Iran' .known is '(IRAN|iran )'"):
        found = for_checkpoint(graph, metadata)
    assert by_name(found) == [fact for fact in by_name(graph) if "Iran" not in (fact[0], fact[2])]


def test_more_names_in_the_checkpoint_leave_the_facts_as_they_are():
    graph = named_graph()
    metadata = {"entities": ["first", *ENTITIES, "last"], "relations": [*RELATIONS, "last"]}
    found = for_checkpoint(graph, metadata)
    assert by_name(found) == by_name(graph) and (found.num_entities, found.num_relations) == (10, 4)
    assert found.subject.tolist() == (graph.subject + 1).tolist()


def test_without_names_ids_are_taken_where_the_counts_agree():
    graph, nameless = named_graph(), named_graph(entity_names=None, relation_names=None)
    assert for_checkpoint(nameless, described(nameless)) is nameless
    # Names on one side alone stay with the ids.
    assert for_checkpoint(nameless, described(graph)).entity_names == ENTITIES
    assert for_checkpoint(graph, described(nameless)) is graph
    half = named_graph(relation_names=None)
    found = for_checkpoint(renumbered(graph, range(7, -1, -1), range(3)), described(half))
    assert found.subject.tolist() == graph.subject.tolist() and found.relation_names == RELATIONS


@pytest.mark.parametrize("change", [{"num_entities": 9}, {"num_relations": 2}])
def test_without_names_other_counts_are_refused(change):
    nameless = named_graph(entity_names=None, relation_names=None)
    for graph, metadata in (
        (nameless, described(nameless) | change),
        (named_graph(), described(nameless) | change),
    ):
        who = "the data have" if graph is nameless else "it has"
        with pytest.raises(DataError, match=f"8 entities and 3 relations, but m.npz was trained with .*{who} no names"):
            for_checkpoint(graph, metadata, "m.npz")
    kind = next(iter(change)).removeprefix("num_")
    metadata = described(named_graph()) | {kind: [str(i) for i in range(next(iter(change.values())))]}
    with pytest.raises(DataError, match="the data have no names"):
        for_checkpoint(nameless, metadata)


def test_a_name_of_several_ids_stays_or_is_refused():
    twice = ("A", "B", "A", "C", "D", "E", "F", "G")
    graph = named_graph(entity_names=twice, static=None)
    assert for_checkpoint(graph, described(graph)) is graph
    longer = described(graph) | {"entities": [*twice, "H"]}
    assert for_checkpoint(graph, longer).subject.tolist() == graph.subject.tolist()
    with pytest.raises(DataError, match="the name 'A' stands for several entities .here id 1, 2, in .* id 0, 2."):
        for_checkpoint(renumbered(graph, [1, 0, 2, 3, 4, 5, 6, 7], range(3)), described(graph))
    with pytest.raises(DataError, match="the name 'A' stands for several entities .here id 0, 2, in .* id one."):
        for_checkpoint(graph, {"entities": ["A", "B", "C"], "relations": list(RELATIONS)})


def test_several_checkpoints_are_asked_about_what_all_know():
    graph = named_graph()
    metadata = {
        "one": {"entities": [name for name in ENTITIES if name != "CHINA"], "relations": list(RELATIONS)},
        "two": {"entities": list(ENTITIES[::-1]), "relations": ["fight", "meet"]},
        "three": described(graph),
    }
    with pytest.warns(DataWarning, match="names that one or two does not know") as told:
        found = for_checkpoints(graph, metadata)
    expected = [fact for fact in by_name(graph) if "CHINA" not in (fact[0], fact[2]) and fact[1] != "Meet"]
    assert [by_name(one) for one in found] == [expected] * 3 and len(told) == 1
    assert [one.num_entities for one in found] == [7, 8, 8] and len({one.left_out for one in found}) == 1


def test_the_clock_of_the_checkpoint_comes_along():
    graph = named_graph()
    metadata = described(graph) | {"data": described(graph)["data"] | {"clock_origin": 1}}
    found = for_checkpoint(graph, metadata)
    assert found.time_index.tolist() == ((graph.times - 1) // 2).tolist() != graph.time_index.tolist()


def test_only_the_very_same_names_are_reordered():
    graph = named_graph()
    assert reordered(graph, {"entities": [*ENTITIES[1:], "X"], "relations": list(RELATIONS)}) is graph
    assert reordered(graph, {}) is graph
    turned = reordered(graph, {"entities": list(ENTITIES[::-1]), "relations": list(RELATIONS)})
    assert turned.entity_names == ENTITIES[::-1] and by_name(turned) == by_name(graph)
