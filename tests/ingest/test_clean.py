"""Which rows become events: the filters at their limits, and the list of generic actors."""

import polars as pl
import pytest

from tests.ingest.ingest_helpers import ingest
from tests.ingest.raw_rows import raw
from tirgn_eqx.ingest.gdelt_rows import GENERIC_ACTORS
from tirgn_eqx.ingest.options import IngestOptions


def kept(tmp_path, rows, **options):
    """GlobalEventIDs of the table that is made of rows."""
    (tmp_path / "a.csv").write_bytes(b"".join(rows))
    report = ingest([tmp_path / "a.csv"], tmp_path / "events.parquet", IngestOptions(**options))
    return pl.read_parquet(tmp_path / "events.parquet")["GlobalEventID"].to_list(), report["rows"]


@pytest.mark.parametrize(("least", "expected"), [(0, [1, 2, 3]), (4, [1, 2, 3]), (5, [2, 3]), (6, [3])])
def test_as_many_mentions_as_asked_for_are_enough(tmp_path, least, expected):
    rows = [raw(1 + n, NumMentions=str(4 + n), Actor1Name=f"A{n}") for n in range(3)]
    found, counts = kept(tmp_path, rows, min_mentions=least)
    assert found == expected and counts["few_mentions"] == 3 - len(expected)


def test_an_event_without_either_actor_is_none(tmp_path):
    rows = [raw(1), raw(2, Actor1Name=""), raw(3, Actor2Name=" "), raw(4, Actor1Name="", Actor2Name="")]
    found, counts = kept(tmp_path, rows)
    assert found == [1] and counts["no_actor"] == 3


def test_generic_actors_are_names_as_the_table_has_them(tmp_path):
    assert {"POLICE", "GOVERNMENT", "PRESIDENT"} <= GENERIC_ACTORS and len(GENERIC_ACTORS) > 150
    assert all(name == " ".join(name.split()).upper() for name in GENERIC_ACTORS)
    path = tmp_path / "a.csv"
    path.write_bytes(raw(1, Actor1Name=" police") + raw(2, Actor2Name="MAYOR") + raw(3))
    report = ingest([path], tmp_path / "events.parquet", IngestOptions(drop_generic_actors=True))
    assert (report["rows"]["generic_actor"], report["rows"]["accepted"]) == (2, 1)
