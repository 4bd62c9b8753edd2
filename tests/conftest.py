"""Settings of the test run that must be made before JAX starts."""

import os

# Most of the suite's time would be LLVM optimising programs that run once on a few dozen numbers.
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_backend_optimization_level=0"
