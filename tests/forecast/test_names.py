"""Names that a user gives: exactly first, then without case, outer spaces and Unicode form; never one of several."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers import make_graph
from tirgn_eqx.errors import DataError
from tirgn_eqx.forecast.names import Names

NFD = "CO\N{COMBINING CIRCUMFLEX ACCENT}TE D'IVOIRE"


def names_of(*entities, relations=("meet", "MEET")):
    facts = [(0, 0, 1, time) for time in range(3)]
    sizes = {"num_entities": len(entities), "num_relations": len(relations)}
    return Names(make_graph(facts, **sizes, entity_names=tuple(entities), relation_names=tuple(relations)))


def test_an_exact_name_wins():
    names = names_of("IRAN", "Iran", "iran ", " iran", "RUSSIA")
    for number, name in enumerate(("IRAN", "Iran", "iran ", " iran", "RUSSIA")):
        assert names.entity(name) == number
    assert names.relation("MEET") == 1 and names.relation("meet") == 0


def test_several_that_fit_are_named():
    names = names_of("IRAN", "Iran", "iran ", "RUSSIA")
    for name in ("iran", "iRAN", " Iran"):
        with pytest.raises(DataError, match="fits 'IRAN', 'Iran', 'iran '; give one of them exactly"):
            names.entity(name)
    with pytest.raises(DataError, match="relation 'Meet' fits 'meet', 'MEET'"):
        names.relation("Meet")
    many = names_of(*("a" * i + "A" * (8 - i) for i in range(8)), "x")
    with pytest.raises(DataError, match="'aaaaAAAA' and 3 more"):
        many.entity(" aaaaaaAA ")
    with pytest.raises(DataError, match="fits"):
        names.ids("entity", ["RUSSIA", "iran"])


def test_case_spaces_and_unicode_form_do_not_matter_where_one_fits():
    names = names_of("CÔTE D'IVOIRE", "STRASSE", "Ǆ", "ΣΊΣΥΦΟΣ", "x")
    for number, name in enumerate((NFD.lower(), "straße", "ǆ ", "σίσυφος", "\u00a0X\t")):
        assert names.entity(name) == number
    assert names_of(NFD, "x").entity("côte d'ivoire") == 0
    both = names_of(NFD, "CÔTE D'IVOIRE")
    assert both.entity(NFD) == 0 and both.entity("CÔTE D'IVOIRE") == 1
    with pytest.raises(DataError, match="fits"):
        both.entity("côte d'ivoire")


def test_a_name_of_two_ids_is_neither():
    with pytest.raises(DataError, match=r"'A' stands for 2 of them \(ids 0, 2\); give each a name of its own"):
        names_of("A", "B", "A").entity("A")
    with pytest.raises(DataError, match=r"'a' stands for 2 of them"):
        names_of("A", "B", "A").entity("a")


def test_data_without_names_have_their_ids():
    graph = make_graph([(0, 0, 1, time) for time in range(3)], num_entities=12, num_relations=2)
    assert Names(graph).entity("11") == 11
    with pytest.raises(DataError, match="entity '12' is not known"):
        Names(graph).entity("12")


@given(st.lists(st.text("aAiIßſKK éÉ", max_size=4), min_size=2, max_size=8, unique=True), st.data())
def test_every_name_is_reached_by_itself(known, data):
    names = names_of(*known)
    for number, name in enumerate(known):
        assert names.entity(name) == number
    asked = data.draw(st.sampled_from(known)).swapcase() + " "
    try:
        found = known[names.entity(asked)]
    except DataError:
        return

    def plain(name):
        return name.strip().casefold()

    assert asked == found or [name for name in known if plain(name) == plain(asked)] == [found]
