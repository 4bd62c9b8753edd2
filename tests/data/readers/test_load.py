"""One entry for every form of data: which reader a path gets, and what is said of options without meaning."""

import re
from pathlib import Path

import pytest

from tirgn_eqx.data import ReadingOptions, load_graph, map_data, simulate, write_events, write_folder
from tirgn_eqx.data.readers.load import READERS, reading_of
from tirgn_eqx.errors import ConfigError, DataError, DataWarning


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """A path of every kind that has one, and the same facts in each."""
    place = tmp_path_factory.mktemp("places")
    graph = simulate(num_entities=12, num_relations=3, num_days=12, facts_per_day=9).graph
    write_folder(graph, place / "sim")
    map_data(place / "sim", place / "mapped")
    write_events(graph, place / "events.parquet")
    (place / "table.csv").write_text("s,r,o,t\n" + "".join(f"a,b,c,{day}\n" for day in range(9)))
    names = {"folder": "sim", "mapped": "mapped", "parquet": "events.parquet", "table": "table.csv"}
    return {kind: place / name for kind, name in names.items()} | {"sim": "sim:num_days=12"}


@pytest.mark.parametrize("kind", ["folder", "mapped", "parquet", "table", "sim"])
def test_the_kind_is_found_and_the_provenance_loads_the_same_again(places, kind):
    graph = load_graph(places[kind])
    assert graph.provenance["kind"] == kind
    again = load_graph(**graph.provenance)
    assert again.checksum == graph.checksum and again.provenance == graph.provenance
    named = load_graph(places[kind], name="mine")
    assert (named.name, load_graph(**named.provenance).name) == ("mine", "mine")
    assert named.mapped_folder == graph.mapped_folder and named.checksum == graph.checksum


def test_a_folder_may_be_called_sim(places, monkeypatch):
    monkeypatch.chdir(Path(places["folder"]).parent)
    assert load_graph("./sim").provenance["kind"] == "folder" and load_graph("sim").provenance["kind"] == "sim"


def test_what_has_no_meaning_is_said(places):
    with pytest.warns(DataWarning, match="granularity = hour is ignored; it applies to an event table only"):
        load_graph(places["folder"], granularity="hour", max_events=0)
    with pytest.warns(DataWarning, match="num_days = 3 is ignored"):
        load_graph(places["mapped"], num_days=3, granularity="day", skip_bad_rows=False)
    with pytest.raises(ConfigError, match="option 'seed' belongs to sim, not to a folder; leave it out"):
        load_graph(places["folder"], seed=3)
    with pytest.raises(ConfigError, match="option 'sed' does not exist; did you mean 'seed'"):
        load_graph("sim", sed=3)
    with pytest.raises(ConfigError, match=re.escape(f"known: {', '.join(READERS)}")):
        load_graph(places["folder"], kind="folders")
    with pytest.raises(DataError, match="nowhere: does not exist; expected a folder in the RE-GCN text format"):
        load_graph("nowhere")


def test_options_are_those_that_were_given(places):
    assert ReadingOptions().given() == {} and ReadingOptions(num_days=0).given() == {"num_days": 0}
    graph = load_graph(places["parquet"], time_format="steps")
    assert reading_of(graph.provenance, places["table"]) == {"max_events": 0, "time_format": "steps"}
    assert reading_of(graph.provenance, places["folder"]) == {} == reading_of({"kind": "folder"}, places["table"])
    with pytest.raises(ConfigError, match="max_events = -1: must be at least 0"):
        ReadingOptions(max_events=-1).check()
    with pytest.raises(ConfigError, match="granularity 'days' does not exist; did you mean 'day'"):
        ReadingOptions(granularity="days").check()
