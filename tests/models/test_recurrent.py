"""What the recurrent graph models share: buffers that are replaced as a whole, rows of entities, and losses."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers import normal, same_bits, tiny_model
from tirgn_eqx.models import Encoding
from tirgn_eqx.types import EntityRows, Queries

ENTITIES, RELATIONS, DIM = 6, 2, 8


@pytest.fixture(scope="module")
def model():
    return tiny_model(ENTITIES, RELATIONS)


def other_numbers(buffers):
    return jax.tree.map(lambda x: x + 1, buffers)


def test_new_buffers_are_those_of_the_model_and_change_no_parameter(model):
    buffers = other_numbers(model.buffers)
    changed = model.with_buffers(buffers)
    assert same_bits(changed.buffers, buffers) and not same_bits(model.buffers, buffers)
    assert same_bits(changed.with_buffers(model.buffers), model)


def test_buffers_of_one_kind_are_replaced_alone(model):
    buffers = model.buffers
    new = other_numbers(buffers.of("relation"))
    changed = buffers.replace("relation", new)
    assert same_bits(changed.of("relation"), new)
    assert same_bits((changed.graph, changed.of("entity")), (buffers.graph, buffers.of("entity")))


def test_a_model_of_rows_has_their_embeddings_and_zeros_for_padding(model):
    rows = EntityRows(jnp.array([1, 4, ENTITIES]), jnp.array([1.0, 1.0, 0.0]))
    table = np.asarray(model.at_rows(rows).encoder.entity_embedding)
    np.testing.assert_array_equal(table[:2], np.asarray(model.encoder.entity_embedding)[[1, 4]])
    assert not table[2].any()
    assert (model.num_entities, model.at_rows(rows).num_entities) == (ENTITIES, 3)


@pytest.fixture(scope="module")
def encoding():
    entity, relation = (jnp.asarray(normal(seed, rows, DIM), jnp.float32) for seed, rows in ((0, 6), (1, 4)))
    return Encoding(entity, relation, jnp.zeros(()))


def queries_of(answer, weight):
    """Two queries, the last of them padding, with a history of one candidate for the first."""

    def whole(*values):
        return jnp.array(values, jnp.int32)

    queries = Queries.without_answers(whole(0, 0), whole(1, 0), whole(0, 2), whole(3, 9))
    return dataclasses.replace(
        queries,
        weight=jnp.array([2.0, 0.0]),
        answer_query=whole(0, 0),
        answer=whole(*answer),
        answer_weight=jnp.array(weight),
        answer_in_history=jnp.array([number == 3 for number in answer]),
    )


@pytest.mark.parametrize("kind", ["entity", "relation"])
def test_the_loss_is_the_weighted_sum_over_the_answers(model, encoding, kind):
    loss = eqx.filter_jit(
        lambda model, queries: model.answer_losses(
            encoding, queries, jnp.asarray(2.0), model.buffers, kind=kind, training=False, key=None
        )[0]
    )
    log_p = eqx.filter_jit(
        lambda model, queries: model.log_probabilities(encoding, queries, jnp.asarray(2.0), kind=kind)
    )
    queries = queries_of((3, 1), (1.0, 2.0))
    expected = np.asarray(log_p(model, queries))[0]
    assert np.exp(expected).sum() == pytest.approx(1, rel=1e-4)
    np.testing.assert_allclose(loss(model, queries), -(expected[3] + 2 * expected[1]), rtol=1e-4)
    # A padded answer of weight 0 adds nothing.
    np.testing.assert_allclose(loss(model, queries_of((3, 1), (1.0, 0.0))), -expected[3], rtol=1e-4)


def test_rows_that_pad_the_entity_table_get_no_probability(model, encoding):
    score = eqx.filter_jit(
        lambda model, count: model.ranking_scores(
            encoding, queries_of((3, 1), (1.0, 1.0)), jnp.asarray(2.0), kind="entity", num_entities=count
        )[0]
    )
    whole, part = np.asarray(score(model, None))[0], np.asarray(score(model, 4))[0]
    assert whole.sum() == pytest.approx(1, rel=1e-4) and part.sum() == pytest.approx(1, rel=1e-4)
    assert (part[4:] == 0).all() and (part[:4] > 0).all()
