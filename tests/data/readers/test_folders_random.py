"""Text folders that hypothesis makes: facts read are facts written, or an error."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from tests.data.readers.folder_helpers import DATES, NAMES, SPLITS, Files, files, read_both, write
from tests.helpers import sorted_facts


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch):
    monkeypatch.setattr("os.fsync", lambda file: None)


# --- folders that are made at random -------------------------------------------------------------------------------
FIFTH = ("", "\t0", "\t-1", " 7", "\tword", "\tof words", "\t")  # what may stand behind a fact
fifths = st.sampled_from(FIFTH) | st.sampled_from([*FIFTH, "\t1\t2", " a b", "\t3 4", "\t0 0 1 3"])
CLOCKS = ("", "T06:00", " 06:00:00", "T06:00:30Z", "T23:00+02:00", " 06:00:00 UTC", "T06:00:00.5")
ENDS, GAPS, FORMS = ("\n", "\r\n", "\r"), ("\t", " ", "  \t", " \t"), ("number", "float", "date")


@st.composite
def folders(draw: st.DrawFn) -> tuple[Files, list[tuple[int, ...]], bool]:
    """Files of a folder; the facts that were written to them: split, ids, day; and whether they must be read."""
    form = draw(st.sampled_from([*FORMS, "date and time"]) | st.sampled_from([*FORMS, "date and time", "mixed"]))
    end = draw(st.sampled_from([*ENDS, "mixed"]))
    gap = draw(st.sampled_from([*GAPS, "mixed"]))
    fifth = draw(fifths)
    every = draw(st.sampled_from([1, 1, 3]))  # only some lines have a fifth column
    random = np.random.default_rng(draw(st.integers(0, 10**6)))
    ordered, marked, closed = draw(st.booleans()), draw(st.booleans()), draw(st.booleans())
    lost = draw(st.none() | st.sampled_from([None, None, None, *range(4)]))  # the line whose end is lost, if any
    time_of_day = draw(st.sampled_from(CLOCKS)) if form == "date and time" else ""
    content, facts, number = files(entity2id=None, relation2id=None, e_w_graph=None), [], 0
    for place, split in enumerate(SPLITS):
        found = np.column_stack(
            [random.integers(0, (6, 3, 6), (size := random.integers(1, 7), 3)), np.zeros(size, int)]
        )
        found[:, 3] = random.integers(0, 4, size) + 4 * place
        text = ""
        for *triple, day in sorted(found.tolist(), key=lambda fact: fact[3]) if ordered else found.tolist():
            kind = FORMS[random.integers(3)] if form == "mixed" else form
            when = {"number": str(day), "float": f"{day}.0"}.get(kind, DATES[day] + time_of_day)
            space = GAPS[random.integers(4)] if gap == "mixed" else gap
            close = ENDS[random.integers(3)] * random.integers(1, 3) if end == "mixed" else end
            text += space.join([*map(str, triple), when]) + fifth * (number % every == 0) + close * (number != lost)
            facts.append((place, *triple, day))
            number += 1
        content[f"{split}.txt"] = "\ufeff" * marked + (text if closed else text.rstrip("\r\n"))
    kind = draw(st.sampled_from(["none", "sound", "reversed", "more"]))
    if kind != "none":
        lines = [f"{name}\t{place}" for place, name in enumerate(random.permutation(NAMES))]
        lines = ["\t".join(reversed(line.split("\t"))) for line in lines] if kind == "reversed" else lines
        lines = [f"{line}\t##" for line in lines] if kind == "more" else lines
        content["entity2id.txt"] = ("\n" if end == "mixed" else end).join(lines)
    sound = form != "mixed" and fifth in FIFTH and lost is None and time_of_day != CLOCKS[-1]
    return content, sorted(facts), sound


def check_folder(place: Path, made: tuple[Files, list[tuple[int, ...]], bool]) -> str:
    """What was read is what was written, or nothing is, where anything is wrong."""
    content, facts, sound = made
    graph, _ = read_both(write(place, content))
    if isinstance(graph, str):
        assert str(place) in graph and graph.isprintable() and not sound, graph
        return "refused"
    found = sorted_facts(graph)
    if graph.time_unit is not None:  # an offset or a time of day leaves the day what it is
        first = 16071
        found = sorted((*fact[:4], fact[4] * graph.time_unit // 86_400 - first) for fact in found)
    assert found == facts
    return "read"


@settings(max_examples=120, deadline=None)
@given(made=folders())
def test_facts_read_are_facts_written_or_an_error(tmp_path_factory, made):
    event(check_folder(tmp_path_factory.getbasetemp() / "made", made))


@pytest.mark.slow
@settings(max_examples=2500, deadline=None)
@given(made=folders())
def test_facts_read_are_facts_written_or_an_error_many_times(tmp_path_factory, made):
    event(check_folder(tmp_path_factory.getbasetemp() / "made", made))
