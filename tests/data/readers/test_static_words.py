"""Static graphs of event tables: which words, of which entities, and that none comes from a later event."""

import datetime as dt

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.readers.test_event_table import LikePandas
from tests.helpers import tiny_config
from tirgn_eqx.checkpoint.models import load_model
from tirgn_eqx.data import convert_data, load_graph
from tirgn_eqx.data.readers.static_words import (
    KINDS,
    _words_of_columns,
    make_static_graph,
    parse_static_words,
    word_columns,
)
from tirgn_eqx.errors import ConfigError, DataError
from tirgn_eqx.train.api import train_tirgn

DAYS = 10  # of which the first eight are train
PLACES = ("India", "Japan", "Peru")
ACTORS = [f"{kind} ({place})" for place in PLACES for kind in ("Police", "Citizen")]


def events(late: int = 0, latest: str = "") -> pl.DataFrame:
    """Events of all actors on every day; `late`: rotates the actors of valid and test, `latest`: a name new in test."""
    rows = []
    for day in range(DAYS):
        for number in range(len(ACTORS)):
            names = [ACTORS[(number + more + (late if day > 7 else 0)) % len(ACTORS)] for more in (0, 1 + day % 3)]
            if latest and day == 9 and number == 0:
                names[0] = latest
            shown = [name.partition(" (")[2].rstrip(")") for name in names]
            if late and day > 7:
                shown = ["Atlantis", "Atlantis"]
            rows.append(
                {
                    "entity1": names[0],
                    "relation": "Consult",
                    "entity2": names[1],
                    "timestamp": dt.datetime(2014, 1, 1 + day),
                    "entity1_country": shown[0],
                    "entity1_sector": f"{names[0].split()[0]};General",
                    "entity2_country": shown[1],
                    "entity2_sector": None,
                }
            )
    return pl.DataFrame(rows)


def words_of(graph) -> dict[str, set[tuple[int, int]]]:
    """(relation, word) of every entity by its name."""
    static = graph.static
    return {
        name: {(r, w) for e, r, w in zip(static.entity, static.relation, static.word) if e == number}
        for number, name in enumerate(graph.entity_names)
    }


def test_words_are_shared_by_those_whom_they_describe():
    graph = load_graph(events(), static_words="name,country, sector")
    static, words = graph.static, words_of(graph)
    assert graph.provenance["static_words"] == "country,sector,name"
    assert (static.num_relations, static.num_words) == (4, 3 + 3 + 5)
    assert all(len(found) == 5 for found in words.values())  # country, two sectors, two words of the name
    same_place = words["Police (India)"] & words["Citizen (India)"]
    assert len({r for r, _ in same_place}) == 3 and len(words["Police (India)"] & words["Police (Peru)"]) == 3
    for column in (static.entity, static.relation, static.word):
        assert column.dtype == np.int32 and column.min() == 0


def test_words_of_few_of_the_events_are_left_out():
    stray = pl.when(pl.int_range(pl.len()) == 0).then(pl.lit("Peru")).otherwise(pl.col("entity1_country"))
    graph = load_graph(events().with_columns(entity1_country=stray), static_words="country")
    assert all(len(found) == 1 for found in words_of(graph).values())


def sectors_of_a(*cells: str | None) -> set[str]:
    """The sectors of A, of whose events with B each has one of the cells."""
    columns = {"entity1": ["A"] * len(cells), "entity2": ["B"] * len(cells), "entity1_sector": cells}
    table = pl.DataFrame(columns | {"entity2_sector": [None] * len(cells)}, schema_overrides={"entity2_sector": str})
    found = _words_of_columns(table.with_columns(pl.col("entity1_sector").cast(pl.String)), "sector")
    assert {entity for entity, _ in found} <= {"A"}
    return {word for _, word in found}


@pytest.mark.parametrize("nothing", [None, "", " ", ";", "None", "None;None"])
def test_an_event_that_names_no_sector_does_not_count(nothing):
    """GDELT's events of an actor without a type have an empty text."""
    assert sectors_of_a(*["GOV"] * 8, *[nothing] * 92) == {"GOV"}
    assert sectors_of_a(*["GOV"] * 8, *["MIL"] * 92, *[nothing] * 5) == {"MIL"}


def test_an_event_counts_once_for_a_word_that_it_names_twice():
    assert sectors_of_a(*["GOV;GOV"] * 6, *["MIL| GOV"] * 3, *["MIL"] * 91) == {"MIL"}
    assert sectors_of_a(*["GOV;GOV"] * 6, *["MIL| GOV"] * 4, *["MIL"] * 90) == {"MIL", "GOV"}


def test_an_entity_without_words_gets_one_of_its_own():
    table = events().with_columns(entity1=pl.col("entity1").replace("Police (Peru)", "Zed"))
    graph = load_graph(table, static_words="name")
    assert [r for r, _ in words_of(graph)["Zed"]] == [1] and graph.static.num_relations == 2


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 5), st.sampled_from(["Nobody", "Citizen (Atlantis)", "Police Citizen"]))
def test_nothing_of_a_later_event_reaches_the_words(late, latest):
    """Actors, countries and sectors of valid and test change, and a name comes that train does not know."""
    before = load_graph(events(), static_words="country,sector,name")
    after = load_graph(events(late, latest), static_words="country,sector,name")
    assert after.static.num_words == before.static.num_words
    old, new = words_of(before), words_of(after)
    assert {name: new[name] for name in old} == old
    # It has the words of its name that train entities share, and no other.
    assert {r for r, _ in new[latest]} <= {2} and bool(new[latest]) == (latest != "Nobody")


@pytest.mark.ci
def test_a_model_trains_with_it_and_keeps_it(tmp_path):
    path = tmp_path / "events.parquet"
    events().write_parquet(path)
    graph = load_graph(path, static_words="country,name")
    config = tiny_config(static_blocks=2, epochs=1, logdir=str(tmp_path / "logs"))
    assert config.static_graph
    result = train_tirgn(graph, config, model_dir=tmp_path / "models")
    model, _, metadata = load_model(result["checkpoint"])
    np.testing.assert_array_equal(np.sort(model.static_edges.entity), np.sort(graph.static.entity))
    assert result["status"] == "complete" and metadata.data.provenance.static_words == "country,name"
    again = load_graph(**metadata.data.provenance.to_dict())
    np.testing.assert_array_equal(again.static.word, graph.static.word)
    assert not np.allclose(np.asarray(model.word_embedding[0]), np.asarray(model.word_embedding[1]))


def test_a_folder_keeps_it_and_a_table_cannot(tmp_path):
    graph = load_graph(events(), static_words="country")
    convert_data(events(), tmp_path / "folder", static_words="country", num_days=0)
    found = load_graph(tmp_path / "folder").static
    assert len(found.entity) == len(graph.static.entity) == 6
    with pytest.raises(ConfigError, match="static_words country: an event table holds no static graph"):
        convert_data(events(), tmp_path / "t.parquet", static_words="country")


def test_every_form_of_a_table_has_them(tmp_path):
    expected = words_of(load_graph(events(), static_words="sector"))
    events().write_csv(tmp_path / "a.csv")
    columns = events().to_dict(as_series=False)
    columns["timestamp"] = np.array(columns["timestamp"], "M8[us]")
    for form in (tmp_path / "a.csv", events().lazy(), LikePandas(columns)):
        assert words_of(load_graph(form, static_words="sector")) == expected


@pytest.mark.parametrize(
    ("text", "kinds"), [(None, ()), ("", ()), ("name", ("name",)), (" sector , country", ("country", "sector"))]
)
def test_kinds_have_one_order(text, kinds):
    assert parse_static_words(text) == kinds


def test_what_is_wrong_is_said():
    with pytest.raises(ConfigError, match="static_words: 'sectors' does not exist; did you mean 'sector'"):
        load_graph(events(), static_words="sectors")
    with pytest.raises(DataError, match=r"no column entity2_sector, of which .*`tirgn data ingest --attributes`"):
        load_graph(events().drop("entity2_sector"), static_words="sector")
    bare = events().with_columns(entity1_sector=pl.lit(None, pl.String))
    with pytest.raises(DataError, match="no words for a static graph of sector; name other kinds"):
        load_graph(bare, static_words="sector")


def test_columns_are_those_of_an_ingest():
    from tirgn_eqx.ingest.event_format import ATTRIBUTES

    assert set(word_columns(KINDS)) == set(ATTRIBUTES)
    assert make_static_graph(events(), ["Nobody", *ACTORS], ["country"], "x").entity.min() == 1
