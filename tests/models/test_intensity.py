"""What evidence models are built of, against NumPy."""

import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from tests.helpers import normal
from tests.models.evidence_helpers import log_intensity, rough
from tirgn_eqx.models import intensity
from tirgn_eqx.models.intensity import FactoredLogits, LogIntensity, bounded_exp, capped_exp
from tirgn_eqx.nn.segments import take_rows


def test_exponentials_end_at_their_bounds():
    x = jnp.array([-100.0, -1.0, 0.0, 2.0, 100.0])
    np.testing.assert_allclose(bounded_exp(x), np.exp([-15, -1, 0, 2, 15]), rtol=1e-6)
    np.testing.assert_allclose(bounded_exp(x, 1.5), np.exp([-1.5, -1, 0, 1.5, 1.5]), rtol=1e-6)
    np.testing.assert_allclose(capped_exp(x), np.exp([-100, -1, 0, 2, 30]), rtol=1e-6, atol=1e-30)


def test_rows_outside_are_zeros():
    table = jnp.arange(6.0).reshape(3, 2) + 1
    assert take_rows(table, jnp.array([2, 3, 0])).tolist() == [[5, 6], [0, 0], [1, 2]]


def test_a_log_intensity_is_its_definition():
    part = rough(LogIntensity(5, 4, 3, 2, level=-1.0, spread=0.1, key=jr.key(0)))
    x, relation = normal(0, 6, 5), np.array([0, 1, 1, 0, 1, 0])
    found = part(jnp.asarray(x, jnp.float32), jnp.asarray(relation))
    expected = [log_intensity(part, row, r) for row, r in zip(x, relation)]
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_a_log_intensity_begins_near_its_level():
    part = LogIntensity(5, 4, 3, 50, level=-2.0, spread=0.1, key=jr.key(0))
    level = np.asarray(part(jnp.zeros((50, 5)), jnp.arange(50)))
    assert level.mean() == pytest.approx(-2, abs=0.05) and level.std() == pytest.approx(0.1, abs=0.03)


@pytest.mark.parametrize("most", [0, 2**26], ids=["chunks", "matrix"])
def test_factored_logits_are_sums_of_scaled_and_shifted_products(most, monkeypatch):
    monkeypatch.setattr(intensity, "MAX_DENSE_LOGITS", most)
    first, second, candidates, others = normal(1, 4, 3), normal(2, 4, 2), normal(3, 7, 3), normal(4, 7, 2)
    factor, constant = normal(5, 4), normal(6, 4)

    def f32(x):
        return jnp.asarray(x, jnp.float32)

    one, two = (FactoredLogits(f32(q), f32(c)) for q, c in ((first, candidates), (second, others)))
    found = one.scale(f32(factor)).add(two).shift(f32(constant))
    assert (found.dense is None) == (most == 0)
    expected = (first @ candidates.T) * factor[:, None] + second @ others.T + constant[:, None]
    np.testing.assert_allclose(found.matrix(), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.logsumexp(), np.log(np.exp(expected).sum(1)), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.sum_exp(), np.exp(expected).sum(1), rtol=1e-4)
    # The last pair is of a padded query.
    at = found.at(jnp.array([0, 3, 4]), jnp.array([6, 2, 1]))
    np.testing.assert_allclose(at, [expected[0, 6], expected[3, 2], 0], rtol=1e-4, atol=1e-5)
