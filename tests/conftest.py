"""Settings of the test run that must be made before JAX starts."""

import os
import shutil
from importlib.metadata import version
from pathlib import Path

import pytest

# Most of the suite's time would be XLA and LLVM optimising programs that run once on a few dozen numbers.
# On a GPU the programs are left as users run them.
if shutil.which("nvidia-smi") is None:
    flags = ["--xla_backend_optimization_level=0"]
    if version("jaxlib").startswith("0.10."):  # XLA ends the process at a flag that it does not know
        flags += ["--xla_cpu_use_fusion_emitters=false", "--xla_cpu_parallel_codegen_split_count=1"]
    os.environ["XLA_FLAGS"] = " ".join([os.environ.get("XLA_FLAGS", ""), *flags])

# Both processes and later runs load what one of them has compiled. A program that is read while another process writes
# it makes JAX warn and compile again, see `filterwarnings` in pyproject.toml.
KEPT = Path(__file__).parents[1] / ".pytest_cache"
OWN = {"JAX_COMPILATION_CACHE_DIR": str(KEPT / "compiled"), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.2"}
OWN = {name: value for name, value in OWN.items() if name not in os.environ}
os.environ.update(OWN)

# Files whose tests take longest: begun first, so that the two processes end together.
LONG = (
    "test_variants.py",
    "test_api.py",
    "test_learning.py",
    "test_golden.py",
    "test_memory.py",
    "test_readme.py",
)


def pytest_collection_modifyitems(items):
    def place(item):
        return LONG.index(item.path.name) if item.path.name in LONG else len(LONG)

    items.sort(key=place)


@pytest.fixture(scope="session", autouse=True)
def compile_cache():
    """Commands keep compiled programs beside those of the tests, never in the user's home, and remove what a killed
    process left damaged. JAX's own variables hold where the user has set them."""
    import jax  # reads its variables now, so that commands need not inherit them

    assert jax.config.jax_compilation_cache_dir
    with pytest.MonkeyPatch.context() as patch:
        for name in OWN:
            patch.delenv(name, raising=False)
        patch.setenv("TIRGN_CACHE", str(KEPT / "commands"))
        yield


@pytest.fixture
def gdelt(monkeypatch):
    """A GDELT server on this machine, which misbehaves as it is told."""
    from tests.gdelt_server import GDELT

    monkeypatch.setenv("no_proxy", "*")
    server = GDELT()
    yield server
    server.close()
