"""The helper process: damaged tables end no process, and none may claim too much."""

import random

import polars as pl
import pytest

from tirgn_eqx.data import load_graph
from tirgn_eqx.errors import DataError
from tirgn_eqx.storage import table_probe
from tirgn_eqx.storage.table_probe import check_parquet, kept
from tirgn_eqx.storage.untrusted import Unsound
from tools.fuzz import readers


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


def test_a_table_is_described(tmp_path):
    pl.DataFrame({"a": [1, 2], "b": ["x", None]}).write_parquet(tmp_path / "a.parquet")
    found = check_parquet(tmp_path / "a.parquet", ["a", "no such column"])
    assert (found.columns, found.rows, found.metadata) == ({"a": "Int64", "b": "String"}, 2, {})
    for name in ("none.parquet", "."):
        with pytest.raises(OSError):
            check_parquet(tmp_path / name)
    (tmp_path / "a.parquet").write_bytes(b"no table")
    with pytest.raises(Unsound):
        check_parquet(tmp_path / "a.parquet")


def test_one_helper_serves_several_tables_and_ends_after_them(tmp_path):
    pl.DataFrame({"a": [1]}).write_parquet(tmp_path / "a.parquet")
    with kept(), kept():
        check_parquet(tmp_path / "a.parquet")
        process = table_probe._helper()._process
        assert process is not None and process.poll() is None
        check_parquet(tmp_path / "a.parquet")
        assert table_probe._helper()._process is process
    assert process.poll() is not None and table_probe._helper()._process is None


def test_a_helper_that_takes_too_long_is_ended_and_the_next_one_answers(tmp_path, monkeypatch):
    pl.DataFrame({"a": [1]}).write_parquet(tmp_path / "a.parquet")
    with kept():
        with monkeypatch.context() as patch:
            patch.setattr(table_probe, "_SECONDS", -1.0)
            with pytest.raises(Unsound, match="takes too long"):
                check_parquet(tmp_path / "a.parquet")
        assert check_parquet(tmp_path / "a.parquet").rows == 1
