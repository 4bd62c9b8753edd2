"""Training learns most of what can be learnt, measured against the simulated world's best-possible score."""

import pytest
from helpers import dataset

from tirgn_eqx import TiRGNTrainingConfig, load_graph, preset, simulate, train_tirgn


def test_a_small_world_is_learnt_nearly_as_well_as_possible(tmp_path):
    world = simulate(num_entities=40, num_relations=10, num_days=100, facts_per_day=60, seed=0)
    config = TiRGNTrainingConfig(
        embedding_dim=32,
        history_len=3,
        num_layers=1,
        epochs=20,
        eval_interval=2,
        patience=6,
        learning_rate=3e-3,
        max_buckets=1,
        logdir=str(tmp_path / "logs"),
    )
    result = train_tirgn(world.graph, config, model_dir=tmp_path)
    best = world.best_mrr("test")["mrr"]
    assert result["test"]["entity"]["mrr"] >= 0.88 * best


@pytest.mark.slow
def test_the_default_world_reaches_nine_tenths_of_the_best_possible(tmp_path):
    world = simulate()
    result = train_tirgn(world.graph, TiRGNTrainingConfig(logdir=str(tmp_path / "logs")), model_dir=tmp_path)
    assert result["test"]["entity"]["mrr"] >= 0.9 * world.best_mrr("test")["mrr"]


@pytest.mark.slow
def test_an_icews14s_epoch_lowers_the_loss(tmp_path):
    graph = load_graph(dataset("ICEWS14s"))
    config = preset("icews14s").replace(epochs=1, logdir=str(tmp_path / "logs"))
    result = train_tirgn(graph, config, model_dir=tmp_path)
    # A guess that knows only how often each entity answers gets an MRR of about 0.03.
    assert result["validation"]["entity"]["mrr"] > 0.2
