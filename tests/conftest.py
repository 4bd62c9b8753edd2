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

# Both processes, the commands that tests start, and later runs load what one of them has compiled. A file that is read
# while another process writes it makes JAX warn and compile again, see `filterwarnings` in pyproject.toml.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parents[1] / ".pytest_cache" / "compiled"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.2")

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
def compile_cache(tmp_path_factory):
    """Commands keep compiled programs in a folder of this run, never in the user's home; JAX's own variables hold."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TIRGN_CACHE", str(tmp_path_factory.mktemp("compiled")))
        yield


@pytest.fixture
def gdelt(monkeypatch):
    """A GDELT server on this machine, which misbehaves as it is told."""
    from tests.gdelt_server import GDELT

    monkeypatch.setenv("no_proxy", "*")
    server = GDELT()
    yield server
    server.close()
