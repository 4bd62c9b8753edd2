import json

import jax
import jax.numpy as jnp
import pytest

from tirgn_eqx.errors import ConfigError
from tirgn_eqx.runtime.compile_cache import SPEED_FILE, machine_folder
from tirgn_eqx.train import precision as precision_module
from tirgn_eqx.train.precision import cast_for_compute, cast_parameters, compute_type, faster_type


@pytest.mark.parametrize("backend,expected", [("cpu", "f32"), ("gpu", "bf16"), ("tpu", "bf16")])
def test_auto_takes_what_the_device_is_fast_at(monkeypatch, backend, expected):
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    # Asked while a step is traced, it measures nothing.
    monkeypatch.setattr(precision_module, "_cpu_prefers_bf16", lambda: pytest.fail("measured"))
    assert compute_type("auto") == expected
    assert compute_type("f32") == "f32" and compute_type("bf16") == "bf16"
    weights = {"matrix": jnp.ones((2, 2)), "vector": jnp.ones(2)}
    cast = cast_for_compute(weights, "auto")
    assert cast["matrix"].dtype == {"f32": jnp.float32, "bf16": jnp.bfloat16}[expected]
    assert cast["vector"].dtype == jnp.float32
    assert cast_parameters(cast, "auto")["matrix"].dtype == jnp.float32


@pytest.fixture
def measured(monkeypatch, tmp_path):
    """A CPU that multiplies bf16 and was measured once, with these seconds; returns what was asked of it."""
    asked, seconds = [], {"f32": 1.75, "bf16": 1.0}

    def cpu_seconds():
        asked.append(dict(seconds))
        return asked[-1]

    monkeypatch.setattr(precision_module, "has_bf16_products", lambda: True)
    monkeypatch.setattr(precision_module, "cpu_seconds", cpu_seconds)
    monkeypatch.setattr(jax, "default_backend", lambda: "cpu")
    before, folder = jax.config.jax_compilation_cache_dir, machine_folder(tmp_path)
    folder.mkdir()
    jax.config.update("jax_compilation_cache_dir", str(folder))
    precision_module._cpu_prefers_bf16.cache_clear()
    yield seconds, asked, folder / SPEED_FILE
    jax.config.update("jax_compilation_cache_dir", before)
    precision_module._cpu_prefers_bf16.cache_clear()


@pytest.mark.parametrize("f32,expected", [(1.75, "bf16"), (1.25, "f32"), (0.75, "f32")])
def test_a_cpu_takes_bf16_where_it_is_clearly_faster(measured, f32, expected):
    seconds, asked, kept = measured
    seconds["f32"] = f32
    assert faster_type("auto") == faster_type("auto") == expected
    assert len(asked) == 1 and json.loads(kept.read_text()) == {"f32": f32, "bf16": 1.0}
    # Another process does not measure again.
    precision_module._cpu_prefers_bf16.cache_clear()
    assert faster_type("auto") == expected and len(asked) == 1


@pytest.mark.parametrize("content", ["", "[]", '{"f32": 1}', '{"f32": null, "bf16": 1}'])
def test_a_damaged_measurement_is_made_again(measured, content):
    _, asked, kept = measured
    kept.write_text(content)
    assert faster_type("auto") == "bf16" and len(asked) == 1
    assert json.loads(kept.read_text()) == {"f32": 1.75, "bf16": 1.0}


def test_a_folder_that_machines_may_share_keeps_no_measurement(measured, tmp_path):
    jax.config.update("jax_compilation_cache_dir", str(tmp_path))
    assert faster_type("auto") == "bf16" and not (tmp_path / SPEED_FILE).exists() and not measured[2].exists()


def test_a_cpu_without_bf16_products_is_not_measured(measured, monkeypatch):
    monkeypatch.setattr(precision_module, "has_bf16_products", lambda: False)
    assert faster_type("auto") == "f32" and not measured[1]


def test_both_types_are_timed():
    found = precision_module.cpu_seconds(queries=8, dim=8, channels=4, candidates=16)
    assert set(found) == {"f32", "bf16"} and all(0 < seconds < 60 for seconds in found.values())


def test_double_precision_needs_double_precision_arrays():
    with pytest.raises(ConfigError, match="JAX_ENABLE_X64=1"):
        compute_type("f64")
