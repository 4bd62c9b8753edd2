"""The event table on disk: what it records of itself, and that it is written and read in order, part by part."""

import datetime as dt
import json

import polars as pl
import pytest

from tirgn_eqx.errors import ConfigError
from tirgn_eqx.ingest import table
from tirgn_eqx.ingest.documents import TableState, TimesSeen
from tirgn_eqx.ingest.gdelt_rows import GDELT
from tirgn_eqx.ingest.options import IngestOptions
from tirgn_eqx.ingest.table import METADATA, read_frames, read_ids, read_state, write_table

OPTIONS = IngestOptions()
SCHEMA = GDELT.schema(OPTIONS)
STATE = TableState(options=OPTIONS.to_dict(), sources=[("a.csv", 3, "0" * 64)], seen=TimesSeen(days=[(18_262, 18_263)]))


def events(begin: int, end: int) -> pl.DataFrame:
    """Events with the ids from `begin` to `end`, one a minute."""
    columns = dict.fromkeys(SCHEMA, None) | {
        "entity1": [f"ACTOR {number % 3}" for number in range(begin, end)],
        "timestamp": [dt.datetime(2020, 1, 1) + dt.timedelta(minutes=number) for number in range(begin, end)],
        "GlobalEventID": list(range(begin, end)),
    }
    return pl.DataFrame(columns, schema=SCHEMA)


def write(path, *frames, state=STATE):
    write_table(path, lambda: iter(frames), SCHEMA, state)
    return path


def test_a_table_gives_back_its_events_and_its_record(tmp_path):
    path = write(tmp_path / "events.parquet", events(0, 4), events(4, 9))
    assert pl.concat(read_frames(path)).equals(events(0, 9))
    assert read_state(path, OPTIONS, GDELT) == STATE


def test_parts_are_the_row_groups_in_order(tmp_path, monkeypatch):
    monkeypatch.setattr(table, "ROW_GROUP", 4)
    monkeypatch.setattr(table, "_IDS_AT_ONCE", 3)
    path = write(tmp_path / "events.parquet", events(0, 10))
    assert [frame.height for frame in read_frames(path)] == [4, 4, 2]
    ids = list(read_ids(path, GDELT))
    assert [len(some) for some in ids] == [3, 3, 3, 1] and [i for some in ids for i in some] == list(range(10))


def test_a_name_with_signs_of_a_pattern_is_one_file(tmp_path):
    path = write(tmp_path / "events[1]*.parquet", events(0, 3))
    write(tmp_path / "events1.parquet", events(5, 6))
    assert pl.concat(read_frames(path))["GlobalEventID"].to_list() == [0, 1, 2]


def test_where_there_is_no_table_there_is_no_record(tmp_path):
    assert read_state(tmp_path / "events.parquet", OPTIONS, GDELT) is None


def test_all_options_that_differ_are_named(tmp_path):
    path = write(tmp_path / "events.parquet", events(0, 2))
    with pytest.raises(ConfigError, match=r"made with time = 'added', not 'day'; min_mentions = 0, not 5; give the"):
        read_state(path, IngestOptions(time="day", min_mentions=5), GDELT)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"format": 0}, "was not made by this version"),
        ({"rejects_bytes": -1}, "damaged or not of this table"),
        ({"sources": [["a.csv", "3", ""]]}, "damaged or not of this table"),
        ({"seen": {"days": [[2, 1]]}}, "damaged or not of this table"),
        ({"seen": {"days": [[0, 10**7]]}}, "damaged or not of this table"),
    ],
)
def test_a_record_that_cannot_be_true_is_refused(tmp_path, change, text):
    document = json.dumps(STATE.model_dump(mode="json") | change)
    path = tmp_path / "events.parquet"
    events(0, 2).write_parquet(path, metadata={METADATA: document})
    with pytest.raises(ConfigError, match=text):
        read_state(path, OPTIONS, GDELT)


def test_a_record_over_other_columns_is_refused(tmp_path):
    path = tmp_path / "events.parquet"
    frame = events(0, 2).drop("AvgTone")
    frame.write_parquet(path, metadata={METADATA: json.dumps(STATE.model_dump(mode="json"))})
    with pytest.raises(ConfigError, match="damaged or not of this table"):
        read_state(path, OPTIONS, GDELT)


def test_what_the_events_raise_is_raised_as_it_is(tmp_path):
    """polars before version 2 puts it into an error of its own, which the command cannot tell from a fault."""

    def frames():
        yield events(0, 2)
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left on device"):
        write_table(tmp_path / "events.parquet", frames, SCHEMA, STATE)
