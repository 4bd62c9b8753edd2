"""Settings of the test run: what JAX compiles is compiled cheaply and once."""

import os
from collections.abc import Iterator

import pytest

# Most of the suite's time would be LLVM optimising programs that run once on a few dozen numbers.
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_backend_optimization_level=0"


@pytest.fixture(scope="session", autouse=True)
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keeps what JAX compiles, so that equal shapes compile once for all of these tests."""
    import jax

    settings = {
        "jax_compilation_cache_dir": str(tmp_path_factory.mktemp("compiled")),
        "jax_persistent_cache_min_compile_time_secs": 0.0,
    }
    before = {name: getattr(jax.config, name) for name in settings}
    os.environ |= {name.upper(): str(value) for name, value in settings.items()}
    for name, value in settings.items():
        jax.config.update(name, value)
    yield
    for name, value in before.items():
        jax.config.update(name, value)
        del os.environ[name.upper()]
