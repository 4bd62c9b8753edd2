"""Memory predicted from shapes is that of the step that is trained, and orders settings as it should."""

import jax
import jax.random as jr
import pytest

from tirgn_eqx.config import TiRGNTrainingConfig
from tirgn_eqx.data import simulate
from tirgn_eqx.models import TiRGN
from tirgn_eqx.train.data import make_loader
from tirgn_eqx.train.memory import (
    ProblemShape,
    abstract_batch,
    compile_step,
    largest_batch,
    measured_bytes,
    predicted_bytes,
)
from tirgn_eqx.train.memory import probe_memory as probe

CONFIG = TiRGNTrainingConfig(embedding_dim=16, history_len=2, num_layers=1, conv_channels=4, batch_size=64)
SHAPE = ProblemShape(entities=300, relations=5, edges=100, queries=128)


@pytest.mark.parametrize("loss", ["full", "sampled", "shared"])
def test_the_abstract_batch_is_the_loader_s(loss):
    graph = simulate(num_entities=14, num_relations=4, num_days=12, facts_per_day=15, seed=2).graph
    config = CONFIG.replace(batch_size=10, loss=loss, max_buckets=1)
    loader = make_loader(graph, config)
    shape = ProblemShape.from_graph(graph, config)
    assert (shape.entities, shape.relations) == (14, 4)
    real = loader.build(int(loader.items[0])).batch
    abstract = abstract_batch(shape, config, loader.buckets[0])

    def describe(tree):
        return jax.tree.map(lambda x: (x.shape, str(x.dtype)), tree)

    assert describe(abstract.window) == describe(real.window)
    assert describe(abstract.entity_queries) == describe(real.entity_queries)
    assert describe(abstract.relation_queries) == describe(real.relation_queries)
    assert describe(abstract.rows) == describe(real.rows) and (real.rows is None) == (loss == "full")


@pytest.mark.slow
def test_predictions_count_parameters_and_the_size_of_a_micro_batch():
    config = CONFIG.replace(precision="f32")  # the smaller program
    model = TiRGN(SHAPE.entities, SHAPE.relations, config, key=jr.key(0))
    parameters = sum(leaf.nbytes for leaf in jax.tree.leaves(model) if hasattr(leaf, "nbytes"))
    analysis = compile_step(SHAPE, config).memory_analysis()
    # Parameters and Adam's two moments go in, and come out in the same place.
    assert analysis.argument_size_in_bytes > 2.9 * parameters
    assert analysis.alias_size_in_bytes > 2.9 * parameters
    assert predicted_bytes(SHAPE, config.replace(batch_size=0)) > 3 * parameters + analysis.temp_size_in_bytes


@pytest.mark.parametrize("budget", [1000, 1100, 3000, 9000, 26599, 26600])
def test_the_largest_batch_fits_and_the_next_does_not(monkeypatch, budget):
    # A fixed part, a part per query, and a little that is not linear.
    def predict(batch):
        return 1000 + 100 * batch + batch % 7

    calls = []

    def predicted(shape, config):
        calls.append(config.batch_size)
        return predict(config.batch_size)

    monkeypatch.setattr("tirgn_eqx.train.memory.predicted_bytes", predicted)
    found = largest_batch(SHAPE, CONFIG, budget)
    if budget < predict(64):
        assert found == 0
    else:
        assert predict(found) <= budget
        assert found >= min(2 * SHAPE.queries, 0.9 * (budget - 1000) / 100 - 2)
    assert len(calls) <= 6, "every call is a compilation"


def test_the_table_says_what_fits(monkeypatch):
    monkeypatch.setattr(
        "tirgn_eqx.train.memory.predicted_bytes", lambda shape, config: 1000 if config.batch_size else 2000
    )
    rows = probe(SHAPE, CONFIG, budget=1500, measure=False)
    assert {(row["precision"], row["remat"]) for row in rows} >= {("bf16", "none"), ("f32", "full")}
    assert {row["fits"] for row in rows if row["batch_size"]} == {True}
    assert {row["fits"] for row in rows if not row["batch_size"]} == {False}
    assert all(row["measured_bytes"] is None for row in rows)


@pytest.mark.slow
def test_measuring_runs_in_a_process_of_its_own():
    # A CPU keeps no count of its peak; the process must end well all the same.
    assert measured_bytes(SHAPE, CONFIG) is None or jax.default_backend() == "gpu"
