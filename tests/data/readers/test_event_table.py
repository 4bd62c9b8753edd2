"""The four columns of event tables as one frame: names of every type, rows that lack something, frames."""

from typing import Any

import polars as pl
import pytest

from tests.data.readers.table_helpers import ROLES, START, dated, frame, read, rows, write, written
from tirgn_eqx.data import load_graph
from tirgn_eqx.errors import DataError, DataWarning
from tirgn_eqx.storage.table_probe import kept


@pytest.fixture(autouse=True, scope="module")
def helper():
    with kept():
        yield


def test_parts_that_differ(tmp_path):
    table = frame()
    write(tmp_path, table.cast({"timestamp": pl.Datetime("ns"), "entity1": pl.Categorical}), "a/1.parquet")
    write(tmp_path, table.select(reversed(ROLES)), "a/2.parquet")
    write(tmp_path, table.head(0), "a/3.parquet")
    assert read(tmp_path / "a").num_facts == 120
    write(tmp_path, table.rename({"entity1": "subject"}), "a/4.parquet")
    with pytest.raises(DataError, match=r"4.parquet: has no column 'entity1' for entity1"):
        read(tmp_path / "a")
    (tmp_path / "a" / "4.parquet").write_bytes(b"")
    with pytest.raises(DataError, match=r"4.parquet: not a readable parquet file"):
        read(tmp_path / "a")
    write(tmp_path, table.with_columns(timestamp=pl.lit("2021-03-01")), "a/4.parquet")
    with pytest.raises(DataError, match=r"4.parquet: column timestamp has type String, but Datetime.* in 1.parquet"):
        read(tmp_path / "a")
    write(tmp_path, table.with_columns(entity2=pl.Series([*["x"] * 9, None, *["x"] * 50])), "a/4.parquet")
    with pytest.raises(DataError, match=r"column entity2 has 1 null values, first in row 10 of 4.parquet"):
        read(tmp_path / "a")


NAMES = {
    "text": lambda c: c,
    "categories": lambda c: c.cast(pl.Categorical),
    "enum": lambda c: c.cast(pl.Enum(c.unique().sort())),
    "bytes": lambda c: c.cast(pl.Binary),
    "numbers": lambda c: c.str.slice(1).cast(pl.Int64),
    "short numbers": lambda c: c.str.slice(1).cast(pl.UInt8),
    "whole floats": lambda c: c.str.slice(1).cast(pl.Float64),
    "short floats": lambda c: c.str.slice(1).cast(pl.Float32),
    "decimals": lambda c: c.str.slice(1).cast(pl.Decimal(38, 0)),
    "large numbers": lambda c: c.str.slice(1).cast(pl.Int64) + 2**60,
}


@pytest.mark.parametrize("kind", NAMES)
@pytest.mark.parametrize("suffix", [".parquet", ".arrow", ".arrows"])
def test_names_of_every_type(tmp_path, kind, suffix):
    make = NAMES[kind]
    table = frame().with_columns(entity1=make(frame()["entity1"]), entity2=make(frame()["entity2"]))
    named = {
        "text": str,
        "categories": str,
        "enum": str,
        "bytes": str,
        "large numbers": lambda n: str(int(n[1:]) + 2**60),
    }
    named = named.get(kind, lambda n: n[1:])
    expected = [(named(s), r, named(o), t) for s, r, o, t in rows()]
    assert dated(read(write(tmp_path, table, f"a{suffix}"))) == written(expected)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            pl.Series([b"a", b"\xff\xfe"] * 30),
            r"column entity1 has bytes that are not UTF-8, first b'\\xff\\xfe' in row 2",
        ),
        (pl.Series([1.0, 2.5] * 30), r"no whole numbers, first 2.5 in row 2"),
        (pl.Series([1.0, float("inf")] * 30), r"no whole numbers, first inf in row 2"),
        (pl.Series([1.0, float("nan")] * 30), r"30 null values, first in row 2"),
        (pl.Series([2.0**60, 1.0] * 30), r"no whole numbers, first 1.15.*e\+18 in row 1"),
        (pl.Series([True, False] * 30), r"type Boolean; expected names as text, or whole numbers"),
        (pl.Series([["a"], []] * 30), r"type List\(String\); expected names"),
        (pl.Series([None, None] * 30), r"column entity1 has 60 null values, first in row 1"),
        (pl.Series(["a", " \t"] * 30), r"column entity1 has 30 empty values, first in row 2"),
    ],
)
def test_names_that_are_none(tmp_path, name, message):
    path = write(tmp_path, frame().with_columns(entity1=name), "a.parquet")
    with pytest.raises(DataError, match=message):
        read(path)


def test_names_with_line_breaks_are_read_and_doubted(tmp_path):
    facts = [*rows(), ("two\nlines", "010", "E1", START)]
    path = write(tmp_path, frame(facts), "a.csv")
    with pytest.warns(
        DataWarning, match=r"1 names have a line break in them, first 'two\\nlines' as entity1 in row 61"
    ):
        assert dated(read(path)) == written(facts)


def test_rows_that_lack_something_are_set_aside_and_counted(tmp_path):
    facts = [(None, *rows()[0][1:]), *rows(), (*rows()[0][:3], None), ("", *rows()[0][1:]), ("a", " ", "b", START)]
    path = write(tmp_path, frame(facts), "a.parquet")
    with pytest.raises(DataError, match=r"column entity1 has 1 null values, first in row 1 .*--skip-bad-rows"):
        read(path)
    graph = load_graph(path, num_days=0, granularity="15min", skip_bad_rows=True)
    assert dated(graph) == written(rows())
    assert graph.read is not None and (graph.read.lines, graph.read.bad, graph.read.facts) == (64, 4, 60)
    assert graph.provenance["skip_bad_rows"] is True
    assert load_graph(**graph.provenance).checksum == graph.checksum
    days = pl.Series([20210301 + i % 20 for i in range(59)] + [0])
    path = write(tmp_path, frame().with_columns(timestamp=days), "b.parquet")
    graph = read(path, skip_bad_rows=True)
    assert graph.read is not None and (graph.read.bad, graph.read.facts) == (1, 59)
    assert graph.read.times == "YYYYMMDD, 2021-03-01 to 2021-03-20"
    path = write(tmp_path, frame().with_columns(entity1=pl.lit(None, pl.String)), "c.parquet")
    with pytest.raises(DataError, match="all 60 rows lack a name or a time"):
        read(path, skip_bad_rows=True)


def test_frames_of_polars(tmp_path):
    expected = written(rows())
    for table in (frame(), frame().lazy(), frame().rename({"entity1": "subject", "entity2": "object"})):
        graph = load_graph(table, num_days=0, granularity="15min")
        assert dated(graph) == expected and graph.provenance["kind"] == "frame" and graph.name == "events"
    graph = load_graph(frame(), num_days=0, granularity="15min")
    assert dated(graph) == expected
    assert dated(load_graph(write(tmp_path, frame(), "a.csv"), num_days=0, granularity="15min")) == expected
    with pytest.raises(DataError, match=r"these data were a DataFrame in memory, .* give it with --data-path"):
        load_graph(**graph.provenance)
    with pytest.raises(DataError, match=r"the table: missing columns entity1; found who"):
        load_graph(frame().rename({"entity1": "who"}))
    assert load_graph(frame(), name="mine").name == "mine"


class LikePandas:
    """What pandas shows of a DataFrame, as far as it is used."""

    def __init__(self, columns: dict[str, Any]):
        self._columns = columns
        self.columns = list(columns)

    def __getitem__(self, name: str) -> Any:
        import numpy as np

        values = self._columns[name]
        values = values if isinstance(values, np.ndarray) else np.array(values, object)

        class Column:
            dtype = values.dtype
            to_numpy = staticmethod(lambda: values)

        return Column()


class NAType:
    """What pandas has for a value that is not available."""

    def __eq__(self, other):
        return self

    __hash__ = None  # pyright: ignore

    def __bool__(self):
        raise TypeError("boolean value of NA is ambiguous")


def test_frames_like_those_of_pandas():
    import numpy as np

    columns: dict[str, Any] = {name: [row[i] for row in rows()] for i, name in enumerate(ROLES)}
    columns["timestamp"] = np.array(columns["timestamp"], "M8[ns]")
    assert dated(load_graph(LikePandas(columns), num_days=0, granularity="15min")) == written(rows())
    for nothing in (None, float("nan"), NAType()):
        lacking = LikePandas(columns | {"entity1": [nothing, *columns["entity1"][1:]]})
        with pytest.raises(DataError, match="the table: column entity1 has 1 null values, first in row 1"):
            load_graph(lacking)
    nat = columns["timestamp"].copy()
    nat[3] = np.datetime64("NaT")
    with pytest.raises(DataError, match="column timestamp has 1 null values, first in row 4"):
        load_graph(LikePandas(columns | {"timestamp": nat}))
    with pytest.raises(DataError, match=r"column entity1 has values of several types \(int, str\); make them all text"):
        load_graph(LikePandas(columns | {"entity1": [1, *columns["entity1"][1:]]}))


def test_frames_of_pandas():
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    table = pandas.DataFrame(rows(), columns=list(ROLES))
    zoned = table.assign(timestamp=table["timestamp"].dt.tz_localize("UTC").dt.tz_convert("Asia/Tokyo"))
    nullable = table.assign(entity1=table["entity1"].astype("string"), relation=table["relation"].astype("category"))
    for version in (table, zoned, nullable):
        assert dated(load_graph(version, num_days=0, granularity="15min")) == written(rows())
    lacking = nullable.assign(entity1=nullable["entity1"].mask(nullable.index == 3))
    with pytest.raises(DataError, match="column entity1 has 1 null values, first in row 4"):
        load_graph(lacking)
