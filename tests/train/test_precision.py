import jax
import jax.numpy as jnp
import pytest

from tirgn_eqx.errors import ConfigError
from tirgn_eqx.train.precision import cast_for_compute, cast_parameters, compute_type


@pytest.mark.parametrize("backend,expected", [("cpu", "f32"), ("gpu", "bf16"), ("tpu", "bf16")])
def test_auto_takes_what_the_device_is_fast_at(monkeypatch, backend, expected):
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    assert compute_type("auto") == expected
    assert compute_type("f32") == "f32" and compute_type("bf16") == "bf16"
    weights = {"matrix": jnp.ones((2, 2)), "vector": jnp.ones(2)}
    cast = cast_for_compute(weights, "auto")
    assert cast["matrix"].dtype == {"f32": jnp.float32, "bf16": jnp.bfloat16}[expected]
    assert cast["vector"].dtype == jnp.float32
    assert cast_parameters(cast, "auto")["matrix"].dtype == jnp.float32


def test_double_precision_needs_double_precision_arrays():
    with pytest.raises(ConfigError, match="JAX_ENABLE_X64=1"):
        compute_type("f64")
