"""Writers of a journal that are killed: a few kills, and that losses and doubles would be found."""

import random

import pytest

from tirgn_eqx.data import forecast_journal
from tirgn_eqx.data.forecast_journal import append_forecasts
from tools.chaos import journal


@pytest.mark.ci
def test_ten_kills_lose_nothing_and_double_nothing(tmp_path):
    fell, written, faults = journal.run(tmp_path, 10, random.Random(1))
    assert len(fell) == 10 and len(written) > 1 and faults == []


def test_doubles_and_cut_off_lines_are_found(tmp_path):
    file = append_forecasts(tmp_path, journal.batch(0)[:3]).file
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join([*lines, lines[0], lines[1][:50] + b"\n", lines[2][:50]]))
    ids, faults = journal.raw_ids(tmp_path)
    assert sorted(ids.values()) == [1, 1, 2] and faults == [f"{file.name}:5: is cut off"]
    assert journal.torn_files(tmp_path) == 1
    forecast_journal.truncate_partial_line(file)
    assert journal.torn_files(tmp_path) == 0
