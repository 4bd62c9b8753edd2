"""The journal of forecasts: each once, in the order of writing, whatever writers were killed."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.journal_lines import MODEL, forecast
from tirgn_eqx.data import forecast_journal
from tirgn_eqx.data.forecast_journal import append_forecasts, instant, journal_files, read_journal
from tirgn_eqx.errors import DataError

NAMES = st.text(st.characters(codec="utf-8"), max_size=5)
FORECASTS = st.builds(
    forecast,
    target=st.integers(-3, 3),
    horizon=st.integers(1, 3),
    subject=NAMES,
    relation=NAMES,
    object=NAMES,
    probability=st.floats(0, 1),
    expected=st.floats(0, 1e6),
    usual=st.none() | st.floats(0, 9),
)
# A call of a writer, and what a killed one left after it: letters of a line, if any.
WRITES = st.lists(st.tuples(st.lists(FORECASTS, max_size=4), st.sampled_from([b"", b'{"id": "0', b"\0" * 5000])))


@settings(max_examples=25, deadline=None)
@given(WRITES)
def test_each_is_there_once_in_the_order_of_writing_as_it_was_first_written(writes):
    expected = {}
    # Waiting for the disk has a test of its own.
    with tempfile.TemporaryDirectory() as place, mock.patch("os.fsync"):
        folder = Path(place)
        for forecasts, left in writes:
            fresh = {one.identity: one for one in forecasts}
            new = {identity: one for identity, one in fresh.items() if identity not in expected}
            found = append_forecasts(folder, forecasts)
            assert (found.written, found.repeated) == (len(new), len(forecasts) - len(new))
            expected |= new
            if left and found.file.exists():
                found.file.write_bytes(found.file.read_bytes() + left)
        if expected:
            lines, repeated = read_journal(folder)
            assert [line.model_dump(exclude={"id", "written"}) for line in lines] == [
                one.model_dump() for one in expected.values()
            ]
            assert repeated == 0 and [line.id for line in lines] == list(expected)


def test_model_target_horizon_and_fact_are_the_identity_and_nothing_else_is():
    one, other = forecast(), MODEL.model_copy(update={"sha256": "c" * 64})
    changes = [{"model": other}, {"target": 6}, {"horizon": 2}, {"subject": "1"}, {"relation": "1"}, {"object": "0"}]
    assert len({forecast(**change).identity for change in [{}, *changes]}) == 7
    # Names do not run together.
    assert forecast(subject="ab", relation="c").identity != forecast(subject="a", relation="bc").identity
    same = [{"probability": 0.1}, {"expected": 3.0}, {"usual": None}, {"version": "9"}]
    assert {forecast(**change).identity for change in same} == {one.identity}
    # Seven days are 168 hours, however the time is written.
    days = forecast(unit="second", target="2026-01-05", horizon=7, step=86_400)
    hours = forecast(unit="second", target="2026-01-05T00:00", horizon=168, step=3600)
    assert days.identity == hours.identity and (days.begin, days.end) == (1_767_571_200, 1_768_176_000)


def test_a_repeat_on_another_day_is_a_repeat(tmp_path):
    found = append_forecasts(tmp_path, [forecast()])
    found.file.rename(tmp_path / "forecasts-2020-01-01.jsonl")
    again = append_forecasts(tmp_path, [forecast(), forecast(object="2")])
    assert (again.written, again.repeated) == (1, 1)
    assert [path.name for path in journal_files(tmp_path)] == ["forecasts-2020-01-01.jsonl", again.file.name]
    # Files of another host may hold the same forecast; it counts once.
    (tmp_path / "forecasts-2020-01-02.jsonl").write_bytes((tmp_path / "forecasts-2020-01-01.jsonl").read_bytes())
    lines, repeated = read_journal(tmp_path)
    assert ([line.object for line in lines], repeated) == (["1", "2"], 1)


def test_names_that_cannot_be_written_leave_the_journal_as_it_was(tmp_path):
    append_forecasts(tmp_path, [forecast()])
    bad = forecast(model=MODEL.model_copy(update={"name": "caf\udce9.npz"}), object="2")
    with pytest.raises(UnicodeEncodeError):
        append_forecasts(tmp_path, [forecast(object="3"), bad])
    assert len(read_journal(tmp_path).lines) == 1


DAMAGE = {
    "no json": (lambda line: b"{]}\n", "the line: invalid json"),
    "another document": (lambda line: b'{"id": "x"}\n', "model: field required"),
    "a probability above 1": (lambda line: line.replace(b"0.5", b"1.5"), "probability: input should be less than"),
    "no number": (lambda line: line.replace(b"0.5", b"NaN"), "probability"),
    "a forecast that was changed": (lambda line: line.replace(b'"0"', b'"7"'), "is not that of its forecast"),
    "no time": (lambda line: line.replace(b'"target": 5', b'"target": "soon"'), "expected a number"),
    "no time of writing": (lambda line: line.replace(b'"written": "20', b'"written": "xx'), "isoformat"),
    "a line without an end": (lambda line: b'{"id": "' + b"0" * 2**20, "a line of more than 1,048,576 bytes"),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_a_line_that_is_no_forecast_is_named(tmp_path, what):
    damage, said = DAMAGE[what]
    file = append_forecasts(tmp_path, [forecast(), forecast(object="2")]).file
    first, second = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(first + damage(second))
    with pytest.raises(DataError, match=said) as error:
        read_journal(tmp_path)
    assert str(error.value).startswith(f"{file}:2: ")


def test_a_writer_refuses_a_file_that_is_no_journal(tmp_path):
    (tmp_path / "forecasts-2020-01-01.jsonl").write_bytes(b"hello\n")
    with pytest.raises(DataError, match="forecasts-2020-01-01.jsonl:1: no line of a journal"):
        append_forecasts(tmp_path, [forecast()])
    assert len(journal_files(tmp_path)) == 1


def test_a_folder_without_a_journal_is_refused(tmp_path):
    for place in (tmp_path, tmp_path / "missing"):
        with pytest.raises(DataError, match="holds no journal of forecasts"):
            read_journal(place)


def test_a_writer_waits_for_the_lock(tmp_path, monkeypatch):
    taken = []

    class Lock:
        def __init__(self, path):
            taken.append(path)

        def __enter__(self):
            taken.append("locked")
            assert not list(tmp_path.glob("*.jsonl"))

        def __exit__(self, *_):
            taken.append(len(journal_files(tmp_path)))

    monkeypatch.setattr(forecast_journal, "exclusive_lock", Lock)
    append_forecasts(tmp_path, [forecast()])
    assert taken == [tmp_path / forecast_journal.LOCK, "locked", 1]


def test_times_are_seconds_or_numbers():
    assert [instant(time) for time in (7, "1970-01-02", "1970-01-01T00:01:00+00:00", "1970-01-01T01:00+01:00")] == [
        7,
        86_400,
        60,
        0,
    ]


def test_a_program_that_keeps_a_journal_loads_no_jax():
    code = "import sys, tirgn_eqx.data.forecast_journal; print('jax' in sys.modules)"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))}
    assert subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True).stdout == b"False\n"


def test_lines_begin_with_their_identity_and_are_plain_json(tmp_path):
    file = append_forecasts(tmp_path, [forecast(subject="Côte d'Ivoire\n")]).file
    text = file.read_text(encoding="utf-8")
    document = json.loads(text)
    assert text.startswith(f'{{"id": "{document["id"]}", "written": "') and "Côte" in text and text.count("\n") == 1
    assert document["subject"] == "Côte d'Ivoire\n" and file.name == f"forecasts-{document['written'][:10]}.jsonl"
