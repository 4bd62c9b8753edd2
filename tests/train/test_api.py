"""A whole training: files, logs, records, early stopping, and a result that `evaluate` repeats."""

import datetime as dt
import json

import equinox as eqx
import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.helpers import write_event_table
from tirgn_eqx import TiRGNTrainingConfig, evaluate_model, load_graph, load_model, simulate, train_tirgn
from tirgn_eqx.checkpoint.files import load_checkpoint
from tirgn_eqx.data.graph import from_facts
from tirgn_eqx.errors import ConfigError, DataError, DataWarning
from tirgn_eqx.train.events import (
    CompileRecord,
    EarlyStoppingRecord,
    EndRecord,
    EpochRecord,
    StartRecord,
    ValidationRecord,
)
from tirgn_eqx.train.optimizer import parameter_count
from tirgn_eqx.train.precision import faster_type

METRICS = {"train/loss", "train/loss_entity", "train/loss_relation", "train/loss_static", "train/lr"}
METRICS |= {"eval/mrr", "eval/hits_at_1", "eval/hits_at_3", "eval/hits_at_10", "eval/nll"}
METRICS |= {"system/epoch_duration_s", "system/total_params"}


@pytest.fixture(scope="module")
def graph():
    return simulate(num_entities=14, num_relations=4, num_days=20, facts_per_day=15, static_graph=True, seed=2).graph


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return TiRGNTrainingConfig(
        embedding_dim=8,
        history_len=2,
        num_layers=1,
        static_blocks=4,
        conv_channels=3,
        batch_size=12,
        epochs=6,
        eval_interval=1,
        patience=2,
        checkpoint_interval=2,
        learning_rate=0.02,
        max_buckets=1,
        logdir=str(tmp_path_factory.mktemp("logs")),
    )


@pytest.fixture(scope="module")
def trained(graph, config, tmp_path_factory):
    """(result, records, folder) of one training with a micro-batch smaller than a snapshot."""
    folder, records = tmp_path_factory.mktemp("models"), []
    result = train_tirgn(graph, config, model_dir=folder, on_record=records.append)
    return result, records, folder


def test_result_and_records(trained, graph):
    result, records, folder = trained
    assert result["status"] == "complete" and result["model_type"] == "tirgn"
    kinds = [type(record) for record in records]
    assert kinds[0] == StartRecord and kinds[-1] == EndRecord and records[-1].result == result
    assert kinds.count(EpochRecord) == result["epochs_trained"] == kinds.count(ValidationRecord)
    assert kinds.count(CompileRecord) == 1
    start = records[0]
    assert start.dataset == graph.describe() and start.steps_per_epoch == 15
    assert start.history["pairs"] > 0 and start.history["objects_per_pair"] >= 1
    losses = [record.loss for record in records if isinstance(record, EpochRecord)]
    assert losses[-1] < losses[0]
    best = max(record.metrics["mrr"] for record in records if isinstance(record, ValidationRecord))
    assert result["best_mrr"] == pytest.approx(best, abs=1e-9)
    stopped = [record for record in records if isinstance(record, EarlyStoppingRecord)]
    assert bool(stopped) == result["early_stopped"]
    if stopped:
        message = f"Early stopping at epoch {result['epochs_trained']}, best MRR {best:.4f} at epoch "
        assert stopped[0].message == f"{message}{result['best_epoch']}"


def test_files(trained):
    result, _, folder = trained
    names = {path.name for path in folder.glob("*") if not path.name.startswith(".")}
    expected = {"tirgn_best", "tirgn_trained", "tirgn_state"}
    expected |= {f"tirgn_epoch_{n}" for n in range(2, result["epochs_trained"] + 1, 2)}
    assert names == {f"{name}.{kind}" for name in expected for kind in ("npz", "json")}
    side = json.loads((folder / "tirgn_best.json").read_text())
    assert side["model_type"] == "tirgn" and len(side["sha256"]) == 64
    assert {"history_rate", "history_window"} <= set(side["config"])
    assert len(side["entities"]) == 14 and len(side["relations"]) == 4
    assert side["data"]["provenance"]["kind"] == "sim"
    assert side["metrics"]["validation"]["mrr"] == pytest.approx(result["best_mrr"])


def test_the_checkpoint_alone_gives_the_same_figures(trained, graph, config):
    result, _, folder = trained
    (folder / "tirgn_best.json").rename(folder / "aside")
    model, loaded, metadata = load_model(folder / "tirgn_best.npz")
    (folder / "aside").rename(folder / "tirgn_best.json")
    assert loaded == config.replace(precision=faster_type("auto")) and model.static_edges is not None
    options = config.window()
    again = evaluate_model(model, graph, split="test", **options).to_dict()
    assert again["entity"] == pytest.approx(result["test"]["entity"])
    assert again["dataset"]["sha256"] == metadata.data.sha256
    assert sum(row["queries"] for row in again["snapshots"]) == 2 * int(graph.split_mask("test").sum())


def test_logs(trained, config):
    result, records, _ = trained
    run = [path for path in sorted(config_path(config).rglob("metrics.jsonl"))]
    lines = [json.loads(line) for path in run for line in path.read_text().splitlines()]
    assert set().union(*lines) >= METRICS
    (events,) = config_path(config).rglob("events.out*")
    board = EventAccumulator(str(events.parent))
    board.Reload()
    assert set(board.Tags()["scalars"]) >= METRICS
    scalars = [event.value for event in board.Scalars("eval/mrr")]
    mrr = [record.metrics["mrr"] for record in records if isinstance(record, ValidationRecord)]
    np.testing.assert_allclose(scalars, mrr, rtol=1e-6)
    model, _, _ = load_model(result["checkpoint"])
    assert board.Scalars("system/total_params")[0].value == result["parameters"] == parameter_count(model) > 100


def config_path(config):
    from pathlib import Path

    return Path(config.logdir)


@pytest.mark.slow  # the tests of resuming hold two trainings of one seed together, too
def test_the_same_seed_gives_the_same_checkpoint(trained, graph, config, tmp_path):
    train_tirgn(graph, config.replace(logdir=str(tmp_path / "logs")), model_dir=tmp_path)
    first, second = (load_model(folder / "tirgn_trained.npz")[0] for folder in (trained[2], tmp_path))
    assert eqx.tree_equal(first, second)


@pytest.mark.slow
def test_sampled_loss_and_nll_monitor_train(graph, config, tmp_path):
    sampled = config.replace(
        loss="sampled",
        batch_size=0,
        num_negatives=4,
        monitor="nll",
        epochs=3,
        logdir=str(tmp_path / "l"),
        history_mask="exclude",
    )
    records = []
    result = train_tirgn(graph, sampled, model_dir=tmp_path, on_record=records.append)
    losses = [record.loss for record in records if isinstance(record, EpochRecord)]
    assert losses[-1] < losses[0] and np.isfinite(losses).all()
    nll = [record.metrics["nll"] for record in records if isinstance(record, ValidationRecord)]
    assert result["best_epoch"] == 1 + int(np.argmin(nll))


@pytest.mark.slow
def test_shared_loss_unique_queries_and_a_falling_step_size_train(graph, config, tmp_path):
    shared = config.replace(
        loss="shared", num_shared=2, unique_queries=True, lr_schedule="cosine", epochs=3, logdir=str(tmp_path / "l")
    )
    records = []
    train_tirgn(graph, shared, model_dir=tmp_path, on_record=records.append)
    losses = [record.loss for record in records if isinstance(record, EpochRecord)]
    assert losses[-1] < losses[0] and np.isfinite(losses).all()
    lines = [json.loads(line) for line in (tmp_path / "l" / "metrics.jsonl").read_text().splitlines()]
    rates = [line["train/lr"] for line in lines if "train/lr" in line]
    assert shared.learning_rate > rates[0] > rates[1] > rates[2] > 0


def test_bad_requests(graph, config, tmp_path):
    with pytest.raises(ConfigError, match="JAX_ENABLE_X64"):
        train_tirgn(graph, config.replace(precision="f64"), model_dir=tmp_path)
    facts = np.array([[0, 0, 1, 5], [1, 0, 2, 6], [2, 0, 0, 7]])
    tiny = from_facts("tiny", facts, np.array([0, 1, 2]), 3, 1)
    with pytest.raises(DataError, match="one snapshot"):
        train_tirgn(tiny, config, model_dir=tmp_path)


@pytest.fixture
def asked(monkeypatch):
    """What `train_tirgn` asks of the training itself: (graph, config, folder) of each call."""
    calls = []

    def instead(graph, config, options, mesh):
        assert mesh is None and options.start is None and not options.resume
        calls.append((graph, config, options.model_dir))
        return {"status": "complete"}

    monkeypatch.setattr("tirgn_eqx.train.api.train_single", instead)
    return calls


def write_table(path, days=40):
    """An event table of so many days, ten events in each."""
    start = dt.datetime(2024, 1, 1)

    def actors(i):
        return (f"a{i % 4}", f"r{i % 3}", f"b{i % 5}")

    rows = [(*actors(i), start + dt.timedelta(day)) for day in range(days) for i in range(10)]
    return write_event_table(path, rows)


def test_the_call_by_position_and_by_name(asked, tmp_path):
    path = write_table(tmp_path / "events.parquet")
    config = TiRGNTrainingConfig(embedding_dim=8, num_layers=1)
    train_tirgn(path, config, tmp_path / "models")
    train_tirgn(
        data_path=str(path),
        config=config,
        model_dir=tmp_path / "models",
        max_events=100,
        num_days=20,
        embedding_dim=200,
        num_layers=2,
    )
    train_tirgn(path, TiRGNTrainingConfig(), tmp_path / "models", 0, 0, 16, 3)
    (plain, first, folder), (part, second, _), (whole, third, _) = asked
    assert folder == tmp_path / "models"
    assert (plain.num_snapshots, plain.num_facts) == (30, 300)
    assert (part.num_snapshots, part.num_facts) == (20, 100)
    assert (whole.num_snapshots, whole.num_facts) == (40, 400)
    sizes = [(config.embedding_dim, config.num_layers) for config in (first, second, third)]
    assert sizes == [(8, 1), (200, 2), (16, 3)]


def test_the_documented_sizes_are_those_of_a_config_that_says_nothing(asked, graph, tmp_path):
    train_tirgn(graph, TiRGNTrainingConfig(), tmp_path)
    assert asked[0][0] is graph and (asked[0][1].embedding_dim, asked[0][1].num_layers) == (200, 2)


def test_a_graph_in_memory_is_taken_as_it_is(asked, graph, config):
    with pytest.warns(DataWarning, match="num_days = 3 is ignored: the graph is loaded already; give its path"):
        train_tirgn(graph, config, num_days=3)
    assert asked[0][0] is graph and str(asked[0][2]) == "models/tkg"


def test_a_call_with_impossible_arguments_is_refused(asked, tmp_path):
    with pytest.raises(ConfigError, match="embedding_dim"):
        train_tirgn("sim", TiRGNTrainingConfig(), tmp_path, embedding_dim=0)
    with pytest.raises(DataError, match="nowhere"):
        train_tirgn(tmp_path / "nowhere", TiRGNTrainingConfig(), tmp_path)
    with pytest.raises(Exception, match="num_days"):
        train_tirgn("sim", TiRGNTrainingConfig(), tmp_path, num_days="30")  # pyright: ignore
    assert asked == []


@pytest.mark.ci
def test_a_path_is_trained_as_the_graph_at_it(config, tmp_path):
    path = write_table(tmp_path / "events.parquet", days=12)
    settings = config.replace(epochs=1, logdir=str(tmp_path / "logs"))
    result = train_tirgn(path, settings, tmp_path / "path", num_days=10, embedding_dim=4)
    graph = load_graph(path, num_days=10)
    again = train_tirgn(graph, settings.replace(embedding_dim=4), tmp_path / "graph")
    assert result["status"] == "complete" and result["test"] == again["test"]
    assert load_checkpoint(result["checkpoint"]).metadata["config"]["embedding_dim"] == 4
