"""Settings of the test run that must be made before JAX starts."""

import os
import shutil

# Most of the suite's time would be LLVM optimising programs that run once on a few dozen numbers.
# On a GPU the programs are left as users run them.
if shutil.which("nvidia-smi") is None:
    os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_backend_optimization_level=0"

# Files whose tests take longest: begun first, so that the two processes end together.
LONG = ("test_variants.py", "test_loop.py", "test_learning.py", "test_golden.py", "test_memory.py", "test_readme.py")


def pytest_collection_modifyitems(items):
    place = lambda item: LONG.index(item.path.name) if item.path.name in LONG else len(LONG)
    items.sort(key=place)
