"""Trainings of the evidence model: to the bit again after an interruption, refusals, and what it learns."""

import jax
import numpy as np
import pytest

from tests.helpers import make_graph, random_graph, same_bits
from tests.models.evidence_helpers import small
from tirgn_eqx.checkpoint.models import load_model
from tirgn_eqx.data import simulate
from tirgn_eqx.errors import CheckpointError, ConfigError, DataError
from tirgn_eqx.evaluate import evaluate_model
from tirgn_eqx.models import build_model
from tirgn_eqx.train import trainer as training
from tirgn_eqx.train.api import train_tirgn
from tirgn_eqx.train.optimizer import parameter_count


@pytest.fixture(scope="module")
def graph():
    return random_graph(3, num_entities=14, facts=8)


@pytest.mark.ci
def test_memory_that_runs_out_is_said_with_what_to_do(tmp_path, monkeypatch):
    def run_out(self, *arguments):
        raise MemoryError

    monkeypatch.setattr(training.CompiledStep, "__call__", run_out)
    graph = simulate(num_days=10, num_entities=12, seed=1).graph
    config = small(max_buckets=1, evidence_background=False, logdir=str(tmp_path / "log"))
    with pytest.raises(DataError, match="smaller --batch-size \\(now 2048\\)"):
        train_tirgn(graph, config, model_dir=tmp_path)


def test_half_precision_is_refused(graph, tmp_path):
    with pytest.raises(ConfigError, match="evidence sums intensities in f32"):
        train_tirgn(graph, small(precision="bf16", logdir=str(tmp_path)), model_dir=tmp_path)


@pytest.mark.ci
def test_trains_resumes_to_the_bit_and_comes_back_from_its_checkpoint(tmp_path):
    graph = simulate(num_days=20, num_entities=30, seed=1).graph
    config = small(epochs=3, batch_size=64, max_buckets=1, dropout=0.2, ema_decay=0.9, logdir=str(tmp_path / "log"))
    whole = train_tirgn(graph, config, model_dir=tmp_path / "whole")
    assert whole["model_type"] == "evidence" and whole["status"] == "complete"
    calls = iter([False] * 7 + [True] * 1000)
    part = train_tirgn(graph, config, model_dir=tmp_path / "part", stop=lambda: next(calls))
    assert part["status"] == "interrupted"
    train_tirgn(graph, config, model_dir=tmp_path / "part", resume=True)
    first, _, described = load_model(tmp_path / "whole" / "tirgn_trained.npz", "evidence")
    second, _, _ = load_model(tmp_path / "part" / "tirgn_trained.npz")
    assert same_bits(first, second) and described.model_type == "evidence"
    model, _, _ = load_model(whole["checkpoint"])
    again = evaluate_model(model, graph, history_len=1)
    assert again.entity["mrr"] == whole["test"]["entity"]["mrr"]
    with pytest.raises(CheckpointError, match="'evidence', not 'tirgn'"):
        load_model(whole["checkpoint"], "tirgn")


@pytest.mark.slow
def test_it_learns_what_recurs(tmp_path):
    # Entity s greets s + 1 every day, but for a tenth of the days, when it is somebody else.
    rng = np.random.default_rng(0)
    rows = [
        (s, 0, (s + 1) % 12 if rng.random() > 0.1 else int(rng.integers(12)), t) for t in range(40) for s in range(12)
    ]
    graph = make_graph(rows, num_entities=12, num_relations=1, valid=360, test=420)
    config = small(epochs=6, learning_rate=0.02, max_buckets=1)
    model = build_model(12, 1, config, key=jax.random.key(0))
    before = evaluate_model(model, graph, history_len=1)

    result = train_tirgn(graph, config.replace(logdir=str(tmp_path / "log")), model_dir=tmp_path)
    assert result["test"]["entity"]["nll"] < min(1.2, before.entity["nll"] - 0.3)
    assert result["test"]["entity"]["hits_at_1"] > 0.8
    assert result["parameters"] == parameter_count(model)
