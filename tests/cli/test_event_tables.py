"""Event tables of every kind on the command line: options of their own, and what is said of them once."""

import json

import jax.random as jr
import polars as pl
import pytest

from tests.cli.bad_input_files import events
from tests.cli.cli_helpers import SMALL, call_app
from tirgn_cli.common import load_evaluation_graph
from tirgn_cli.complete import SUFFIXES
from tirgn_cli.options import ReadingFlags
from tirgn_eqx.checkpoint.models import save_model
from tirgn_eqx.config import TiRGNTrainingConfig
from tirgn_eqx.data import load_graph
from tirgn_eqx.data.readers import table_files
from tirgn_eqx.models import build_model

DATE = pl.col("timestamp").cast(pl.String).str.to_date("%Y%m%d")
ODD = "entity1=who,relation=did,entity2=whom,timestamp=moment"


def odd_table(days: int = 10) -> pl.DataFrame:
    """The events with other columns, days first, and a row that lacks a name."""
    names = dict(zip(("entity1", "relation", "entity2", "timestamp"), ("who", "did", "whom", "moment")))
    table = events(days).with_columns(timestamp=DATE.dt.strftime("%d/%m/%Y"))
    return pl.concat([table, table.head(1).with_columns(entity1=pl.lit(None, pl.String))]).rename(names)


@pytest.fixture
def odd(tmp_path):
    odd_table().write_csv(tmp_path / "odd.csv")
    return tmp_path / "odd.csv"


def test_options_of_a_table(odd):
    told = ("--columns", ODD, "--time-format", "%d/%m/%Y", "--skip-bad-rows")
    done = call_app("data", "stats", odd, *told, "--json")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["facts"]["total"] == events().height
    assert "times: times of the form %d/%m/%Y, 2018-01-01 to 2018-01-10" in done.stderr
    for left_out in range(0, 5, 2):
        without = told[:left_out] + told[left_out + 2 :]
        refused = call_app("data", "stats", odd, *without)
        assert refused.exit_code == 1 and refused.stderr.count("error: ") == 1


def test_what_was_understood_is_said_once_and_not_when_quiet(tmp_path):
    names = {"entity1": "subject", "entity2": "object"}
    events().rename(names).write_csv(tmp_path / "a.csv")
    first = call_app("data", "stats", tmp_path / "a.csv", "--json")
    assert first.stderr.count("times: YYYYMMDD, 2018-01-01 to 2018-01-10\n") == 1
    assert first.stderr.count("columns: entity1 = subject, entity2 = object\n") == 1
    quiet = call_app("data", "stats", tmp_path / "a.csv", "--json", "--quiet")
    assert quiet.stderr == "" and quiet.stdout == first.stdout
    early = events().with_columns(timestamp=DATE.dt.offset_by("-50y"))
    early.write_csv(tmp_path / "b.csv")
    doubted = call_app("data", "stats", tmp_path / "b.csv", "--quiet")
    assert "warning: " in doubted.stderr and "lie before 1979: 1968-01-01 to 1968-01-10" in doubted.stderr


@pytest.mark.parametrize("command", [pytest.param("train", marks=pytest.mark.ci), "eval", "predict", "data map"])
def test_a_checkpoint_reads_its_table_again(odd, tmp_path, command):
    graph = load_graph(odd, columns=ODD, time_format="%d/%m/%Y", skip_bad_rows=True)
    config = TiRGNTrainingConfig(embedding_dim=8, conv_channels=2, num_layers=1, history_len=2)
    model = build_model(graph.num_entities, graph.num_relations, config, key=jr.key(0))
    save_model(tmp_path / "m.npz", model, config, graph)
    told = ("--columns", ODD, "--time-format", "%d/%m/%Y", "--skip-bad-rows")
    copy = odd.rename(tmp_path / "copy.csv")
    if command == "train":
        done = call_app(
            "train", "--data-path", copy, *told, "--epochs", 1, *SMALL, "--model-dir", tmp_path / "out", "-q"
        )
    elif command == "data map":
        done = call_app("data", "map", copy, *told, "--out", tmp_path / "out")
    elif command == "eval":
        done = call_app("eval", tmp_path / "m.npz", "--data-path", copy, "--json")
        assert done.exit_code == 0 and json.loads(done.stdout)["checksum_matches"] is True
    else:
        done = call_app("predict", tmp_path / "m.npz", "--data-path", copy, "--facts", 2, "--json")
    assert done.exit_code == 0, done.stderr
    again = load_evaluation_graph(tmp_path / "m.npz", str(copy), graph.provenance, ReadingFlags())
    assert again.checksum == graph.checksum


def test_a_checkpoint_of_a_frame_asks_for_its_data(tmp_path):
    graph = load_graph(events())
    config = TiRGNTrainingConfig(embedding_dim=8, conv_channels=2, num_layers=1, history_len=2)
    model = build_model(graph.num_entities, graph.num_relations, config, key=jr.key(0))
    save_model(tmp_path / "m.npz", model, config, graph)
    asked = ("predict", tmp_path / "m.npz", "--facts", 2, "--json")
    refused = call_app(*asked)
    assert refused.exit_code == 1 and refused.stderr.count("\n") == 1
    assert "a DataFrame in memory, which cannot be loaded again; write them as a parquet file" in refused.stderr
    events().write_parquet(tmp_path / "a.parquet")
    assert call_app(*asked, "--data-path", tmp_path / "a.parquet").exit_code == 0


def test_the_shell_completes_the_tables_that_are_read():
    assert set(SUFFIXES) == set(table_files.SUFFIXES)
