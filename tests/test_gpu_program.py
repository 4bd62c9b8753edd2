"""The programs for NVIDIA GPUs, lowered on any machine: no float is added by a scatter into few targets.

Such scatters are the trap of `tirgn_eqx.nn.segments`. The programs are those of StableHLO, before XLA compiles them.
"""

import math
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest
from jaxlib.mlir import ir
from jaxlib.mlir.dialects import stablehlo

from tests.backends import traced_for
from tests.helpers import tiny_config
from tirgn_eqx import make_loader, make_step
from tirgn_eqx.config import EvidenceTrainingConfig, MixtureTrainingConfig, TiRGNTrainingConfig, preset
from tirgn_eqx.data import simulate
from tirgn_eqx.data.batches.evidence_loader import EvidenceLoader, EvidenceOptions
from tirgn_eqx.data.batches.windows import WindowLoader
from tirgn_eqx.data.index.evidence import EvidenceIndex
from tirgn_eqx.evaluate.evaluators import RecurrentGraphEvaluator, rank_batch, rank_evidence_batch
from tirgn_eqx.models import Mixture, build_model
from tirgn_eqx.nn import segments
from tirgn_eqx.train.gate import gate_loss, make_gate_step
from tirgn_eqx.train.optimizer import make_optimizer, trainable
from tirgn_eqx.train.step import evidence_loss, loss_and_gradient

pytestmark = pytest.mark.ci

# One more than the few: sums into entities are not the trap, and keep their scatter.
ENTITIES = segments.FEW_TARGETS + 1
RECURRENT = {"static_graph": True, "batch_size": 8, "max_buckets": 1}


class Scatter(NamedTuple):
    """A scatter that adds floats."""

    targets: int
    updates: int
    place: str


def scatters(function, *arguments):
    """The scatters that add floats in the program of `function` for an NVIDIA GPU."""
    arrays, rest = eqx.partition(arguments, eqx.is_array)

    def of_arrays(arrays):
        return eqx.filter(function(*eqx.combine(arrays, rest)), eqx.is_array)

    with traced_for("gpu"):
        lowered = jax.jit(of_arrays).trace(arrays).lower(lowering_platforms=("cuda",))
    found = []

    def visit(operation):
        if operation.name == "stablehlo.scatter":
            body = {inner.operation.name for inner in operation.regions[0].blocks[0]}
            table, index = (operation.operands[i].type for i in range(2))
            if "stablehlo.add" in body and isinstance(table.element_type, (ir.F32Type, ir.BF16Type)):
                numbers = stablehlo.ScatterDimensionNumbers(operation.attributes["scatter_dimension_numbers"])
                targets = [table.shape[axis] for axis in numbers.scattered_dims_to_operand_dims]
                updates = [size for axis, size in enumerate(index.shape) if axis != numbers.index_vector_dim]
                found.append(Scatter(math.prod(targets), math.prod(updates), str(operation.location)[:300]))
        return ir.WalkResult.ADVANCE

    program = lowered.compiler_ir("stablehlo")
    assert program is not None
    program.operation.walk(visit)
    return found


def into_few(found):
    """The trap; a scatter of a single update is not, because nothing collides."""
    return [scatter for scatter in found if scatter.targets < segments.FEW_TARGETS and scatter.updates > 1]


def check(function, *arguments):
    """No scatter adds into few targets; where the forms without a scatter are switched off, some do."""
    found = scatters(function, *arguments)
    assert not into_few(found)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segments, "FEW_TARGETS", 0)
        plain = scatters(function, *arguments)
    assert into_few(plain), "this test sees no scatter at all"
    return found


@pytest.fixture(scope="module")
def graph():
    return simulate(num_entities=ENTITIES, num_relations=3, num_days=10, facts_per_day=12, static_graph=True).graph


def recurrent_config(family, **changes):
    return tiny_config(family, **RECURRENT | changes)


def evidence_config(**changes):
    small = {"embedding_dim": 4, "evidence_heads": 2, "evidence_hidden": 3, "max_buckets": 1}
    return preset("evidence").replace(**small | changes)


def mixture_config():
    structure, evidence = recurrent_config("tirgn"), evidence_config()
    assert isinstance(structure, TiRGNTrainingConfig) and isinstance(evidence, EvidenceTrainingConfig)
    return MixtureTrainingConfig.of(structure, evidence)


def empty_model(graph, config):
    """A model of zeros: programs depend on shapes alone."""

    def make(key):
        return build_model(graph.num_entities, graph.num_relations, config, graph.static, key=key)

    return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), eqx.filter_eval_shape(make, jr.key(0)))


def last_batch(graph, config):
    """The last training batch with the key of its dropout."""
    if isinstance(config, EvidenceTrainingConfig):
        options = {"context": config.evidence_context, "background": config.has_background, "max_buckets": 1}
        loader = EvidenceLoader(graph, EvidenceIndex(graph), "train", EvidenceOptions(**options))
    else:
        loader = make_loader(graph, config)
    batch = loader.build(int(loader.items[-1])).batch
    return eqx.tree_at(lambda b: b.key, batch, jr.key(0), is_leaf=lambda x: x is None)


def step_of(graph, config):
    """The training step of `config`, and its arguments."""
    model, optimizer = empty_model(graph, config), make_optimizer(config)
    state = optimizer.init(eqx.filter(model, trainable(model)))
    return make_step(config, optimizer, graph.num_entities), model, state, last_batch(graph, config)


@pytest.mark.parametrize(
    "changes",
    [{}, {"loss": "shared"}, {"loss": "sampled"}, {"targets_per_step": 2}, {"precision": "bf16", "remat": "dots"}],
    ids=lambda changes: "-".join(map(str, changes.values())) or "full",
)
def test_a_step_of_tirgn(graph, changes):
    config = recurrent_config("tirgn", **changes)
    found = check(*step_of(graph, config))
    if "loss" not in changes:
        assert any(scatter.targets >= ENTITIES for scatter in found), "sums into entities are left as they are"


def test_a_step_of_regcn(graph):
    check(*step_of(graph, recurrent_config("regcn")))


@pytest.mark.parametrize("background", [True, False])
def test_a_step_of_evidence(graph, background):
    check(*step_of(graph, evidence_config(evidence_background=background)))


def evidence_batch(graph, model, split):
    options = EvidenceOptions(max_buckets=1, with_truth=True, **model.loader_options)
    return EvidenceLoader(graph, EvidenceIndex(graph), split, options).build(0)


def at_target(graph, model, target):
    """The arguments that `informed` takes before a batch."""
    found = WindowLoader(graph, None, history_len=3).build(target)
    return model, found.window, found.time_index


def informed(model, window, time_index):
    """A mixture at a target, the encoding of the window included."""
    return model.at(model.structure.encoder(window)[0], time_index)


def test_a_step_of_the_gate_of_a_mixture(graph):
    model, optimizer = empty_model(graph, mixture_config()), optax.adam(1e-2)
    prepared = evidence_batch(graph, model.evidence, "valid")
    state = optimizer.init(eqx.filter(model.gate, eqx.is_inexact_array))

    def step(state, batch, *at):
        mixture = informed(*at)
        return make_gate_step(optimizer)(mixture.model.gate, state, mixture, batch)

    check(step, state, prepared.batch, *at_target(graph, model, prepared.target))


@pytest.mark.parametrize("family", ["tirgn", "regcn"])
def test_an_evaluation_of_a_recurrent_graph_model(graph, family):
    model = empty_model(graph, recurrent_config(family))
    evaluator = RecurrentGraphEvaluator(graph, "test", history_len=3, history_window=0)
    prepared = next(evaluator.loader.one_of_each())
    check(rank_batch, model, prepared.batch, jnp.zeros((graph.num_entities, 8)))


def test_an_evaluation_of_evidence(graph):
    model = empty_model(graph, evidence_config())
    check(rank_evidence_batch, model, evidence_batch(graph, model, "test").batch)


def test_an_evaluation_of_a_mixture(graph):
    model = empty_model(graph, mixture_config())
    prepared = evidence_batch(graph, model.evidence, "test")

    def rank(batch, *at):
        return rank_evidence_batch(informed(*at), batch)

    check(rank, prepared.batch, *at_target(graph, model, prepared.target))


# --- the forms without a scatter, run on the device of this machine ----------------------------------------------


def real_model(graph, config):
    def make(key):
        return build_model(graph.num_entities, graph.num_relations, config, graph.static, key=key)

    return eqx.filter_jit(make)(jr.key(1))


def assert_equal_for(backends, function, *arguments):
    """`function` traced for each backend gives the same numbers, but for rounding."""
    results = []
    for backend in backends:
        with traced_for(backend):
            # A function of its own: JAX would find the program of the first backend again.
            run = eqx.filter_jit(lambda *arguments: function(*arguments))
            results.append(jax.tree.leaves(eqx.filter(run(*arguments), eqx.is_inexact_array)))
    assert len(results[0]) > 3
    for first, second in zip(*results, strict=True):
        assert np.isfinite(first).all()
        np.testing.assert_allclose(first, second, rtol=2e-4, atol=2e-6)


@pytest.fixture(scope="module")
def small_graph():
    """So few entities that tables of these take no scatter, either."""
    return simulate(num_entities=12, num_relations=3, num_days=12, facts_per_day=12, static_graph=True).graph


@pytest.mark.parametrize(
    ("family", "loss"), [("tirgn", "full"), ("tirgn", "shared"), ("tirgn", "sampled"), ("regcn", "full")]
)
def test_gradients_of_recurrent_graph_models(small_graph, family, loss):
    config = recurrent_config(family, loss=loss)
    model, batch = real_model(small_graph, config), last_batch(small_graph, config)

    def gradient(model, batch):
        if batch.rows is not None and batch.rows.index is not None:
            model = model.at_rows(batch.rows)
        return loss_and_gradient(model, batch, num_entities=small_graph.num_entities)

    assert_equal_for(["cpu", "gpu"], gradient, model, batch)


def test_gradients_of_evidence(small_graph):
    config = evidence_config()
    model, batch = real_model(small_graph, config), last_batch(small_graph, config)
    assert_equal_for(["cpu", "gpu"], eqx.filter_grad(evidence_loss, has_aux=True), model, batch)


def test_gradients_of_the_gate_and_ranks_of_a_mixture(small_graph):
    model = real_model(small_graph, mixture_config())
    assert isinstance(model, Mixture)
    prepared = evidence_batch(small_graph, model.evidence, "test")

    def both(batch, *at):
        mixture = informed(*at)
        gradient, _ = eqx.filter_grad(gate_loss, has_aux=True)(mixture.model.gate, mixture, batch)
        return gradient, rank_evidence_batch(mixture, batch)

    assert_equal_for(["cpu", "gpu"], both, prepared.batch, *at_target(small_graph, model, prepared.target))


def test_what_is_called_sorted_is_sorted(small_graph):
    """On a CPU nothing depends on it."""
    batch = last_batch(small_graph, recurrent_config("tirgn"))
    lists = [batch.window.pair_relation, batch.window.edge_target]
    lists += [batch.entity_queries.history_query, batch.relation_queries.history_query]
    batch = last_batch(small_graph, evidence_config())
    lists += [batch.neighbours.entry_neighbour, batch.entity.popular_group, batch.entity.cell_query]
    lists += [batch.global_graph.link_subject]
    for ids in lists:
        assert ids.size and (np.diff(ids) >= 0).all()
