"""The pytrees that travel to the device: their shapes are checked, and padding is what they say it is."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import TypeCheckError

from tirgn_eqx.types import EntityRows, Queries, Window


def window(time=2, **changes):
    fields = {
        "valid": jnp.ones(time, bool),
        "active": jnp.zeros((time, 3), jnp.int32),
        "degree": jnp.zeros((time, 3)),
        "edge_source": jnp.zeros((time, 4), jnp.int32),
        "edge_relation": jnp.zeros((time, 4), jnp.int32),
        "edge_target": jnp.zeros((time, 4), jnp.int32),
        "relation_count": jnp.zeros((time, 5)),
        "pair_entity": jnp.zeros((time, 6), jnp.int32),
        "pair_relation": jnp.zeros((time, 6), jnp.int32),
    }
    return Window(**fields | changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"degree": jnp.zeros((2, 4))},  # of other entities than `active`
        {"edge_target": jnp.zeros((2, 5), jnp.int32)},
        {"pair_relation": jnp.zeros((3, 6), jnp.int32)},
        {"active": jnp.zeros((2, 3))},
        {"valid": jnp.ones(2, jnp.int32)},
    ],
)
def test_arrays_whose_axes_do_not_agree_are_refused(changes):
    assert len(jax.tree.leaves(window())) == 9
    with pytest.raises(TypeCheckError):
        window(**changes)


def test_rows_of_padding_are_zero():
    table = jnp.arange(1.0, 7.0).reshape(3, 2)
    rows = EntityRows(jnp.array([0, 2, 3, 3]), jnp.array([1.0, 1.0, 0.0, 0.0]))
    np.testing.assert_array_equal(rows.take(table), [[1, 2], [5, 6], [0, 0], [0, 0]])
    assert EntityRows(None, jnp.ones(3)).take(table) is table
    # Only the rows that are taken have a gradient.
    gradient = jax.grad(lambda table: rows.take(table).sum())(table)
    np.testing.assert_array_equal(gradient, [[1, 1], [0, 0], [1, 1]])


def test_queries_without_answers_have_empty_lists_of_the_checked_types():
    subject, history = jnp.array([4, 5]), jnp.array([0, 0, 1])
    queries = Queries.without_answers(subject, subject + 1, history, history)
    assert queries.weight.tolist() == [1, 1]
    for name, dtype in (("answer", jnp.int32), ("answer_weight", jnp.float32), ("answer_in_history", jnp.bool_)):
        assert getattr(queries, name).shape == (0,) and getattr(queries, name).dtype == dtype
    assert queries.true_query is None and queries.negatives is None
