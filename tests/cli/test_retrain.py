"""`tirgn retrain`, as a person or a timer calls it: replaced, kept, interrupted, refused."""

import json
import shutil
from types import SimpleNamespace

import equinox as eqx
import jax
import numpy as np
import pytest

from tests.cli.cli_helpers import write_folder
from tests.helpers import chain_of_events, write_event_table
from tirgn_cli.train import Signals
from tirgn_eqx.checkpoint.files import load_checkpoint, save_checkpoint
from tirgn_eqx.checkpoint.models import load_model, save_model
from tirgn_eqx.config import MixtureTrainingConfig, REGCNTrainingConfig, TiRGNTrainingConfig, preset
from tirgn_eqx.data import load_graph
from tirgn_eqx.models import build_model
from tirgn_eqx.train import gate

NAMES = ["RUSSIA", "UKRAINE", "UNITED STATES", "CHINA", "POLICE"]
SMALL = {"embedding_dim": 4, "evidence_heads": 2, "evidence_hidden": 3, "precision": "f32", "max_buckets": 1}
SETTINGS = SMALL | {"epochs": 2, "learning_rate": 0.05, "evidence_background": False, "loss_filter": False}


def write_events(path, days, names):
    """A table of events in which every actor acts on the next."""
    return write_event_table(path, chain_of_events(days, names))


def write_old(path, events, config):
    """A checkpoint of the last 10 days of a table, as if it had been trained."""
    graph = load_graph(events, num_days=10)
    sizes = (graph.num_entities, graph.num_relations)
    model = jax.jit(lambda key: build_model(*sizes, config, key=key))(jax.random.key(1))
    return save_model(path, model, config, graph)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a table of events, a newer one, and a checkpoint of the first. In the newer one FRANCE is new, and
    POLICE is gone."""
    place = tmp_path_factory.mktemp("retrain")
    old = write_events(place / "old.parquet", range(12), NAMES)
    write_events(place / "new.parquet", range(7, 19), [*NAMES[:4], "FRANCE"])
    write_old(place / "tirgn_best", old, preset("evidence").replace(**SETTINGS))
    return place


@pytest.fixture
def checkpoint(place, tmp_path):
    """A copy of the checkpoint, to be replaced."""
    for suffix in (".npz", ".json"):
        shutil.copy(place / f"tirgn_best{suffix}", tmp_path)
    return tmp_path / "tirgn_best.npz"


def bits(path):
    return {suffix: path.with_suffix(suffix).read_bytes() for suffix in (".npz", ".json")}


def retrained(run, place, checkpoint, *words, code=0):
    """The JSON document of a retraining on the newer table."""
    result = run("retrain", "--data-path", place / "new.parquet", "--from", checkpoint, *words, "--json", "--quiet")
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


def test_a_model_that_is_no_worse_takes_the_checkpoints_place(run, place, checkpoint):
    before = bits(checkpoint)
    found = retrained(run, place, checkpoint)
    folder = checkpoint.parent
    assert found["status"] == "replaced" and found["decision"]["replaced"]
    assert found["checkpoint"] == str(checkpoint) and found["previous"] == str(folder / "tirgn_best.previous.npz")
    assert bits(folder / "tirgn_best.previous.npz") == before
    assert bits(checkpoint) == bits(folder / "retrain" / "tirgn_best.npz") != before
    assert found["training"]["checkpoint"] == str(folder / "retrain" / "tirgn_best.npz")
    assert found["training"]["epochs_trained"] == 2 and found["model_type"] == "evidence"
    # The window is as long as the checkpoint's, and ends with the newest event.
    span = found["window"]
    assert (span["from"], span["to"], span["provenance"]["num_days"]) == ("2017-12-09", "2017-12-18", 10)
    assert span["splits"]["test"] == {"from": "2017-12-18", "to": "2017-12-18", "facts": 5}
    assert found["mapping"] == {
        "entities": {"kept": 4, "new": 1, "gone": 1},
        "relations": {"kept": 2, "new": 0, "gone": 0},
        "gone_stay": False,
    }
    sides, difference = found["comparison"]["models"], found["comparison"]["difference"]
    mrr = [side["entity"]["mrr"] for side in sides]
    assert found["decision"] == {
        "replaced": True,
        "mrr": mrr,
        "difference": pytest.approx(mrr[0] - mrr[1]),
        "max_regression": 0.01,
    }
    assert found["training"]["test"]["entity"]["mrr"] == pytest.approx(mrr[0], abs=1e-6)
    low, high = difference["nll"]["interval_nats"]
    assert low <= difference["nll"]["nats"] == pytest.approx(sides[0]["entity"]["nll"] - sides[1]["entity"]["nll"])
    assert high >= difference["nll"]["nats"] and all("brier" in side["calibration"] for side in sides)
    # Settings are the checkpoint's, but for where the logs go.
    model, config, described = load_model(checkpoint)
    assert config == preset("evidence").replace(**SETTINGS, logdir=str(folder / "retrain" / "logs"))
    assert described.entities[:5] and "FRANCE" in described.entities and "POLICE" not in described.entities
    # Time is counted from where it was, though the window has moved.
    clock = [load_checkpoint(path).metadata["data"]["clock_origin"] for path in (checkpoint, found["previous"])]
    assert clock == [17_502, 17_502]
    measured = run("eval", checkpoint, "--json")
    assert json.loads(measured.stdout)["checksum_matches"], measured.stderr


@pytest.mark.ci
def test_a_model_that_is_worse_leaves_the_checkpoint_as_it_was(run, place, checkpoint):
    before = bits(checkpoint)
    words = ("--max-regression", "-1", "--set", "epochs=1", "--model-dir", checkpoint.parent / "tried")
    shown = run("retrain", "--data-path", place / "new.parquet", "--from", checkpoint, *words, "--quiet")
    assert shown.exit_code == 3
    assert "warning: the new test MRR" in shown.stderr and "stays, the new one is" in shown.stderr
    text = " ".join(shown.stdout.split())
    assert all(word in text for word in ("kept", "4 kept, 1 new, 1 gone", "NLL", "Brier score", "2017-12-18"))
    assert bits(checkpoint) == before and not list(checkpoint.parent.glob("*previous*"))
    assert load_model(checkpoint.parent / "tried" / "tirgn_best.npz")[1].epochs == 1


@pytest.mark.ci
def test_names_that_are_gone_can_be_kept(run, place, checkpoint):
    model, config, described = load_model(checkpoint)
    metadata = described.to_dict() | {"calibration": {"old": 1}}
    held = save_checkpoint(checkpoint, load_checkpoint(checkpoint).arrays, metadata)
    found = retrained(run, place, held, "--keep-gone", "--max-regression", "1", "--epochs", "1")
    assert found["mapping"]["gone_stay"] and found["dataset"]["entities"] == 6
    again, _, described = load_model(held)
    assert described.entities[-1] == "POLICE" and again.num_entities == 6
    # A checkpoint that was calibrated is calibrated again.
    assert set(described.temperature) == {"entity", "relation"}
    measured = run("eval", held, "--json")
    assert json.loads(measured.stdout)["checksum_matches"], measured.stderr
    asked = run("predict", held, "--subject", "POLICE", "--relation", "042_Q1", "--json")
    assert len(json.loads(asked.stdout)["candidates"]) == 6


def assert_relations_of(new, now, old, described):
    """Every row of the new model's evidence is where its relation, or the inverse of it, is now."""
    rows = [[names.index(r) for r in ("042_Q1", "190_Q4")] for names in (described.relations, now.relations)]
    rows = [np.array([*r, *(np.array(r) + 2)]) for r in rows]
    for levels in ([np.asarray(model.entry.level) for model in (old, new)], [old.head_weight, new.head_weight]):
        np.testing.assert_array_equal(levels[0][rows[0]], levels[1][rows[1]])


@pytest.mark.ci
def test_an_interrupted_retraining_goes_on(run, place, checkpoint, monkeypatch):
    before, asked = bits(checkpoint), iter(range(1000))

    def received(self):
        self.number = 15 if next(asked) >= 6 else 0
        return self.number != 0

    # Steps of length 0, so that what it ends with is what it began with.
    words = ("--lr", "0", "--max-regression", "0")
    call = ("retrain", "--data-path", place / "new.parquet", "--from", checkpoint, "--quiet", *words)
    old, _, described = load_model(checkpoint)
    with monkeypatch.context() as patch:
        patch.setattr(Signals, "received", received)
        stopped = run(*call)
    assert stopped.exit_code == 143 and "--resume goes on" in stopped.stderr and stopped.stdout == ""
    assert bits(checkpoint) == before
    arrays = load_checkpoint(checkpoint).arrays
    save_checkpoint(checkpoint, arrays | {"head_weight": arrays["head_weight"] + 1}, described.to_dict())
    other = run(*call, "--resume")
    assert other.exit_code == 1 and "began from other weights" in other.stderr
    save_checkpoint(checkpoint, arrays, described.to_dict())
    assert bits(checkpoint) == before
    found = retrained(run, place, checkpoint, "--resume", *words)
    assert found["status"] == "replaced" and found["training"]["epochs_trained"] == 2
    assert found["decision"]["difference"] == 0
    new, _, now = load_model(checkpoint)
    assert_relations_of(new, now, old, described)


@pytest.fixture
def both(place, tmp_path):
    """A checkpoint of a structure with evidence, whose steps are of length 0."""
    small = {"embedding_dim": 4, "history_len": 2, "num_layers": 1, "conv_channels": 2, "batch_size": 0}
    small |= {"precision": "f32", "remat": "none", "max_buckets": 1, "learning_rate": 0.0}
    evidence = preset("evidence").replace(**SETTINGS | {"learning_rate": 0.0, "epochs": 1})
    config = MixtureTrainingConfig.of(REGCNTrainingConfig(**small, epochs=1), evidence)
    return write_old(tmp_path / "both", place / "old.parquet", config)


def assert_parts_of(new, now, old, described):
    """Every row of the new model's parts is where its name is now."""
    ids = [[names.index(name) for name in NAMES[:4]] for names in (described.entities, now.entities)]
    embedding = [np.asarray(model.structure.encoder.entity_embedding) for model in (old, new)]
    np.testing.assert_array_equal(embedding[0][ids[0]], embedding[1][ids[1]])
    assert_relations_of(new.evidence, now, old.evidence, described)


def test_both_parts_of_a_structure_with_evidence_go_to_its_training(run, place, both, monkeypatch):
    """Without the training itself."""
    old, _, described = load_model(both)
    trained = []

    def train(graph, config, model_dir, *, start, **options):
        path = save_model(model_dir / "tirgn_best", start, config, graph)
        names = SimpleNamespace(entities=graph.entity_names, relations=graph.relation_names)
        trained.append((start, names, config.evidence))
        return {"status": "complete", "model_type": config.model_type, "checkpoint": str(path)}

    monkeypatch.setattr("tirgn_eqx.train.retrain.train_tirgn", train)
    found = retrained(run, place, both, "--seed", "7")
    ((start, names, evidence),) = trained
    assert_parts_of(start, names, old, described)
    assert evidence.evidence_heads == 2 and evidence.seed == 7 and evidence.logdir.endswith("retrain/logs/evidence")
    # As nothing was learnt, both are the same model.
    assert found["status"] == "replaced" and found["decision"]["difference"] == 0


@pytest.mark.slow
def test_a_structure_with_evidence_begins_with_both_parts(run, place, both, monkeypatch):
    monkeypatch.setattr(gate, "MIN_STEPS", 4)
    old, _, described = load_model(both)
    found = retrained(run, place, both, "--max-regression", "1")
    assert found["status"] == "replaced" and found["model_type"] == "regcn-evidence"
    assert set(found["training"]["stages"]) == {"evidence", "structure"}
    new, _, now = load_model(both)
    assert now.config["evidence"]["evidence_heads"] == 2
    assert_parts_of(new, now, old, described)
    assert not np.array_equal(old.gate.base, new.gate.base)


def test_what_cannot_be_retrained_is_refused_in_one_line(run, place, checkpoint, tmp_path):
    new, before = place / "new.parquet", bits(checkpoint)

    def refused(*words, code=1, data=new, ckpt=checkpoint):
        result = run("retrain", "--data-path", data, "--from", ckpt, *words)
        assert result.exit_code == code, result.output
        (line,) = [line for line in result.stderr.splitlines() if not line.startswith("times: ")]
        assert line.startswith("error: ") and result.stdout == ""
        return line

    assert "does not exist" in refused(ckpt=tmp_path / "none.npz")
    (tmp_path / "garbage.npz").write_bytes(b"PK garbage")
    assert "corrupt or cut short" in refused(ckpt=tmp_path / "garbage.npz")
    arrays, described = load_checkpoint(checkpoint).arrays, load_checkpoint(checkpoint).metadata
    nameless = save_checkpoint(tmp_path / "nameless", arrays, described | {"entities": None})
    assert "holds no names of its entities" in refused(ckpt=nameless)
    assert "file is missing" in refused(data=tmp_path / "none.parquet")
    assert "has no names of its entities" in refused(data=write_folder(tmp_path / "folder"))
    strangers = write_events(tmp_path / "strangers.parquet", range(12), list("ABCDE"))
    line = refused(data=strangers)
    assert "none of its entities" in line and "'A'" in line and "give data of the same kind" in line
    assert "holds evidence, and the settings ask for tirgn" in refused("--set", "family=tirgn", code=2)
    assert "[3, 2] in the model to begin from, and [3, 5]" in refused("--set", "evidence_heads=5", code=2)
    assert "--max-regression 3: must be between" in refused("--max-regression", "3", code=2)
    assert "'evidence_haeds' does not exist for evidence" in refused("--set", "evidence_haeds=5", code=2)
    assert "would write over" in refused("--model-dir", tmp_path, code=2)
    assert "no training to resume" in refused("--resume", "--quiet", "--model-dir", tmp_path / "empty")
    assert bits(checkpoint) == before and not (tmp_path / "tirgn_state.npz").exists()
    # Without --data-path it is what it was trained on, read again.
    again = run("retrain", "--from", checkpoint, "--resume", "--quiet")
    assert again.exit_code == 1 and again.stderr.startswith("warning: old: the very facts that")


def test_a_static_graph_is_refused(run, place, tmp_path):
    from tirgn_eqx.data import simulate

    graph = simulate(num_entities=8, num_relations=2, num_days=10, facts_per_day=6, static_graph=True).graph
    config = TiRGNTrainingConfig(embedding_dim=4, static_blocks=2, num_layers=1, conv_channels=2)
    shape = eqx.filter_eval_shape(lambda: build_model(8, 2, config, graph.static, key=jax.random.key(0)))
    model = jax.tree.map(lambda x: jax.numpy.zeros(x.shape, x.dtype), shape)
    path = save_model(tmp_path / "static", model, config, graph)
    result = run("retrain", "--data-path", place / "new.parquet", "--from", path)
    assert result.exit_code == 1 and "has a static graph" in result.stderr
