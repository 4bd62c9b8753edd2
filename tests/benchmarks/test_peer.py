"""The PyTorch model that benchmarks compare with computes what ours computes, and what the released one computed."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.golden_case import load_golden
from tirgn_eqx.train.step import loss_and_gradient

torch = pytest.importorskip("torch", reason="the peer is written in PyTorch, which is not installed")
peer_torch = pytest.importorskip("benchmarks.peer_torch")


@pytest.mark.parametrize("case", ["static", "plain"])
def test_loss_gradients_and_buffers_are_ours_and_the_golden_ones(case):
    golden = load_golden(case, np.float32)
    model, config, batch, numbers = golden.model, golden.config, golden.batch, golden.numbers
    peer = peer_torch.from_jax(model, config, dtype=torch.float64)
    theirs = peer_torch.batch_from_jax(batch, model.num_entities, model.num_relations, dtype=torch.float64)
    entity, relation, static = peer.losses(theirs)
    for ours, name in ((entity, "ent"), (relation, "rel"), (static, "static")):
        expected = np.ravel(numbers[f"train/loss_{name}"]).item()
        assert ours.item() == pytest.approx(expected, rel=1e-9, abs=1e-9)
    peer.zero_grad()
    peer.loss(theirs).backward()
    result = eqx.filter_jit(loss_and_gradient)(model, batch)
    parameters, compared = dict(peer.named_parameters()), 0
    largest = max(float(jnp.max(jnp.abs(leaf))) for leaf in jax.tree.leaves(result.gradient))
    for name, (where, layout) in peer_torch.pairs(model).items():
        if name not in parameters:
            continue
        ours = layout(np.asarray(where(result.gradient)))
        gradient = parameters[name].grad
        gradient = np.zeros_like(ours) if gradient is None else gradient.numpy()
        np.testing.assert_allclose(ours, gradient, rtol=1e-3, atol=2e-5 * largest, err_msg=name)
        compared += 1
    assert compared == len(parameters) > 40


@pytest.mark.slow
def test_three_steps_of_adam_end_near_ours():
    golden = load_golden("static", np.float32)
    peer = peer_torch.from_jax(golden.model, golden.config, dtype=torch.float64)
    sizes = golden.model.num_entities, golden.model.num_relations
    batch = peer_torch.batch_from_jax(golden.batch, *sizes, dtype=torch.float64)
    step = peer_torch.make_step(peer)
    losses = [step(batch).item() for _ in range(3)]
    from tirgn_eqx.train.families import make_step
    from tirgn_eqx.train.optimizer import init_optimizer, make_optimizer

    model, state = golden.model, init_optimizer(make_optimizer(golden.config), golden.model)
    ours = eqx.filter_jit(make_step(golden.config))
    mine = []
    for _ in range(3):
        model, state, metrics = ours(model, state, golden.batch)
        mine.append(float(metrics["loss"]))
    np.testing.assert_allclose(mine, losses, rtol=1e-4)
