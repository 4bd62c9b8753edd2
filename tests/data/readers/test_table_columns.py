"""Which column holds each role: as it is said, or by well-known names, or refused as unclear."""

import json

import polars as pl
import pytest

from tests.data.readers.table_helpers import LAYOUTS, ROLES, dated, frame, read, rows, write, written
from tirgn_eqx.data import load_graph
from tirgn_eqx.errors import ConfigError, DataError
from tirgn_eqx.storage.table_probe import kept


@pytest.fixture(autouse=True, scope="module")
def helper():
    with kept():
        yield


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", ["a.csv", "a.ndjson", "a.parquet"])
def test_well_known_columns_are_taken_and_said(tmp_path, layout, name, caplog):
    caplog.set_level("INFO", "tirgn_eqx")
    table = frame().rename(dict(zip(ROLES, layout))).with_columns(extra=pl.lit(1))
    path = write(tmp_path, table.select(table.columns[::-1]), name)
    columns = {"timestamp": "sent_time"} if layout[3] == "sent_time" else None
    assert dated(read(path, columns=columns)) == written(rows())
    said = [f"{role} = {name}" for role, name in zip(ROLES, layout) if name not in (role, (columns or {}).get(role))]
    assert f"columns: {', '.join(said)}" in caplog.messages
    assert any(message.startswith("times: ") and "2021-03-01 to 2021-03-" in message for message in caplog.messages)


def test_canonical_columns_come_first_and_are_not_said(tmp_path, caplog):
    caplog.set_level("INFO", "tirgn_eqx")
    table = frame().with_columns(subject=pl.lit("x"), object=pl.lit("y"), time=pl.lit(1), event=pl.lit("z"))
    assert dated(read(write(tmp_path, table, "a.parquet"))) == written(rows())
    assert [message.split(":")[0] for message in caplog.messages] == ["times"]


@pytest.mark.parametrize(
    ("names", "columns", "message"),
    [
        ({"entity1": "who"}, None, r"missing columns entity1; found who, .*--columns entity1=NAME"),
        (
            {"entity1": "subject", "entity2": "object", "extra": "source", "more": "target"},
            None,
            r"several pairs .*subject and object; source and target; say which with --columns entity1=subject,ent",
        ),
        ({"timestamp": "date", "extra": "time"}, None, r"columns time, date may each be the timestamp; say which with"),
        ({"relation": "event", "extra": "verb"}, None, r"columns event, verb may each be the relation"),
        (
            {"entity1": "subject", "entity2": "object", "extra": "Subject"},
            None,
            r"subject, Subject may each be the entity1",
        ),
        ({}, "entity1=nobody", r"has no column 'nobody' for entity1; found entity1, rel"),
        ({}, {"entity1": "entity2"}, r"missing columns entity2; found"),
        ({}, {"entity1": "extra", "entity2": "extra"}, r"column 'extra' cannot have two roles"),
    ],
)
def test_columns_that_are_not_clear(tmp_path, names, columns, message):
    table = frame().with_columns(extra=pl.lit("a"), more=pl.lit("b")).rename(names)
    with pytest.raises(DataError, match=message):
        read(write(tmp_path, table, "a.parquet"), columns=columns)


def test_columns_that_are_given(tmp_path):
    names = {"entity1": "who", "relation": "did what", "entity2": "to whom", "timestamp": "moment"}
    path = write(tmp_path, frame().rename(names), "a.csv")
    for columns in (names, "entity1=who, relation=did what,entity2=to whom,timestamp=moment"):
        graph = read(path, columns=columns)
        assert dated(graph) == written(rows())
        assert load_graph(**json.loads(json.dumps(graph.provenance))).checksum == graph.checksum
    swapped = read(path, columns=names | {"entity1": "to whom", "entity2": "who"})
    assert dated(swapped) == written([(o, r, s, t) for s, r, o, t in rows()])
    for columns, message in {
        "who=entity1": r"'who' does not exist; known: entity1, relation",
        "entity1": r"'entity1' is not role=column; write it like --columns entity1=subject",
        "entity1=a,entity1=b": "entity1 is given twice",
    }.items():
        with pytest.raises(ConfigError, match=message):
            read(path, columns=columns)
