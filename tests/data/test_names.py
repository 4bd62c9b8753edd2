"""Names: how they are compared, found in a vocabulary, and added to a graph."""

from tests.helpers import make_graph
from tirgn_eqx.data.names import add_names, find_names, fold_name


def test_names_are_folded_found_and_added():
    assert fold_name(" STRASSE") == fold_name("straße ") and fold_name("e\u0301") == fold_name("\u00c9")
    assert find_names(["b", "x", "a"], ["a", "b"]).tolist() == [1, -1, 0]
    entities, relations = ("a", "b"), ("r",)
    names = {"entity_names": entities, "relation_names": relations}
    graph = make_graph([(0, 0, 1, 0)], num_entities=2, num_relations=1, **names)
    longer = add_names(graph, ["new", entities[0], "new"])
    assert longer.entity_names == (*entities, "new") and longer.num_entities == 3
    assert longer.relation_names == graph.relation_names and longer.subject is graph.subject
    assert add_names(graph, entities, relations) is graph
