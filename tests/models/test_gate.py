"""The gate of a mixture: its three numbers for every query, by hand."""

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from tirgn_eqx.models.gate import LEARNING_RATE_SCALES, QUERY_FEATURES, Gate


@pytest.fixture(scope="module")
def gate():
    return Gate(2, context=True, key=jr.key(1))


def test_exponent_level_and_lift_are_sums_of_the_features_and_the_relation_of_a_query(gate):
    rng = np.random.default_rng(0)
    by_feature, by_relation = rng.normal(size=(QUERY_FEATURES, 3)), rng.normal(size=(4, 3))
    made = eqx.tree_at(
        lambda g: (g.by_feature, g.by_relation), gate, (jnp.asarray(by_feature), jnp.asarray(by_relation))
    )
    features, relation = rng.normal(size=(6, QUERY_FEATURES)), np.array([0, 3, 1, 1, 2, 0])
    found = made(jnp.asarray(features, jnp.float32), jnp.asarray(relation))
    scales = np.array(LEARNING_RATE_SCALES)
    expected = np.asarray(gate.base) + scales * (features @ by_feature) + 0.3 * scales * by_relation[relation]
    expected[:, 0] = np.maximum(expected[:, 0], 0)
    np.testing.assert_allclose(np.stack(found, 1), expected, rtol=1e-4, atol=1e-5)
    assert float(made.l2_penalty()) == pytest.approx(np.mean(by_feature**2) + np.mean(by_relation**2), rel=1e-5)


def test_the_exponent_is_never_negative(gate):
    negative = eqx.tree_at(lambda g: g.base, gate, jnp.array([-0.5, -1.0, -0.2]))
    exponent, level, lift = negative(jnp.zeros((2, QUERY_FEATURES)), jnp.zeros(2, jnp.int32))
    assert exponent.tolist() == [0, 0]
    np.testing.assert_allclose([level, lift], [[-1, -1], [-0.2, -0.2]], rtol=1e-6)
