"""Text folders as people have them: each is read whole, plainly and mapped alike, or refused in one line."""

import dataclasses
import re
from collections.abc import Callable

import numpy as np
import pytest

from tests.data.readers.folder_helpers import (
    DATES,
    FACTS,
    NAMES,
    SPLITS,
    Files,
    ends,
    facts_text,
    files,
    read_both,
    write,
)
from tests.helpers import sorted_facts


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch):
    monkeypatch.setattr("os.fsync", lambda file: None)


CR, CRLF = b"\r", b"\r\n"


def MIXED(raw):
    return b"".join(
        line + (CR, b"\n", CRLF)[number % 3] for number, line in enumerate(raw.removesuffix(b"\n").split(b"\n"))
    )


READ_WHOLE: dict[str, Files] = {
    "as it is": files(),
    # Line ends.
    "CR": ends(lambda raw: raw.replace(b"\n", CR)),
    "CRLF": ends(lambda raw: raw.replace(b"\n", CRLF)),
    "all three, mixed": ends(MIXED),
    "CR in train alone": ends(lambda raw: raw.replace(b"\n", CR), "train.txt"),
    "CR in valid alone": ends(lambda raw: raw.replace(b"\n", CR), "valid.txt"),
    "CR in names alone": ends(lambda raw: raw.replace(b"\n", CR), "entity2id.txt", "relation2id.txt"),
    "CR in the static graph": ends(lambda raw: raw.replace(b"\n", CR), "e-w-graph.txt"),
    "CR after the counts": files(stat="6\t3\r"),
    "CR CR LF, translated twice": ends(lambda raw: raw.replace(b"\n", b"\r\r\n")),
    "LF CR": ends(lambda raw: raw.replace(b"\n", b"\n\r")),
    "a CR in the middle alone": ends(lambda raw: raw.replace(b"\n", CR, 20), "train.txt"),
    "no end of the last line": ends(lambda raw: raw.rstrip(b"\n")),
    "no end of the last line after CR": ends(lambda raw: raw.rstrip(b"\n").replace(b"\n", CR)),
    "ends at the end": ends(lambda raw: raw + b"\n\r\n\r\r \n"),
    "blank lines between": ends(
        lambda raw: raw.replace(b"\n", b"\n \t\n\n"), "train.txt", "valid.txt", "entity2id.txt"
    ),
    "a byte order mark and CR": ends(lambda raw: b"\xef\xbb\xbf" + raw.replace(b"\n", CR)),
    # Columns.
    "a fifth column of 0": files(fifth="\t0"),
    "a fifth column of -1": files(fifth="\t-1"),
    "a fifth column that is empty": files(fifth="\t"),
    "two columns that are empty": files(fifth="\t\t "),
    "a fifth column of a float": files(fifth="\t0.75"),
    "a fifth column of a word": files(fifth="\tverified"),
    "a fifth column of words": files(fifth="\tas two papers say"),
    "a fifth column of a date": files(fifth="\t2014-01-01"),
    "spaces": files(gap=" "),
    "spaces and a word": files(gap="  ", fifth=" x"),
    "padded inside the tabs": files(gap="  \t ", fifth="  \t0 "),
    "counts with a third number": files(stat="6\t3\t12"),
    "a fourth column of the static graph": files(e_w_graph="0\t0\t1\t0\n5\t1\t0\t0\n"),
    "another order of lines": files(train=facts_text(SPLITS["train"][::-1])),
}


@pytest.mark.parametrize("case", READ_WHOLE)
def test_every_fact_is_read(tmp_path, case):
    graph, told = read_both(write(tmp_path / "d", READ_WHOLE[case]))
    assert not isinstance(graph, str), graph
    assert sorted_facts(graph) == sorted(FACTS) and not told
    assert graph.entity_names == NAMES and graph.relation_names == ("020", "030", "036")
    assert graph.static is not None and graph.static.word.tolist() == [1, 0]


def test_a_crlf_may_lie_across_two_blocks(tmp_path, monkeypatch):
    for number, content in enumerate((READ_WHOLE["CRLF"], READ_WHOLE["all three, mixed"], READ_WHOLE["CR"])):
        place = write(tmp_path / str(number), content)
        for block in (1, 2, 3, 5, 7, 64):
            monkeypatch.setattr("tirgn_eqx.data.readers.integer_text.BLOCK_BYTES", block)
            graph, _ = read_both(place)
            assert not isinstance(graph, str)
            assert sorted_facts(graph) == sorted(FACTS) and graph.entity_names == NAMES
            assert graph.read is not None and graph.read.lines == graph.num_facts


FACT = "0\t0\t1\t3\n"


def JOINED(gap, fifth=""):
    return files(fifth=fifth)["train.txt"].replace("\n", gap, 1)  # pyright: ignore


REFUSED: dict[str, tuple[Files, str]] = {
    # A line end that was lost.
    "joined by a tab": (files(train=JOINED("\t")), r"train.txt:1: 8 columns in .* expected 4 or 5"),
    "joined by a space": (files(train=JOINED(" ")), r"train.txt:1: 8 columns"),
    "joined by nothing": (files(train=JOINED("")), r"train.txt:1: 7 columns"),
    "joined by a letter n": (files(train=JOINED("\\n")), r"train.txt:1: 7 columns"),
    "joined by a form feed": (files(train=JOINED("\f")), r"train.txt:1: 8 columns"),
    "joined by a line separator": (files(train=JOINED("\u2028")), r"train.txt:1: 8 columns"),
    "joined by a next line": (files(train=JOINED("\x85")), r"train.txt:1: 8 columns"),
    "five columns, joined by nothing": (files(train=JOINED("", "\t0")), r"train.txt:1: 9 columns"),
    "five columns, joined by a tab": (files(train=JOINED("\t", "\t0")), r"train.txt:1: 10 columns"),
    "a fact behind a fact, in spaces": (files(train=FACT.rstrip() + "\t0 0 1 3\n"), r"train.txt:1: 8 columns"),
    "words, then a fact": (files(train=FACT.rstrip() + "\tword 0 0 1 3\n"), r"train.txt:1: 9 columns"),
    "in the valid split": (files(valid="0\t0\t1\t8\t1\t1\t1\t8\n"), r"valid.txt:1: 8 columns"),
    "in the last line of all": (files(test="0\t0\t1\t10\n0\t0\t1\t10\t1\t1\t1\t11"), r"test.txt:2: 8 columns"),
    "in the static graph": (files(e_w_graph="0\t0\t1\t5\t1\t0\n"), r"e-w-graph.txt:1: 6 columns .* expected 3 or 4"),
    "a fact and two columns": (files(train=FACT.rstrip() + "\t0\t0\n"), r"train.txt:1: 6 columns"),
    "a tab too many": (files(train="0\t0\t\t1\t3\n"), r"train.txt:1: object is ''"),
    "commas": (files(train="0,0,1,3\n"), r"train.txt:1: 1 columns .* by tabs or spaces, not by commas"),
    # What is no text of one byte a letter, or not whole.
    "NUL bytes at the end": (files(test=facts_text(SPLITS["test"]).encode() + bytes(99)), r"test.txt:9: a NUL byte"),
    "a NUL byte in a line": (files(valid=b"0\t0\t1\t8\n0\t0\0\t1\t8\n"), r"valid.txt:2: a NUL byte \(0x00\)"),
    "a NUL byte in a name": (files(entity2id=b"a\t0\nb\0\t1\n"), r"entity2id.txt:2: a NUL byte"),
    "NUL bytes in the counts": (files(stat=b"6\t3\0\0"), r"stat.txt:1: a NUL byte"),
    "NUL bytes and nothing else": (files(test=bytes(500)), r"test.txt:1: a NUL byte .* write it again"),
    "Ctrl-Z at the end": (files(test=facts_text(SPLITS["test"]) + "\x1a"), r"test.txt: ends in Ctrl-Z \(0x1A\).*del"),
    "Ctrl-Z and a line end": (files(test=facts_text(SPLITS["test"]) + "\x1a\r\n"), r"test.txt: ends in Ctrl-Z"),
    "Ctrl-Z behind the last time": (files(valid="0\t0\t1\t8\x1a"), r"valid.txt: ends in Ctrl-Z"),
    "Ctrl-Z behind names": (files(relation2id="a\t0\n\x1a"), r"relation2id.txt: ends in Ctrl-Z"),
    "Ctrl-Z behind the counts": (files(stat="6\t3\x1a"), r"stat.txt: ends in Ctrl-Z"),
    "UTF-16": (files(train=facts_text(SPLITS["train"]).encode("utf-16")), r"train.txt: is in UTF-16; convert"),
    "UTF-16, big end first": (files(stat=b"\xfe\xff" + "6\t3".encode("utf-16-be")), r"stat.txt: is in UTF-16"),
    "UTF-16 without a mark": (files(valid=facts_text(SPLITS["valid"]).encode("utf-16-le")), r"valid.txt:1: a NUL byte"),
    "UTF-32": (files(entity2id="a\t0\n".encode("utf-32")), r"entity2id.txt: is in UTF-32; convert"),
    # Splits that cannot be used.
    "three columns": (
        files(**{split: re.sub(r"(?m)\t\d+$", "", facts_text(facts)) for split, facts in SPLITS.items()}),
        r"train.txt:1: 3 columns in .* expected 4 or 5 .*times.* `tirgn data convert .*d --out DIR`",
    ),
    "no valid": (files(valid=None), r"valid.txt: file is missing; .* `tirgn data convert .*d --out DIR`"),
    "no test": (files(test=None), r"test.txt: file is missing; .* `tirgn data convert"),
    "train alone": (files(test=None, valid=None), r"valid.txt: file is missing; .* `tirgn data convert"),
    "no train": (files(train=None), r"train.txt: file is missing; .* `tirgn data convert"),
    "valid without facts": (files(valid="\n"), r"valid.txt: no facts; .* `tirgn data convert"),
    "drawn at random": (
        files(train=facts_text(SPLITS["train"] + SPLITS["test"])),
        r"train.txt:37: time 11 is later than time 8 at valid.txt:1; .* cut the splits by time: `tirgn data convert",
    ),
    "test before valid": (
        files(valid=facts_text(SPLITS["test"]), test=facts_text(SPLITS["valid"])),
        r"valid.txt:5: time 11 is later than time 8 at test.txt:1; .*`tirgn data convert",
    ),
    "drawn at random, with dates": (
        files(DATES.__getitem__, train=facts_text(SPLITS["test"], DATES.__getitem__)),
        r"train.txt:5: time 2014-01-12 is later than time 2014-01-09 at valid.txt:1",
    ),
    # Times.
    "half a step": (files(lambda day: f"{day}.5"), r"train.txt:1: time is '0.5', not a whole number; write a whole"),
    "rounded floats": (files(lambda day: f"1.514{day}e+09"), r"time is '1.5140e\+09', not a whole number"),
    "no number": (files(lambda day: "nan"), r"train.txt:1: time is 'nan'"),
    "infinite": (files(lambda day: "inf"), r"train.txt:1: time is 'inf'"),
    "a float too large": (files(lambda day: f"{2**54 + day}.0"), r"train.txt:1: time is '18014398509481984.0', outs"),
    "no such day": (files(lambda day: f"2014-02-{20 + day}"), r"valid.txt:5: time is '2014-02-29', not a whole"),
    "day first": (files(lambda day: f"{day + 1:02}/01/2014"), r"train.txt:1: time is '01/01/2014', not a whole"),
    "half a second": (files(lambda day: f"{DATES[day]}T00:00:00.5"), r"time is '2014-01-01T00:00:00.5', not a whole"),
    "no such hour": (files(lambda day: f"{DATES[day]} 25:00"), r"time is '2014-01-01 25:00', not a whole"),
    "a year alone": (files(lambda day: f"{day}-2014"), r"train.txt:1: time is '0-2014', not a whole"),
    "dates among numbers": (
        files(train=facts_text(SPLITS["train"][:9]) + f"0\t0\t1\t{DATES[3]}\n"),
        r"train.txt:10: time is a date, but a number at .*train.txt:1; write all times in one way",
    ),
    "numbers among dates": (
        files(DATES.__getitem__, train=f"0\t0\t1\t{DATES[0]}\n0\t0\t1\t3\n"),
        r"train.txt:2: time is a number, but a date at .*train.txt:1",
    ),
    "a number among dates, in a way of its own": (
        files(DATES.__getitem__, train=f"0\t0\t1\t{DATES[0]}\n-0\t0\t1\t3\n"),
        r"train.txt:2: time is a number, but a date at .*train.txt:1",
    ),
    "dates in one file, numbers in another": (
        files(train=facts_text(SPLITS["train"], DATES.__getitem__)),
        r"valid.txt:1: time is a number, but a date at .*train.txt:1",
    ),
    # Names.
    "neither column": (files(entity2id="China\tx\nIran\ty\n"), r"2id.txt:1: entity id is 'x', expected name<TAB>id"),
    "some reversed": (files(entity2id="China\t0\n1\tIran\n"), r":2: entity id is 'Iran', expected name"),
    "reversed, and one is not": (files(entity2id="0\tChina\n1\tIran\nCuba\t2\n"), r":1: entity id is 'China'"),
    "reversed, and one name is an id": (files(entity2id="0\tChina\n1\t5\n"), r":1: entity id is 'China'"),
    "two ids": (files(entity2id="China\t0\t1\nIran\t1\t0\n"), r":1: the last column '1' and the second one"),
    "a number in a name in tabs": (files(entity2id="China\t3\tx\t0\nIran\t1\n"), r":1: the last column '0' and the se"),
    "reversed numbers": (files(relation2id="0\t002\n1\t001\n2\t000\n"), r":3: both columns are numbers, here 2"),
    "reversed, with more": (files(entity2id="0\tChina\tAsia\n1\tIran\tAsia\n"), r"2id.txt:1: entity id is 'Asia'"),
    "names alone": (files(entity2id="China\nIran\n"), r"entity2id.txt:1: entity id is '', expected name<TAB>id"),
    "two names of an id": (files(entity2id="China\tmainland\t0\nChina\t0\n"), r":2: entity 0 is called 'China', but"),
    "an id of 30 digits": (files(entity2id=f"China\t{'0' * 29}7\n"), r"entity2id.txt:1: entity 0+ is beyond stat.txt"),
    "a lost line end among names": (files(entity2id="China\t0Iran\t1\nCuba\tx\n"), r"2id.txt:2: entity id is 'x'"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_it_is_refused_in_one_line(tmp_path, case):
    content, match = REFUSED[case]
    message, _ = read_both(write(tmp_path / "d", content))
    assert isinstance(message, str), f"read as {message}"
    assert re.search(match, message), message
    assert str(tmp_path / "d") in message and message.isprintable() and len(message) < 500


TIMES: dict[str, tuple[Callable[[int], str], int | None, str]] = {
    "whole floats": (lambda day: f"{17532 + day}.0", None, "whole numbers written as floats, 17532 to 17543"),
    "floats with a point": (lambda day: f"{day}.", None, "whole numbers written as floats, 0 to 11"),
    "floats with zeros": (lambda day: f"{day - 20}.000", None, "whole numbers written as floats, -20 to -9"),
    "some floats": (lambda day: f"{day}.0" if day % 2 else str(day), None, "whole numbers written as floats, 0 to 11"),
    "as numpy saves them": (lambda day: f"{17532 + day:.18e}", None, "whole numbers written as floats, 17532 to 17543"),
    "dates": (DATES.__getitem__, 86_400, "dates, 2014-01-01 to 2014-01-12"),
    "dates before 1970": (lambda day: f"1905-06-{day + 1:02}", 86_400, "dates, 1905-06-01 to 1905-06-12"),
    "dates with slashes": (lambda day: DATES[day].replace("-", "/"), 86_400, "dates, 2014-01-01 to 2014-01-12"),
    "midnights": (lambda day: f"{DATES[day]}T00:00", 1, "times of day, UTC, 2014-01-01T00:00 to 2014-01-12T00:00"),
    "hours": (lambda day: f"{DATES[0]}T{day:02}", 1, "times of day, UTC, 2014-01-01T00:00 to 2014-01-01T11:00"),
    "a space before the time": (lambda day: f"{DATES[day]} 06:30", 1, "2014-01-01T06:30 to 2014-01-12T06:30"),
    "seconds": (lambda day: f"{DATES[0]}T06:00:{day:02}.000", 1, "2014-01-01T06:00 to 2014-01-01T06:00"),
    "Z": (lambda day: f"{DATES[day]}T06:00:00Z", 1, "2014-01-01T06:00 to 2014-01-12T06:00"),
    "UTC": (lambda day: f"{DATES[day]} 06:00:00 UTC", 1, "2014-01-01T06:00 to 2014-01-12T06:00"),
    "an offset": (lambda day: f"{DATES[day]}T06:00+02:00", 1, "2014-01-01T04:00 to 2014-01-12T04:00"),
    "several offsets": (lambda day: f"{DATES[0]}T12:00-{day:02}:00", 1, "2014-01-01T12:00 to 2014-01-01T23:00"),
    "dates, then times": (lambda day: DATES[day] + " 06:00" * (day > 6), 1, "2014-01-01T00:00 to 2014-01-12T06:00"),
    "dates, then times in another file": (lambda day: DATES[day] + "T06" * (day > 9), 1, "2014-01-01T00:00 to"),
}  # fmt: skip


@pytest.mark.parametrize("fifth", ["", "\t0", "\tsome words"])
@pytest.mark.parametrize("case", TIMES)
def test_times_are_read_in_many_forms(tmp_path, case, fifth):
    text, unit, told = TIMES[case]
    graph, warned = read_both(write(tmp_path / "d", files(text, fifth)))
    assert not isinstance(graph, str), graph
    assert graph.read is not None and told in str(graph.read.times) and not warned
    assert graph.time_unit == unit and graph.num_snapshots == 12
    # In order of time, the facts are those of days 0 to 11.
    by_day = [(split, *fact) for split, *fact in sorted_facts(dataclasses.replace(graph, times=np.arange(12)))]
    assert by_day == sorted(FACTS)


def test_times_with_a_space_among_spaces(tmp_path):
    for number, fifth in enumerate(("", " 0", " word")):
        content = files(lambda day: f"{DATES[day]} 06:00:00", fifth, " ")
        graph, _ = read_both(write(tmp_path / str(number), content))
        assert not isinstance(graph, str) and graph.time_unit == 1 and graph.num_facts == len(FACTS)
        assert graph.times.tolist() == [16071 * 86_400 + 6 * 3600 + day * 86_400 for day in range(12)]


INTERVALS: dict[str, tuple[list[int], int]] = {
    "as in the fault": ([0, *range(1001, 1016)], 1),
    "hours of days": ([0, 24, 48, 96], 24),
    "first two far apart": ([0, 48, 72], 24),
    "no distance is the step": ([0, 10, 25], 5),
    "before 0": ([-100, -90, -5], 5),
    "one time": ([7], 1),
    "two times": ([7, 21], 14),
    "not from 0": ([5, 15, 35], 10),
    "unix seconds of days": ([1388534400, 1388534400 + 86400 * 3, 1388534400 + 86400 * 5], 86400),
    "quarter hours with gaps": ([34560, 34605, 34620, 34680], 15),
    "a step in the end": ([0, 100, 200, 300, 301], 1),
    "years": ([1900, 1950, 2000, 2014], 2),
    "far apart": ([-(2**53), 0, 2**53 - 2**40], 2**40),
}


@pytest.mark.parametrize("case", INTERVALS)
def test_the_interval_is_that_of_all_train_times(tmp_path, monkeypatch, case):
    monkeypatch.setattr("tirgn_eqx.data.readers.integer_text.BLOCK_BYTES", 8)  # a line or two in each
    times, interval = INTERVALS[case]
    # Those of the other splits do not count.
    content = files(
        train=facts_text([(0, 0, 1, time) for time in sorted(times * 2)]),
        valid=facts_text([(0, 0, 1, times[-1] + 1), (0, 0, 1, times[-1] + 3)]),
        test=facts_text([(0, 0, 1, times[-1] + 4)]),
    )
    if case == "not from 0":  # in any order
        content["train.txt"] = facts_text([(0, 0, 1, time) for time in reversed(times)])
    graph, _ = read_both(write(tmp_path / "d", content))
    assert not isinstance(graph, str) and graph.time_interval == interval
    trained = np.unique(graph.time_index[graph.snapshot[graph.split_mask("train")]])
    assert len(trained) == len(set(times))
