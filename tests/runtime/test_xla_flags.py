"""The flag for NVIDIA GPUs is added where it is needed, and nowhere else."""

import subprocess
import sys
from importlib.metadata import version

import pytest

from tirgn_eqx.runtime import xla_flags
from tirgn_eqx.runtime.xla_flags import NATIVE_ATOMICS, add_native_atomics


@pytest.fixture
def machine(monkeypatch):
    """Sets the version of jaxlib and the plugins that are installed."""

    def set_machine(version="0.10.2", plugins=("jax_cuda12_plugin",)):
        monkeypatch.setattr(xla_flags, "version", lambda package: {"jaxlib": version}[package])
        monkeypatch.setattr(xla_flags, "find_spec", lambda name: True if name in plugins else None)

    set_machine()
    return set_machine


@pytest.mark.parametrize(
    "version, needed",
    [("0.10.1", False), ("0.10.2", True), ("0.10.10", True), ("0.11.0", True), ("0.11.1", False), ("0.12.0", False)]
    + [("0.11.0.dev20260701", False), ("unknown", False)],
)
def test_for_the_affected_versions_of_jaxlib(machine, version, needed):
    machine(version)
    environment: dict[str, str] = {}
    assert add_native_atomics(environment) is needed
    assert environment == ({"XLA_FLAGS": NATIVE_ATOMICS} if needed else {})


@pytest.mark.parametrize(
    "platforms, needed",
    [("", True), ("cuda", True), ("gpu,cpu", True), ("cpu, CUDA", True), ("cpu", False), ("tpu,cpu", False)],
)
def test_where_jax_may_use_a_cuda_device(machine, platforms, needed):
    assert add_native_atomics({"JAX_PLATFORMS": platforms}) is needed


def test_not_without_a_cuda_plugin(machine):
    machine(plugins=())
    assert not add_native_atomics({})
    machine(plugins=("jax_cuda13_plugin",))
    assert add_native_atomics({})


def test_other_flags_are_kept_and_what_the_user_set_wins(machine):
    environment = {"XLA_FLAGS": "--xla_gpu_autotune_level=0"}
    assert add_native_atomics(environment)
    assert environment["XLA_FLAGS"] == f"--xla_gpu_autotune_level=0 {NATIVE_ATOMICS}"
    assert not add_native_atomics(environment), "a second call changes nothing"
    own = {"XLA_FLAGS": "--xla_backend_extra_options=some-option=1"}
    assert not add_native_atomics(own) and own == {"XLA_FLAGS": "--xla_backend_extra_options=some-option=1"}


def test_xla_knows_the_flag(monkeypatch):
    """It ends the process at an option that it does not know, whatever the device."""
    if not xla_flags._is_affected():
        pytest.skip(f"jaxlib {version('jaxlib')} does not need it")
    monkeypatch.setenv("XLA_FLAGS", NATIVE_ATOMICS)
    words = [sys.executable, "-c", "import jax; jax.jit(lambda x: x + 1)(1.0)"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
