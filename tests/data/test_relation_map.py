"""What a relation's name means to a checkpoint: an exact name first, a looser form only where it means one relation."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tirgn_cli.values import MAPPINGS
from tirgn_eqx.data.relation_map import RELATION_MAPPINGS, map_relations

CODES = ("010", "020", "025", "042", "043", "100", "0211", "190_Q4")


@pytest.mark.parametrize(
    ("name", "vocabulary", "expected"),
    [
        ("meet", ("Meet", "meet"), 1),
        ("MEET", ("fight", "Meet"), 1),
        ("MEET", ("Meet", "meet"), -1),  # stands for two
        ("Make_statement", ("Consult", "Make statement"), 1),
        ("non_mediation", ("non-mediation",), 0),
        ("Make  statement ", ("make_statement",), 0),
        ("makestatement", ("make_statement",), -1),
        ("042", CODES, 3),
        ("042_Q1", CODES, 3),
        ("190", CODES, 7),
        ("042", ("042_Q1", "042_Q2"), -1),
        ("42", CODES, 3),
        ("211", CODES, 6),
        ("10", CODES, -1),  # 010, or the class whose general code is 100
        ("43_Q1", CODES, 4),
        ("4", CODES, -1),
        ("0251", CODES, -1),
    ],
)
def test_a_name_means(name, vocabulary, expected):
    assert map_relations((name,), vocabulary).tolist() == [expected]


@pytest.mark.parametrize(
    ("name", "expected"),
    [("0251", 2), ("0251_Q1", 2), ("021", 1), ("102", 5), ("042", 3), ("42", 3), ("10", -1), ("999", -1), ("word", -1)],
)
def test_an_unknown_code_means_its_parent(name, expected):
    assert map_relations((name,), CODES, "by-cameo").tolist() == [expected]


names = st.lists(st.sampled_from(["042", "42", "042_Q1", "0421", "Meet", "meet", "MEET ", "10", "010"]), max_size=6)


@given(names, names, st.sampled_from(RELATION_MAPPINGS))
def test_a_name_means_the_same_whatever_names_stand_beside_it(data, vocabulary, how):
    alone = [map_relations((name,), vocabulary, how)[0] for name in data]
    assert map_relations(data, vocabulary, how).tolist() == alone
    # A checkpoint's own names always mean themselves.
    own = list(dict.fromkeys(vocabulary))
    assert map_relations(own, own, how).tolist() == list(range(len(own)))


def test_the_command_line_offers_what_there_is():
    assert MAPPINGS == RELATION_MAPPINGS
