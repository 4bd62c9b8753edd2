"""Hostile files: what a few bytes could claim, execute or steer; and readers against what chance makes of files."""

import gzip
import io
import json
import os
import pickle
import random
import tempfile
import tracemalloc
import warnings
import zipfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tirgn_eqx.checkpoint.files import load_checkpoint, save_checkpoint
from tirgn_eqx.checkpoint.released import read_state_dict
from tirgn_eqx.config import read_config
from tirgn_eqx.data import load_graph
from tirgn_eqx.data.readers.integer_text import read_text_blocks
from tirgn_eqx.errors import LONGEST, CheckpointError, ConfigError, DataError, DataWarning, TirgnError, one_line, shown
from tirgn_eqx.gdelt.sources import Source, Unreadable
from tirgn_eqx.gdelt.sources import read_blocks as read_raw
from tirgn_eqx.gdelt.verified import VerifiedFiles
from tirgn_eqx.storage.download import zip_trouble
from tirgn_eqx.storage.npz import read_arrays
from tirgn_eqx.storage.table_probe import check_parquet, kept
from tirgn_eqx.storage.untrusted import Unsound, parse_json
from tools.fuzz import damage, readers

# Those whose inputs take milliseconds; the others build models, and are fuzzed by the benchmark and below, slowly.
FAST = ("folder", "mapped", "events", "tables", "settings", "options", "lists", "record", "packed", "queries")


def fuzz(reader: str, chance: random.Random, seeds: list) -> None:
    files = damage.mutated(chance.choice(seeds), chance)
    with tempfile.TemporaryDirectory() as work:
        readers.attempt(reader, readers.write(files, Path(work) / "case"))


@pytest.mark.parametrize("reader", FAST)
def test_what_chance_makes_of_a_file_is_read_or_refused(reader):
    seeds = readers.SEEDS[reader]()

    @given(st.randoms(use_true_random=False))
    @settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
    def check(chance):
        fuzz(reader, chance, seeds)

    check()


@pytest.mark.slow
@pytest.mark.parametrize("reader", readers.SEEDS)
def test_many_that_chance_makes(reader):
    seeds = readers.SEEDS[reader]()
    for number in range(300):
        fuzz(reader, random.Random(f"slow/{reader}/{number}"), seeds)


def npz(*members: tuple[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    return damage.archived(list(members), method)


def npy(array: np.ndarray) -> bytes:
    return damage._npy(array)


def peak(function) -> int:
    """Bytes that `function` held at most."""
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def header(shape: str, descr: str = "<f8") -> bytes:
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (header("(1000000000000,)") + bytes(8), "says"),
        (header("(1000000000, 1000000000, 1000000000)"), "says"),
        (header("(0, 9999999999999999999)"), "says"),
        (header("(-1,)"), "header"),
        (header("(1,)", "|O") + bytes(8), "pickled"),
        (header("(1,)", "<U4") + bytes(16), "type"),
        (header("(1,)", "<f16") + bytes(16), "type"),
        (header("(" + "1," * 40 + ")") + bytes(8), "header"),
        (header("__import__('os').getcwd()") + bytes(8), "header"),
        (b"\x93NUMPY\x09\x00", "no format"),
        (pickle.dumps(damage.Evil()), "no format"),
    ],
)
def test_an_array_has_the_bytes_that_its_header_says(raw, words):
    def refused():
        with pytest.raises(Unsound, match=words):
            read_arrays(npz(("a.npy", raw)))

    assert peak(refused) < 1_000_000


@pytest.mark.parametrize(
    "array", [np.arange(6).reshape(2, 3).T, np.array(1.5, ">f4"), np.zeros((0, 3)), np.array([True])]
)
def test_sound_arrays_are_what_they_were(array):
    (found,) = read_arrays(npz(("a.npy", npy(array)))).values()
    assert found.dtype == array.dtype.newbyteorder("=") and found.shape == array.shape
    np.testing.assert_array_equal(found, array)


def test_archives_do_not_unpack_to_more_than_they_may(tmp_path):
    bomb = npz(("a.npy", npy(np.zeros(20_000_000, np.uint8))), method=zipfile.ZIP_DEFLATED)
    for packed, words in ((False, "compressed"), (True, None)):
        if words:
            with pytest.raises(Unsound, match=words):
                read_arrays(bomb, packed=packed)
    large = npz(*((f"{n}.npy", npy(np.zeros(20_000_000, np.uint8))) for n in range(4)), method=zipfile.ZIP_DEFLATED)
    assert peak(lambda: pytest.raises(Unsound, read_arrays, large, packed=True)) < 5_000_000
    with pytest.raises(Unsound, match="twice"):
        read_arrays(npz(("a.npy", npy(np.zeros(1))), ("a.npy", npy(np.ones(1)))))
    (tmp_path / "state.npz").write_bytes(large)
    with pytest.raises(CheckpointError, match="unpacks to"):
        read_state_dict(tmp_path / "state.npz")
    (tmp_path / "a.zip").write_bytes(large)
    assert "4 files" in zip_trouble(tmp_path / "a.zip")
    (tmp_path / "a.zip").write_bytes(npz(("a.CSV", bytes(80_000_000)), method=zipfile.ZIP_DEFLATED))
    assert peak(lambda: zip_trouble(tmp_path / "a.zip")) < 1_000_000
    assert "at most" in zip_trouble(tmp_path / "a.zip")


@pytest.mark.parametrize("name", ["a.zip", "a.csv.gz"])
def test_raw_bombs_are_left_in_time(tmp_path, name):
    content = bytes(100_000_000)
    packed = npz(("a.CSV", content), method=zipfile.ZIP_DEFLATED) if name == "a.zip" else gzip.compress(content)
    (tmp_path / name).write_bytes(packed)
    source = Source(tmp_path / name, name, len(packed))
    with pytest.raises(Unreadable, match="unpacks to more than"):
        list(read_raw(source, __import__("hashlib").sha256()))


def test_a_path_out_of_a_zip_is_only_a_name(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.zip").write_bytes(npz(("../../evil.csv", b"a\tb\n"), ("/tmp/evil\x1b[31m.csv", b"c\n")))
    with pytest.raises(DataError) as error:
        from tirgn_eqx.gdelt.ingest import ingest

        ingest([tmp_path / "in"], tmp_path / "out" / "made.parquet")
    assert str(error.value).isprintable()
    assert sorted(os.listdir(tmp_path)) == ["in", "out"]


def test_a_line_without_end_is_not_held(tmp_path):
    with (tmp_path / "train.txt").open("wb") as file:
        file.truncate(10 << 30)  # ten gigabytes of nothing, of which the disk holds none

    def refused():
        with pytest.raises(DataError, match=r"train.txt:1: a line of more than 65,536 bytes"):
            list(read_text_blocks(tmp_path / "train.txt", "split it"))

    assert peak(refused) < 64 << 20


def test_a_device_is_no_file(tmp_path):
    for name in ("train.txt", "m.npz", "run.toml"):
        (tmp_path / name).symlink_to("/dev/zero")
    with pytest.raises(DataError, match="a device or a pipe"):
        list(read_text_blocks(tmp_path / "train.txt", "give another"))
    with pytest.raises(CheckpointError, match="a device or a pipe"):
        load_checkpoint(tmp_path / "m.npz")
    with pytest.raises(ConfigError, match="a device or a pipe"):
        read_config(tmp_path / "run.toml")


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "9" * 5000])
def test_json_that_ends_no_recursion(text):
    with pytest.raises(ValueError, match="deep|digits"):
        parse_json(text)


def test_a_side_file_of_any_content_is_only_not_verified(tmp_path):
    path = save_checkpoint(tmp_path / "m", {"a": np.zeros(2)}, {})
    for text in ("[" * 100_000, " " * 3_000_000, '{"sha256": ' + "[" * 5000):
        path.with_suffix(".json").write_text(text)
        with pytest.warns(DataWarning, match="not verified"):
            assert load_checkpoint(path).metadata == {}


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, '{"files": {"a": []}}', '{"files": {"a": [1]}}', '{"files": []}', '{"files": {"a": [null]}}'],
)
def test_a_damaged_record_means_that_files_are_read_again(tmp_path, text):
    (tmp_path / "collected.json").write_text(text)
    VerifiedFiles.load(tmp_path / "collected.json").save(tmp_path / "collected.json")
    assert json.loads((tmp_path / "collected.json").read_text())["files"] == {}


def test_a_damaged_parquet_file_ends_no_process(tmp_path):
    """Of a few hundred files with flipped bytes, some make the reader abort; the helper is what dies of it."""
    seed, chance = readers.SEEDS["events"]()[0]["events.parquet"], random.Random(1)
    with kept():
        for _ in range(40):
            data = bytearray(seed)
            for _ in range(3):
                data[chance.randrange(len(data))] = chance.randrange(256)
            (tmp_path / "a.parquet").write_bytes(data)
            try:
                load_graph(tmp_path / "a.parquet", num_days=0)
            except DataError as error:
                assert str(error).isprintable()
    (tmp_path / "a.parquet").write_bytes(seed)
    assert check_parquet(tmp_path / "a.parquet").rows == 60


def test_a_table_that_says_more_rows_than_it_may_is_refused(tmp_path):
    pl.DataFrame({"a": pl.repeat(1, 3_000_000, dtype=pl.Int8, eager=True)}).write_parquet(tmp_path / "a.parquet")
    with pytest.raises(Unsound, match="3,000,000 rows"):
        check_parquet(tmp_path / "a.parquet")


def test_weights_run_no_code(tmp_path, monkeypatch):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    monkeypatch.chdir(tmp_path)
    for number, content in enumerate((damage.Evil(), {"state_dict": {"a": damage.Evil()}})):
        torch.save(content, tmp_path / f"{number}.pt")
        (tmp_path / f"{number}.pkl").write_bytes(pickle.dumps(content))
        for suffix in ("pt", "pkl"):
            with pytest.raises(CheckpointError, match="weights_only"):
                read_state_dict(tmp_path / f"{number}.{suffix}")
    assert not (tmp_path / damage.CANARY).exists()


def test_tensors_have_their_numbers_in_the_file(tmp_path):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    for value in (
        torch.zeros(1).expand(10**6, 10**6),
        torch.zeros(2).to_sparse(),
        "text",
        torch.zeros(2, device="meta"),
    ):
        torch.save({"a": value}, tmp_path / "a.pt")
        with pytest.raises(CheckpointError) as error:
            read_state_dict(tmp_path / "a.pt")
        assert str(error.value).isprintable() and "save" in str(error.value)
    torch.save({"a": torch.nn.Parameter(torch.ones(2)), "b": torch.ones(2, dtype=torch.bfloat16)}, tmp_path / "a.pt")
    assert {name: value.tolist() for name, value in read_state_dict(tmp_path / "a.pt").items()} == {
        "a": [1, 1],
        "b": [1, 1],
    }


def test_messages_are_one_line_and_not_endless():
    for kind in (DataError, ConfigError, CheckpointError, DataWarning):
        message = str(kind(f"a\nb\x1b[31m\u202e{'x' * 10**6}; do this"))
        assert message.isprintable() and len(message) < 2 * LONGEST and message.endswith("; do this")
    assert one_line("a\tb") == "a\\tb"
    assert len(one_line("\u202e" * 10**6)) < LONGEST + 10
    assert shown("a" * 100).endswith("...") and len(shown("a" * 100)) == 60
    assert shown(10**5000) == "a int too large to show"


def test_a_name_does_not_steer_the_screen(tmp_path):
    from rich.console import Console

    from tirgn_cli import tables

    evil = "\x1b]0;title\x07\x1b[2J[bold]<b>\n"
    out = io.StringIO()
    console = Console(file=out, width=200)
    console.print(tables.make_table(evil, ["a", "b"], [[evil, evil]], evil, text=["b"]))
    console.print(tables.make_pairs(evil, {evil: evil}))
    assert "\x1b" not in out.getvalue() and "\x07" not in out.getvalue()
    assert issubclass(TirgnError, Exception)


def test_metadata_that_nobody_can_use_are_named(tmp_path):
    from tirgn_eqx.checkpoint.metadata import CheckpointMetadata, parse_document

    good = {"num_entities": 1, "num_relations": 1, "entities": ["a"], "data": {"provenance": {"path": "data"}}}
    parse_document(CheckpointMetadata, good, tmp_path)
    for bad, words in (
        ({"num_entities": True}, "num_entities"),
        ({"entities": [1]}, "names"),
        ({"data": [1]}, "data"),
        ({"data": {"provenance": {"num_days": "3"}}}, "num_days"),
        ({"data": {"sha256": 3}}, "data"),
        ({"calibration": {"temperature": {"entity": float("nan")}}}, "calibration"),
        ({"calibration": {"temperature": [1]}}, "calibration"),
    ):
        with pytest.raises(CheckpointError, match=words):
            parse_document(CheckpointMetadata, good | bad, tmp_path)


def test_warnings_of_data_are_one_line():
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        warnings.warn("a\nb", DataWarning, stacklevel=1)
    assert str(found[0].message) == "a\\nb"
