"""`tirgn train`: what it writes, shows and prints."""

import json
import signal
import sys
import types
from pathlib import Path

import pytest

from tests.cli.cli_helpers import measured
from tirgn_cli.progress import TrainingView
from tirgn_cli.train import save_config
from tirgn_eqx.checkpoint.files import load_checkpoint
from tirgn_eqx.config import TiRGNTrainingConfig, config_from_dict, read_config
from tirgn_eqx.train.events import EpochRecord


def test_train(trained):
    place, result = trained
    told = measured(result)
    assert told["status"] == "complete"
    assert told["epochs_trained"] == 2
    assert told["model_type"] == "tirgn"
    assert {"best_mrr", "best_epoch", "total_time", "early_stopped", "validation", "test"} <= set(told)
    assert told["dataset"]["name"] == "tiny" and told["dataset"]["facts"] == 60
    assert Path(told["checkpoint"]) == place / "models" / "tirgn_best.npz"
    for words in ("tiny: 60 facts", "valid MRR", "epoch 1/2", "epoch 2/2"):
        assert words in result.stderr
    for name in ("tirgn_best", "tirgn_epoch_1", "tirgn_epoch_2", "tirgn_trained"):
        for suffix in ("npz", "json"):
            assert (place / "models" / f"{name}.{suffix}").exists()
    assert "embedding_dim = 8" in (place / "models" / "config.toml").read_text()
    assert (place / "runs" / "metrics.jsonl").exists()


@pytest.mark.ci
def test_a_mixture_takes_the_family_of_the_structure_that_is_given(run, trained, tmp_path):
    place, result = trained
    words = ("--data-path", place / "tiny", "--history", "evidence", "--quiet", "--epochs", "0", "--set", "epochs=0")
    given = ("--structure", measured(result)["checkpoint"], "--set", "evidence.epochs=0")
    places = ("--model-dir", tmp_path / "models", "--logdir", tmp_path / "runs")
    made = run("train", *words, *given, *places)
    assert made.exit_code == 0, made.output
    assert read_config(tmp_path / "models" / "config.toml")["structure"]["family"] == "tirgn"
    assert load_checkpoint(tmp_path / "models" / "tirgn_best.npz").metadata["model_type"] == "tirgn-evidence"
    refused = run("train", *words, *given, *places, "--model", "regcn")
    assert refused.exit_code == 1 and "type 'tirgn', not 'regcn'" in refused.stderr


@pytest.mark.slow
def test_train_again_from_the_saved_config(run, trained, tmp_path):
    place, _ = trained
    again = ("--data-path", place / "tiny", "--config", place / "models" / "config.toml", "--quiet")
    places = ("--model-dir", tmp_path / "models", "--logdir", tmp_path / "runs")
    result = run("train", *again, *places, "--epochs", "1", "--seed", "5")
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    for word in ("status", "complete", "best MRR", "checkpoint", "seed", "tirgn eval", "test, entity"):
        assert word in result.stdout
    assert all(len(line) <= 80 for line in result.stdout.splitlines())
    assert "seed = 5" in (tmp_path / "models" / "config.toml").read_text()


@pytest.mark.ci
def test_the_program_keeps_stdout_for_the_document(program, folder):
    small = ("--config", folder.parent / "small.toml")
    settings = {"embedding_dim": 8, "num_layers": 1, "history_len": 2, "batch_size": 0, "conv_channels": 2}
    small[1].write_text("\n".join(f"{name} = {value}" for name, value in settings.items()))
    more = ("--set", "max_buckets=1", "--precision", "f32", "--remat", "none")
    result = program("-m", "tirgn_cli", "train", "--data-path", folder, *small, *more, "--epochs", "0", "--json")
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["status"] == "complete"
    assert result.stdout.count("\n") == 1
    assert (folder.parent / "models" / "tkg" / "tirgn_best.npz").exists()


def test_the_saved_config_is_read_back(tmp_path):
    config = TiRGNTrainingConfig().replace(angle=3.5, loss="sampled", static_graph=False, weight_decay=1e-5)
    file = save_config(config, tmp_path / "models" / "tkg")
    assert file.name == "config.toml"
    assert config_from_dict(read_config(file)) == config
    save_config(config.replace(epochs=3), file.parent)
    assert read_config(file)["epochs"] == 3
    assert {path.name for path in file.parent.iterdir()} == {"config.toml", ".train.lock"}


def test_it_trains_with_its_own_preset(evidence):
    checkpoint, shown = evidence
    result = json.loads(shown.stdout)
    assert result["model_type"] == "evidence" and result["epochs_trained"] == 2
    config = json.loads(checkpoint.with_suffix(".json").read_text())["config"]
    assert config["learning_rate"] == 5e-3 and config["lr_schedule"] == "cosine" and config["embedding_dim"] == 4
    assert "evidence: " in shown.stderr and "past triples" in shown.stderr


@pytest.mark.ci
def test_an_interrupted_training_of_events_does_not_claim_to_be_resumable(run, trained, monkeypatch, tmp_path):
    shown = TrainingView.__call__

    def interrupted(view, record):
        shown(view, record)
        if isinstance(record, EpochRecord):
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(TrainingView, "__call__", interrupted)
    words = ("--data-path", trained[0] / "tiny", "--model", "events", "--epochs", "9", "--set", "rate_hidden=2")
    result = run("train", *words, "--model-dir", tmp_path / "models", "--logdir", tmp_path / "runs", "--json")
    assert result.exit_code == 128 + signal.SIGTERM
    last = result.stderr.splitlines()[-1]
    assert last == "interrupted after 1 whole epochs; nothing of it is kept; the same command starts again"
    assert json.loads(result.stdout)["status"] == "interrupted" and "epoch 1/9" in result.stderr
    assert not list((tmp_path / "models").glob("*.npz"))


@pytest.mark.ci
def test_a_mixture_takes_its_part_from_a_checkpoint_that_events_were_added_to(run, trained, tmp_path):
    place, result = trained
    words = ("--data-path", place / "tiny", "--quiet", "--logdir", tmp_path / "runs")
    small = ("--events", measured(result)["checkpoint"], "--epochs", "1", "--set", "rate_hidden=2")
    made = run("train", *words, *small, "--model-dir", tmp_path / "events")
    assert made.exit_code == 0, made.output
    given = ("--structure", tmp_path / "events" / "tirgn_best.npz", "--set", "evidence.epochs=0", "--set", "epochs=0")
    mixed = run("train", *words, "--history", "evidence", *given, "--model-dir", tmp_path / "models", "--json")
    stage = measured(mixed)["stages"]["structure"]
    # What is said of the part is what its own training found, and nothing of the rates.
    assert stage["model_type"] == "tirgn" and stage["best_epoch"] == measured(result)["best_epoch"]
    assert stage["validation"]["mrr"] == pytest.approx(measured(result)["best_mrr"])


def test_a_library_that_prints_does_not_touch_stdout(run, monkeypatch, tmp_path):
    module = types.ModuleType("tirgn_eqx.train.api")

    def train_tirgn(graph, config, **_):
        print("chatter")
        sys.stdout.write("more chatter\n")
        return {"status": "complete", "best_mrr": float("nan"), "checkpoint": Path("x.npz")}

    module.train_tirgn = train_tirgn  # pyright: ignore
    monkeypatch.setitem(sys.modules, "tirgn_eqx.train.api", module)
    result = run("train", "--data-path", "sim", "--model-dir", tmp_path, "--json")
    assert result.stdout.count("\n") == 1 and result.stdout.startswith("{")
    assert '"best_mrr": null' in result.stdout and '"checkpoint": "x.npz"' in result.stdout
    assert "chatter" in result.stderr
