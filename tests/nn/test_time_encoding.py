"""The time vectors against NumPy."""

import jax.numpy as jnp
import numpy as np

from tests.helpers import close
from tests.nn.layer_helpers import DIM, numbers, random_layer
from tirgn_eqx.nn import (
    TimeEncoding,
)


def test_time_encoding():
    encoding = random_layer(TimeEncoding, DIM)
    linear, periodic = encoding(jnp.asarray(7.0))
    p = numbers(encoding)
    close(linear, p.weight_linear * 7 + p.bias_linear)
    close(periodic, np.sin(p.weight_periodic * 7 + p.bias_periodic))
