"""Files of names: which column is the id, and a name of its own for each."""

import pytest

from tests.data.readers.folder_helpers import FACTS, files, read_both, write
from tests.helpers import sorted_facts
from tirgn_eqx.data.readers.name_files import complete_names, read_names
from tirgn_eqx.errors import DataError, DataWarning


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch):
    monkeypatch.setattr("os.fsync", lambda file: None)


ENTITIES: dict[str, tuple[str, tuple[str, ...], str]] = {
    "a name with a tab": ("China\tmainland\t0\nIran\t1\n", ("China\tmainland", "Iran"), ""),
    "all names with a tab": ("China\ta\t0\nIran\tb\t1\n", ("China\ta", "Iran\tb"), ""),
    "a name with three tabs": ("a\tb\t\tc\t1\nIran\t0\n", ("Iran", "a\tb\t\tc"), ""),
    "a name with a number in tabs": ("China\t9\tx\t0\nIran\t1\n", ("China\t9\tx", "Iran"), ""),
    "further columns": ("China\t0\t1949-##-##\t##\nIran\t1\tx\ty\n", ("China", "Iran"), ""),
    "further columns on some lines": ("China\t0\nIran\t1\tx\n", ("China", "Iran"), ""),
    "a further column of counts": ("China\t0\t512\nIran\t1\t77\n", ("China", "Iran"), ""),
    "a further column of one number": ("China\t0\t1\nIran\t1\t1\n", ("China", "Iran"), ""),
    "a further column, empty": ("China\t0\t\nIran\t1\t\n", ("China", "Iran"), ""),
    "reversed": ("0\tChina\n1\tIran\n", ("China", "Iran"), "the id stands before the name"),
    "reversed, in another order": ("1\tIran\n0\tChina\n", ("China", "Iran"), "the id stands before the name"),
    "reversed, with a space": ("0 New York\n1 Iran\n", ("New York", "Iran"), "the id stands before the name"),
    "reversed, numbers beyond": ("0\t9120\n1\t9130\n", ("9120", "9130"), "the id stands before the name"),
    "reversed, a tab in a name": ("0\tChina\tmainland\n1\tIran\n", ("China\tmainland", "Iran"), "the id stands before"),
    "numbers for names": ("0\t5\n7\t1\n", ("entity 0", "7"), ""),
    "zeros before numbers": ("010\t0\n020\t1\n", ("010", "020"), ""),
    "numbers that are ids of others": ("1\t0\n0\t1\n", ("1", "0"), ""),
    "a count first": ("2\nChina\t0\nIran\t1\n", ("China", "Iran"), ""),
    "spaces around": (" China \t 0 \n\tIran\t1\n", ("China", "Iran"), ""),
    "a space instead of a tab": ("New York 0\nIran 1\n", ("New York", "Iran"), ""),
    "an empty name": ("\t0\nIran\t1\n", ("entity 0", "Iran"), ""),
    "a line twice": ("China\t0\nChina\t0\nIran\t1\n", ("China", "Iran"), ""),
    "a name twice": ("China\t0\nChina\t1\n", ("China (0)", "China (1)"), "1 names stand for several ids: 0 and 1"),
    "a name twice, one with spaces": ("China\t0\n China \t1\n", ("China (0)", "China (1)"), "several ids"),
    "the name of an id without one": ("entity 1\t0\n", ("entity 1 (0)", "entity 1 (1)"), "several ids"),
    "a name that is taken": (
        "China\t0\nChina\t1\nChina (1)\t2\n",
        ("China (0)", "China (1) (1)", "China (1)"),
        "several ids",
    ),
    "letter cases differ": ("IRAN\t0\nIran\t1\niran\t2\n", ("IRAN", "Iran", "iran"), ""),
}


@pytest.mark.parametrize("case", ENTITIES)
def test_names_are_those_of_their_ids(tmp_path, case):
    text, names, warned = ENTITIES[case]
    graph, told = read_both(write(tmp_path / "d", files(entity2id=text)))
    assert not isinstance(graph, str), graph
    if case != "numbers for names":
        assert graph.entity_names is not None and graph.entity_names[: len(names)] == names
    assert len(set(graph.entity_names or ())) == 6
    assert any(warned in line for line in told) if warned else not told
    assert sorted_facts(graph) == sorted(FACTS)


def names_of(folder, text, size=None):
    (folder / "entity2id.txt").write_text(text, encoding="utf-8")
    return read_names(folder / "entity2id.txt", size, "entity", folder / "stat.txt")


def test_without_a_size_any_id_is_taken(tmp_path):
    text = "China\t0\nIran\t90\n"
    assert names_of(tmp_path, text) == names_of(tmp_path, text, 91) == {0: "China", 90: "Iran"}
    with pytest.raises(DataError, match=r"2id.txt:2: entity 90 is beyond stat.txt, which counts 90 \(ids 0 to 89\)"):
        names_of(tmp_path, text, 90)
    assert read_names(tmp_path / "relation2id.txt", 3, "relation", tmp_path / "stat.txt") is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a\t0\nb\t0\n", ":2: entity 0 is called 'b', but 'a' before; give each id one name"),
        ("a\t0\t1\nb\t1\t0\n", ":1: the last column '1' and the second one '0' may both be the entity id"),
        ("0\t1\n1\t2\n", ":2: both columns are numbers, here 1 and '2', and the first one counts"),
    ],
)
def test_names_of_which_two_may_be_meant_are_refused(tmp_path, text, words):
    with pytest.raises(DataError, match=words):
        names_of(tmp_path, text)


def test_every_id_gets_a_name_of_its_own(tmp_path):
    assert complete_names(None, 3, "entity", tmp_path) is None
    assert complete_names({0: "a", 2: ""}, 3, "relation", tmp_path) == ("a", "relation 1", "relation 2")
    with pytest.warns(DataWarning, match=r"entity2id.txt: 1 names stand for several ids: 0 and 1 now have"):
        shared = complete_names({0: "a", 1: "a", 2: "a (1)"}, 3, "entity", tmp_path)
    assert shared == ("a (0)", "a (1) (1)", "a (1)")
