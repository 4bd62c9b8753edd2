"""TiRGN's decoders: each draws a mask of its own."""

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from tests.helpers import normal, tiny_model
from tirgn_eqx.models import Encoding
from tirgn_eqx.types import Queries


def test_raw_and_history_decoders_drop_other_numbers():
    """With the same weights they agree in inference, and under dropout only if they shared a key."""
    model = tiny_model(6, 2, hidden_dropout=0.5)
    model = eqx.tree_at(lambda m: m.entity_history, model, model.entity_raw)
    one, none = jnp.array([0, 3, 5], jnp.int32), jnp.zeros(0, jnp.int32)
    queries = Queries.without_answers(one, jnp.array([0, 1, 3], jnp.int32), none, none)

    def table(seed, rows):
        return jnp.asarray(normal(seed, rows, 8), jnp.float32)

    encoding = Encoding(table(0, 6), table(1, 4), jnp.zeros(()))
    decode = eqx.filter_jit(lambda model, **options: model.decode(kind="entity", buffers=model.buffers, **options)[:2])
    asked = {"encoding": encoding, "queries": queries, "time_index": jnp.asarray(2.0)}
    raw, history = decode(model, **asked)
    np.testing.assert_array_equal(raw, history)
    assert np.asarray(raw).any()
    raw, history = decode(model, **asked, training=True, key=jr.key(0))
    assert not np.array_equal(np.asarray(raw) == 0, np.asarray(history) == 0)
