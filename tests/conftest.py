"""Settings of the test run that must be made before JAX starts."""

import os
import shutil

# Most of the suite's time would be LLVM optimising programs that run once on a few dozen numbers.
# On a GPU the programs are left as users run them.
if shutil.which("nvidia-smi") is None:
    os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_backend_optimization_level=0"
