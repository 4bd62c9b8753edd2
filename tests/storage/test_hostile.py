"""Hostile files: what a few bytes could claim, execute or steer; and readers against what chance makes of files."""

import gzip
import io
import json
import os
import pickle
import random
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.storage.archives import archive, peak
from tirgn_eqx.checkpoint.files import load_checkpoint, save_checkpoint
from tirgn_eqx.checkpoint.released import read_state_dict
from tirgn_eqx.config import read_config
from tirgn_eqx.data.readers.integer_text import read_text_blocks
from tirgn_eqx.errors import CheckpointError, ConfigError, DataError, DataWarning, TirgnError
from tirgn_eqx.gdelt.verified import VerifiedFiles
from tirgn_eqx.ingest.sources import Source, Unreadable
from tirgn_eqx.ingest.sources import read_blocks as read_raw
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


@pytest.mark.parametrize("name", ["a.zip", "a.csv.gz"])
def test_raw_bombs_are_left_in_time(tmp_path, name):
    content = bytes(100_000_000)
    packed = archive(("a.CSV", content), method=zipfile.ZIP_DEFLATED) if name == "a.zip" else gzip.compress(content)
    (tmp_path / name).write_bytes(packed)
    source = Source(tmp_path / name, name, len(packed))
    with pytest.raises(Unreadable, match="unpacks to more than"):
        list(read_raw(source, __import__("hashlib").sha256()))


def test_a_path_out_of_a_zip_is_only_a_name(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.zip").write_bytes(archive(("../../evil.csv", b"a\tb\n"), ("/tmp/evil\x1b[31m.csv", b"c\n")))
    with pytest.raises(DataError) as error:
        from tirgn_eqx.ingest.api import ingest

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
