"""What the helper process answers about a table, and that its loop goes on after one that it cannot read."""

import gzip
import json
import subprocess
import sys

import polars as pl
import pytest

from tirgn_eqx.storage import table_probe_child
from tirgn_eqx.storage.table_probe_child import described, unpacked

TABLE = pl.DataFrame({"a": range(60), "b": [f"x{number}" for number in range(60)]})


def request(path, form="parquet", columns=None, most_rows=1000, most_bytes=1 << 20):
    return {"path": str(path), "form": form, "columns": columns, "most_rows": most_rows, "most_bytes": most_bytes}


@pytest.mark.parametrize("form", ["parquet", "arrow", "arrows"])
def test_a_table_of_every_form_is_described(tmp_path, form):
    path = tmp_path / "a* [1]"  # a name that polars may take for a pattern
    write = {"parquet": TABLE.write_parquet, "arrow": TABLE.write_ipc, "arrows": TABLE.write_ipc_stream}[form]
    with path.open("wb") as file:
        write(file)
    answer = described(request(path, form))
    assert answer == {"columns": {"a": "Int64", "b": "String"}, "rows": 60, "metadata": {}}


def test_only_metadata_of_this_package_are_told(tmp_path):
    TABLE.write_parquet(tmp_path / "a.parquet", metadata={"tirgn.x": "1", "pandas": "2"})
    answer = described(request(tmp_path / "a.parquet", columns=["a"]))
    assert answer == {"columns": {"a": "Int64", "b": "String"}, "rows": 60, "metadata": {"tirgn.x": "1"}}


def test_too_many_rows_and_bytes_are_refused_and_slices_are_summed(tmp_path, monkeypatch):
    monkeypatch.setattr(table_probe_child, "SLICE", 7)
    TABLE.write_parquet(tmp_path / "a.parquet")
    size = TABLE.select("a").estimated_size()
    for limits, words in (
        ({"most_rows": 60, "most_bytes": size}, None),
        ({"most_rows": 59}, "damaged: 60 rows, more than a file of this size may have"),
        ({"most_bytes": size - 1}, f"takes more than {size - 1:,} bytes of memory"),
    ):
        answer = described(request(tmp_path / "a.parquet", columns=["a"], **limits))
        assert answer.get("rows") == 60 if words is None else str(answer.get("error")).startswith(words)


def test_long_lists_are_read_few_at_a_time(tmp_path, monkeypatch):
    wide = pl.DataFrame({"scores": pl.Series([[0.5] * 100] * 10, dtype=pl.Array(pl.Float32, 100))})
    wide.write_parquet(tmp_path / "a.parquet")
    monkeypatch.setattr(table_probe_child, "SLICE_BYTES", 900)
    lengths, cut = [], pl.LazyFrame.slice
    monkeypatch.setattr(
        pl.LazyFrame, "slice", lambda frame, at, length: lengths.append(length) or cut(frame, at, length)
    )
    answer = described(request(tmp_path / "a.parquet"))
    assert answer.get("rows") == 10 and lengths == [1, *[2] * 5]  # the first to see that it has 400 bytes


@pytest.mark.parametrize("form", ["gz", "zst"])
def test_a_packed_text_is_as_long_as_it_unpacks_to(tmp_path, form):
    path, content = tmp_path / "a", b"a,b\n" * 1000
    packed = gzip.compress(content)
    if form == "zst":  # one block that holds its data as they are
        packed = b"\x28\xb5\x2f\xfd\xa0" + len(content).to_bytes(4, "little")
        packed += (len(content) << 3 | 1).to_bytes(3, "little") + content
    path.write_bytes(packed)
    assert unpacked(str(path), form, 4000) == {"columns": {}, "rows": 4000, "metadata": {}}
    assert unpacked(str(path), form, 3999) == {"error": "unpacks to more than 3,999 bytes"}


def test_a_name_that_is_no_text_is_refused():
    assert described(request("a\udcff")) == {"error": "its name is not UTF-8 text; rename it"}


def test_the_process_goes_on_after_a_table_that_it_cannot_read(tmp_path):
    TABLE.write_parquet(tmp_path / "a.parquet")
    (tmp_path / "bad.parquet").write_bytes(b"PAR1" + bytes(100) + b"PAR1")
    lines = [json.dumps(request(tmp_path / name)) for name in ("none.parquet", "bad.parquet", "a.parquet")]
    command = [sys.executable, "-P", table_probe_child.__file__]
    run = subprocess.run(command, input="\n".join(lines), capture_output=True, text=True, timeout=60, check=True)
    missing, bad, sound = map(json.loads, run.stdout.splitlines())
    assert set(missing) == set(bad) == {"error"} and sound["rows"] == 60
    assert all(answer["error"].isprintable() for answer in (missing, bad))
