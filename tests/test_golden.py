"""Equal to the released model, number by number: states, logits, losses, gradients, buffers, one Adam step.

In float64 within 1e-9 of the largest value of each array, in float32 within 1e-4.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.golden_case import load_golden
from tirgn_eqx.checkpoint.models import named_leaves
from tirgn_eqx.checkpoint.released import tensor_table
from tirgn_eqx.evaluate.ranks import answer_ranks
from tirgn_eqx.models import RecurrentEncoder, logits
from tirgn_eqx.models.tirgn import TiRGN
from tirgn_eqx.train.families import make_step
from tirgn_eqx.train.optimizer import init_optimizer, make_optimizer
from tirgn_eqx.train.step import loss_and_gradient

TOLERANCE = {"f64": 1e-9, "f32": 1e-4}
QUERIES = 24


SLOW = pytest.mark.slow
CASES = [
    ("static", "f64"),
    pytest.param(("static", "f32"), marks=SLOW),
    pytest.param(("plain", "f64"), marks=SLOW),
    ("plain", "f32"),
]


@pytest.fixture(scope="module", params=CASES)
def case(request):
    name, precision = request.param
    was = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", precision == "f64")
    try:
        yield load_golden(name, np.float64 if precision == "f64" else np.float32), TOLERANCE[precision]
    finally:
        jax.config.update("jax_enable_x64", was)


@pytest.fixture(params=["eval", "train"])
def mode(request):
    return request.param


def assert_equal(ours, golden, tolerance, what, floor=1e-12):
    ours, golden = np.asarray(ours, np.float64), np.asarray(golden)
    assert ours.shape == golden.shape, what
    scale = max(np.abs(golden).max(), floor)
    worst = np.abs(ours - golden).max() / scale
    assert worst < tolerance, f"{what}: off by {worst:.2e} of {scale:.3g}"


def test_every_step_of_the_evolution(case, mode):
    golden, tolerance = case
    numbers, model = golden.numbers, golden.model
    static = model.encoder.static_embedding()
    if static is not None:
        assert_equal(static, numbers[f"{mode}/static_emb"], tolerance, "static embedding")
    state, relations, running = (
        model.encoder.initial_state(static),
        model.encoder.relation_embedding,
        model.buffers.graph,
    )
    for step in range(3):
        snapshot = jax.tree.map(lambda x, step=step: x[step], golden.window)
        state, relations, running, trace = eqx.filter_jit(RecurrentEncoder.evolve)(
            model.encoder, state, relations, snapshot, running, training=mode == "train", key=None
        )

        def expected(name, step=step):
            return numbers[f"{mode}/{name}"][step]

        assert_equal(trace.relation_pool, expected("rel_pool_steps"), tolerance, "relation pooling")
        assert_equal(relations, expected("rel_emb_steps"), tolerance, "relations")
        for layer, out in enumerate(trace.layers):
            assert_equal(out, expected("gcn_layer_out")[layer], tolerance, f"graph layer {layer}")
        assert_equal(trace.update_input, expected("ent_gru_in"), tolerance, "entity GRU input")
        assert_equal(trace.update_output, expected("ent_gru_out"), tolerance, "entity GRU output")
        assert_equal(state, expected("evolve_embs"), tolerance, "entities")


def test_static_layer_before_normalisation(case, mode):
    golden, tolerance = case
    model = golden.model
    if model.encoder.static_conv is None:
        pytest.skip("the plain case has no static graph")
    ours = model.encoder.static_conv(model.word_embedding, model.static_edges)
    assert_equal(ours, golden.numbers[f"{mode}/static_layer_out"][:17], tolerance, "static layer")


def test_decoders_probabilities_and_losses(case, mode):
    golden, tolerance = case
    numbers, model, training = golden.numbers, golden.model, mode == "train"
    encoding, _ = eqx.filter_jit(model.encoder)(golden.window, training=training)
    assert_equal(encoding.entity, numbers[f"{mode}/pre_emb"], tolerance, "decoder input")
    assert_equal(encoding.static_loss, numbers[f"{mode}/loss_static"][0], tolerance, "static loss")
    linear, periodic = model.time(golden.batch.time_index)
    assert_equal(linear, numbers[f"{mode}/time_emb_linear"][0], tolerance, "linear time vector")
    assert_equal(periodic, numbers[f"{mode}/time_emb_sin"][0], tolerance, "periodic time vector")
    for kind, short, queries in zip(("entity", "relation"), ("ent", "rel"), golden.queries):
        raw, history, candidates, buffers = eqx.filter_jit(TiRGN.decode)(
            model, encoding, queries, golden.batch.time_index, model.buffers, kind=kind, training=training
        )
        seen = logits.in_history(queries, len(candidates))
        mask = numbers["tail_mask" if kind == "entity" else "rel_mask"]
        np.testing.assert_array_equal(np.asarray(seen[:QUERIES], np.float32), mask)
        raw_logits = logits.candidate_logits(raw, candidates)
        history_logits = logits.history_logits(logits.candidate_logits(history, candidates), seen, "multiply")
        log = logits.log_probabilities(raw, history, candidates, seen, 0.3, "multiply")
        for name, ours in {
            f"logit_{short}_raw": raw_logits,
            f"logit_{short}_hist": history_logits,
            f"prob_{short}_raw": jax.nn.softmax(raw_logits, -1),
            f"prob_{short}_hist": jax.nn.softmax(history_logits, -1),
            f"logscore_{short}": log,
        }.items():
            assert_equal(ours[:QUERIES], numbers[f"{mode}/{name}"], tolerance, name)
        loss, _ = eqx.filter_jit(TiRGN.answer_losses)(
            model,
            encoding,
            queries,
            golden.batch.time_index,
            model.buffers,
            kind=kind,
            training=training,
            key=None,
        )
        assert_equal(loss / QUERIES, numbers[f"{mode}/loss_{short}"][0], tolerance, f"{kind} loss")


def test_every_gradient(case, mode):
    golden, tolerance = case
    precision = golden.config.precision
    result = eqx.filter_jit(loss_and_gradient)(
        golden.model, golden.batch, precision=precision, training=mode == "train"
    )
    assert_equal(result.metrics["loss"], golden.numbers[f"{mode}/loss_total"][0], tolerance, "total loss")
    compared = 0
    for name, (path, layout) in tensor_table(golden.model).items():
        expected = golden.numbers.get(f"{mode}/grad/{name}")
        if expected is not None:
            # A bias before a BatchNorm has gradient 0: compare with the gradients' usual size there.
            assert_equal(named_leaves(result.gradient)[path], layout(expected), tolerance, name, floor=1e-3)
            compared += 1
    # Every parameter of ours that the released forward pass uses was compared.
    leaves = jax.tree.leaves(result.gradient)
    assert compared == len(leaves) > 40
    if golden.model.encoder.static_conv is not None:
        assert not np.any(result.gradient.encoder.entity_embedding), "words alone make the initial state"


def test_buffers_and_parameters_after_one_step(case):
    golden, tolerance = case
    numbers = golden.numbers
    opt_state = init_optimizer(make_optimizer(golden.config), golden.model)
    step = eqx.filter_jit(make_step(golden.config))
    model, _, metrics = step(golden.model, opt_state, golden.batch)
    assert_equal(metrics["gradient_norm"], numbers["train/grad_norm"].reshape(()), tolerance, "gradient norm")
    buffers = parameters = 0
    for name, (path, layout) in tensor_table(golden.model).items():
        if f"train/buffer_after/{name}" in numbers:
            assert_equal(named_leaves(model)[path], layout(numbers[f"train/buffer_after/{name}"]), tolerance, name)
            buffers += 1
        elif f"train/adam1/{name}" in numbers:
            expected, ours = layout(numbers[f"train/adam1/{name}"]), np.asarray(named_leaves(model)[path])
            # The first Adam step is lr * sign(g): where g is rounding noise, so is its sign.
            gradient = layout(numbers[f"train/grad/{name}"])
            decayed = gradient + 1e-5 * layout(numbers[f"state/{name}"])
            clear = np.abs(decayed) > 1e-6
            assert_equal(np.where(clear, ours, 0), np.where(clear, expected, 0), tolerance, name)
            parameters += 1
    assert buffers == 2 * (len(golden.model.encoder.layers) + 12)
    assert parameters > 40


def test_ranks_and_mrr(case):
    golden, _ = case
    numbers, model = golden.numbers, golden.model
    encoding, _ = eqx.filter_jit(model.encoder)(golden.window)
    for kind, short, queries in zip(("entity", "relation"), ("ent", "rel"), golden.queries):
        log = eqx.filter_jit(TiRGN.log_probabilities)(model, encoding, queries, golden.batch.time_index, kind=kind)
        own = log[queries.answer_query, queries.answer]
        quick = eqx.filter_jit(TiRGN.ranking_scores)(model, encoding, queries, golden.batch.time_index, kind=kind)
        for ranks in (answer_ranks(log, own, queries), answer_ranks(*quick, queries)):
            np.testing.assert_array_equal(ranks.raw[:QUERIES], numbers[f"eval/rank_{short}_raw"])
            np.testing.assert_array_equal(ranks.filtered[:QUERIES], numbers[f"eval/rank_{short}_filter"])
            np.testing.assert_allclose(ranks.nll[:QUERIES], -own[:QUERIES], rtol=1e-5)
            for ours, golden_mrr in zip((ranks.raw, ranks.filtered), numbers[f"eval/mrr_{short}"]):
                assert float(jnp.mean(1 / ours[:QUERIES])) == pytest.approx(golden_mrr, abs=1e-6)
