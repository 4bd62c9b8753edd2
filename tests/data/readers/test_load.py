"""One entry for every form of data: which reader a path gets, and what is said of options without meaning."""

import re
from pathlib import Path

import pytest

from tests.data.readers.event_helpers import events, write
from tests.helpers import dataset
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


def test_load_graph_tells_the_forms_apart_and_provenance_loads_again(tmp_path):
    path = write(tmp_path, events(40, per_day=4))
    assert load_graph(path).num_snapshots == 30
    graph = load_graph(str(path), name="mine", num_days=20, max_events=50, granularity="hour")
    assert (graph.name, graph.num_facts, graph.provenance["kind"]) == ("mine", 50, "parquet")
    again = load_graph(**graph.provenance)
    assert (again.name, again.checksum) == ("mine", graph.checksum)
    with pytest.raises(ConfigError, match=r"option 'seed' belongs to sim, not to a parquet"):
        load_graph(path, seed=1)
    with pytest.raises(ConfigError, match=r"kind 'file' does not exist"):
        load_graph(path, kind="file")
    with pytest.raises(DataError, match=r"nowhere: does not exist; expected a folder in the RE-GCN text format"):
        load_graph(tmp_path / "nowhere")
    (tmp_path / "facts.xlsx").write_text("")
    with pytest.raises(DataError, match=r"facts.xlsx: is neither a folder nor a table; expected .* parquet, CSV, TSV"):
        load_graph(tmp_path / "facts.xlsx")


def test_load_graph_warns_of_options_that_a_folder_has_not():
    with pytest.warns(DataWarning, match=r"YAGO: num_days = 7 is ignored; it applies to an event table only"):
        load_graph(dataset("YAGO"), num_days=7)
    with pytest.warns(DataWarning, match=r"granularity = hour is ignored"):
        load_graph(dataset("YAGO"), granularity="hour")


def test_load_graph_of_the_simulated_world():
    graph = load_graph("sim:num_entities=20,facts_per_day=30", num_days=40, seed=3)
    assert (graph.num_entities, graph.num_snapshots) == (20, 40)
    assert load_graph(**graph.provenance).checksum == graph.checksum
    for path, message in {
        "sim:entities=9": r"option 'entities' does not exist; did you mean 'num_entities'\?; known: num_",
        "sim:seed": r"'seed' is not name=value; write it like sim:seed=3",
        "sim:seed=1.5": r"seed = 1.5: must be int, not float",
    }.items():
        with pytest.raises(ConfigError, match=message):
            load_graph(path)
    with pytest.raises(ConfigError, match=r"folder: is not the simulated world"):
        load_graph("folder", kind="sim")
