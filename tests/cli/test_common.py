"""Data of a checkpoint, files to write, and meshes, as several commands need them."""

import shutil
import sys

import pytest

from tests.cli.cli_helpers import measured
from tirgn_cli.common import check_outputs, check_writable, choose_mesh, exit_on_lost_process, load_evaluation_graph
from tirgn_cli.options import ReadingFlags
from tirgn_eqx.data import load_graph
from tirgn_eqx.errors import CheckpointError, ConfigError


def test_other_facts_than_those_trained_on_are_said_loudly(run, trained, checkpoint, folder):
    test = folder / "test.txt"
    test.write_text(test.read_text().replace("0\t1\t2\t9\n", "0\t1\t3\t9\n"))
    result = run("eval", checkpoint, "--data-path", folder, "--json")
    assert measured(result)["checksum_matches"] is False
    assert result.stderr.startswith("warning: CHECKSUM DIFFERS")
    assert result.stderr.count("\n") == 1


def test_data_of_another_size_or_place(run, trained, checkpoint, folder):
    result = run("eval", checkpoint, "--data-path", "sim")
    assert result.exit_code == 1
    assert "has 100 entities" in result.stderr and "was trained with 6" in result.stderr
    place = trained[0]
    (place / "tiny").rename(place / "moved")
    try:
        result = run("eval", checkpoint)
    finally:
        (place / "moved").rename(place / "tiny")
    assert result.exit_code == 1
    assert "--data-path" in result.stderr and result.stderr.count("\n") == 1


def test_a_copied_event_table_is_read_as_the_one_trained_on(events, tmp_path):
    graph = load_graph(events, granularity="hour", num_days=0)
    copy = shutil.copy(events, tmp_path / "copy.parquet")

    def checksum(data_path, **reading):
        checkpoint = tmp_path / "x.npz"  # for messages alone
        return load_evaluation_graph(checkpoint, data_path, graph.provenance, ReadingFlags(**reading)).checksum

    assert checksum(str(copy)) == graph.checksum
    assert checksum(None) == graph.checksum
    assert checksum(str(copy), granularity="15min") != graph.checksum


def test_a_checkpoint_that_names_no_data_asks_for_them(tmp_path):
    with pytest.raises(CheckpointError, match=r"x\.npz: does not say where its data came from; give --data-path"):
        load_evaluation_graph(tmp_path / "x.npz", None, {}, ReadingFlags())


def test_a_place_to_write_is_made_or_refused_before_the_work(tmp_path):
    check_writable(tmp_path / "new" / "page.html")
    assert (tmp_path / "new").is_dir() and not list((tmp_path / "new").iterdir())
    check_writable(tmp_path, folder=True)
    with pytest.raises(ConfigError, match="a folder, a device, or in a place without permission"):
        check_writable(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot be written"):
        check_writable(tmp_path / "file" / "below")
    with pytest.raises(ConfigError, match="a file, or in a place without permission"):
        check_writable(tmp_path / "file", folder=True)


def test_an_output_is_neither_read_nor_written_twice(tmp_path):
    table, npz, side = (tmp_path / name for name in ("a.parquet", "best.npz", "best.json"))
    for path in (table, npz, side):
        path.touch()
    (tmp_path / "link.parquet").symlink_to(table)
    made = tmp_path / "new" / "made.parquet"
    # What is not there, names no file, or is a folder cannot be written over.
    for read in (None, "sim", "recurrency", made, tmp_path, "a\0b"):
        check_outputs({"--out": made, "--other": None}, read)
    assert made.parent.is_dir() and not made.exists()
    # A checkpoint is two files, by whichever name it is given.
    for out, read in (
        (table, table),
        (table, str(tmp_path / "new" / ".." / "a.parquet")),
        (tmp_path / "link.parquet", table),
        (npz, npz),
        (side, npz),
        (npz, side),
        (npz, tmp_path / "best"),
    ):
        with pytest.raises(ConfigError, match="^--out .*: is read and would be written over; name another file$"):
            check_outputs({"--out": out}, None, tmp_path, read)
    for one in (made, tmp_path / "new" / ".." / "new" / "made.parquet"):
        with pytest.raises(ConfigError, match="^--b .*made.parquet: is the file of --a, too; name another one$"):
            check_outputs({"--a": made, "--b": one})
    with pytest.raises(ConfigError, match="cannot be written"):
        check_outputs({"--out": tmp_path})


def test_no_device_of_another_process_is_left_out(monkeypatch):
    assert choose_mesh(None, None) is None
    monkeypatch.setattr("jax.device_count", lambda: 4)
    monkeypatch.setattr("jax.process_count", lambda: 2)
    shape = choose_mesh(None, "localhost:1234")
    assert shape is not None and shape.devices == 4
    with pytest.raises(ConfigError, match="2 processes have 4 devices, and all of them must be used"):
        choose_mesh("data=2", "localhost:1234")


def test_a_lost_process_ends_this_one(monkeypatch, capsys):
    monkeypatch.setattr("os._exit", sys.exit)
    with pytest.raises(SystemExit, match="1"):
        exit_on_lost_process(3)
    assert capsys.readouterr().err.startswith("error: process 3 was lost; start all of them again")
