"""The compiled step: compiled once for each batch shape, with the key of the step in its batch."""

import equinox as eqx
import jax
import jax.random as jr
import pytest

from tests.helpers import random_graph, same_bits
from tirgn_eqx.config import preset
from tirgn_eqx.models import build_model
from tirgn_eqx.train.compiled_step import CompiledStep, with_key
from tirgn_eqx.train.data import EvidenceData
from tirgn_eqx.train.events import CompileRecord
from tirgn_eqx.train.optimizer import init_optimizer, make_optimizer

SMALL = {
    "embedding_dim": 4,
    "evidence_heads": 2,
    "evidence_hidden": 3,
    "evidence_background": False,
    "precision": "f32",
}


@pytest.fixture(scope="module")
def loader():
    config = preset("evidence").replace(**SMALL, max_buckets=2, batch_size=8)
    return EvidenceData(random_graph(2, num_times=12), config).loader(config)


def test_the_key_of_a_step_is_in_its_batch(loader):
    prepared, key = loader.build(0), jr.key(7)
    assert prepared.batch.key is None
    batch = with_key(prepared, key)
    assert batch.key is key and eqx.tree_equal(eqx.tree_at(lambda b: b.key, batch, None), prepared.batch)


def test_every_batch_shape_is_compiled_once_and_told(loader):
    config, records = preset("evidence").replace(**SMALL), []
    graph, optimizer = loader.graph, make_optimizer(config)
    model = build_model(graph.num_entities, graph.num_relations, config, key=jr.key(0))
    step, opt_state = CompiledStep(config, records.append, optimizer), init_optimizer(optimizer, model)
    step.compile(model, opt_state, loader, jr.key(1))
    assert {record.bucket for record in records} == set(range(len(loader.buckets))) and len(loader.buckets) == 2
    assert all(isinstance(record, CompileRecord) and record.seconds > 0 for record in records)
    prepared, before = loader.build(0), jax.tree.map(jax.numpy.copy, model)
    new, _, metrics = step(model, opt_state, prepared, jr.key(1))
    assert float(metrics["loss"]) > 0 and not same_bits(new, before)
    step.compile(new, init_optimizer(optimizer, new), loader, jr.key(1))
    assert len(records) == 2
