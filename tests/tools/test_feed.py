"""The feed of a soak: what is published is what a table must hold."""

import polars as pl
import pytest

from tirgn_eqx.ingest.api import ingest
from tools.chaos.feed import FILES_A_DAY, World, table_facts


class Folder:
    """Takes the place of the server."""

    def __init__(self, folder):
        self.folder = folder
        (folder / "gdeltv2").mkdir(parents=True)

    def publish(self, name, content):
        (self.folder / "gdeltv2" / f"{name}.zip").write_bytes(content)
        (self.folder / name).write_bytes(content)


def test_a_table_of_a_week_holds_the_facts_that_were_served(tmp_path):
    world = World(Folder(tmp_path / "server"), seed=0)
    world.publish_week()
    files = sorted((tmp_path / "server").glob("*.export.CSV"))
    assert len(files) == 7 * FILES_A_DAY == len(world.sums) and world.last_day == "2016-01-10"
    report = ingest(files, tmp_path / "events.parquet")
    assert table_facts(tmp_path / "events.parquet") == world.facts
    # With all that a real feed has of dirt.
    assert report.rows["malformed"] and report.rows["no_actor"] and report.rows["repeated_ids"]
    assert report.events.repeated_facts


def test_a_fact_that_is_there_twice_is_no_table_of_facts(tmp_path):
    columns = {"entity1": ["A"] * 2, "relation": ["r"] * 2, "entity2": ["B"] * 2, "timestamp": [0] * 2}
    pl.DataFrame(columns).write_parquet(tmp_path / "a.parquet")
    with pytest.raises(ValueError, match="1 facts are there twice"):
        table_facts(tmp_path / "a.parquet")
