"""The fuzzers: valid files are read, an input is the same each time, and what became of inputs is counted."""

import json
import random
import shutil

import pytest

from tools.fuzz import damage, readers, run
from tools.fuzz.run import Told


def test_every_reader_has_a_share_and_valid_files():
    assert readers.ACTS.keys() == readers.SEEDS.keys() == readers.SHARES.keys()
    assert sum(readers.SHARES.values()) >= run.COUNT


@pytest.mark.parametrize("reader", [name for name in readers.SEEDS if name not in ("checkpoint", "state", "study")])
def test_what_is_not_damaged_is_read(reader, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number, files in enumerate(readers.SEEDS[reader]()):
        outcome = readers.attempt(reader, readers.write(files, tmp_path / str(number)))
        # Each line of options is one for one of its readers, and none for the others.
        assert outcome == ("read", "") or reader == "options"


@pytest.mark.ci
@pytest.mark.parametrize("reader", ["checkpoint", "state", "study"])
def test_what_takes_longer_to_make_is_read(reader, tmp_path):
    for number, files in enumerate(readers.SEEDS[reader]()):
        assert readers.attempt(reader, readers.write(files, tmp_path / str(number))) == ("read", "")


def test_an_input_is_decided_by_seed_reader_and_number():
    seeds = readers.SEEDS["lists"]()
    first = run.case(seeds, 1, "lists", 5)
    assert first == run.case(seeds, 1, "lists", 5)
    assert any(first != run.case(seeds, *other) for other in ((2, "lists", 5), (1, "raw", 5), (1, "lists", 6)))


@pytest.mark.parametrize("name", ["a.json", "a.txt", "a.npz", "a.zip", "a.gz", "a.parquet"])
def test_damage_of_any_bytes_is_bytes(name):
    """Also where the file is not of the form that its name promises."""
    for number in range(30):
        files = damage.mutated({name: random.Random(number).randbytes(50)}, random.Random(number))
        assert files.keys() == {name} and isinstance(files[name], bytes)


def test_outcomes_are_counted_with_the_slowest_and_the_largest():
    told = [
        Told(0, "read", "", 0.5, peak=10, bytes=3),
        Told(1, "DataError", "a.txt: too short", 2.0, peak=30, bytes=4),
        Told(2, "DataError", "b.txt: too short", 1.0, peak=20),
    ]
    found = run.summarize(told)
    assert (found.inputs, found.bytes, found.seconds, found.peak_rss_bytes) == (3, 7, 3.5, 30)
    assert found.outcomes == {"DataError": 2, "read": 1} and tuple(found.slowest) == (1, 2.0)
    assert found.distinct_messages == 2  # without the name of the file; none is one as well


def test_a_counterexample_is_kept_and_read_again(tmp_path, capsys):
    seeds = readers.SEEDS["lists"]()
    kept = run.keep(tmp_path, "lists", 3, Told(4, "fault", "it hangs"), seeds)
    files, folder = run.case(seeds, 3, "lists", 4)
    what = json.loads((kept / "case.json").read_text())
    assert (what["number"], what["folder"], what["fault"]) == (4, folder, "it hangs")
    assert {path.name: path.read_bytes() for path in (kept / "files").iterdir()} == files
    run.again(kept)
    assert capsys.readouterr().out.split()[0] in ("read", "DataError")
    shutil.rmtree(kept)
