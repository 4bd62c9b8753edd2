"""The XLA flag that jaxlib 0.10.2 to 0.11.0 need on NVIDIA GPUs."""

import os
import re
from collections.abc import MutableMapping
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

# The LLVM of these versions adds floats atomically by a loop that retries, because the instruction of the hardware
# rounds the smallest floats to 0 (https://github.com/jax-ml/jax/issues/38806). This allows the instruction again.
NATIVE_ATOMICS = "--xla_backend_extra_options=-nvptx-allow-ftz-atomics"
_FIRST, _MENDED = (0, 10, 2), (0, 11, 1)
_CUDA_PLUGINS = ("jax_cuda12_plugin", "jax_cuda13_plugin")


def add_native_atomics(environment: MutableMapping[str, str] = os.environ) -> bool:
    """Add `NATIVE_ATOMICS` to `XLA_FLAGS` where it is needed: with an affected jaxlib, where JAX may use an NVIDIA GPU.

    XLA reads its flags once, when JAX first uses a device, so call it before. It affects the whole process, so the
    library never calls it by itself; the command line does. Options for the backend that are set already are kept, and
    nothing is added to them.

    **Returns:** True when the flag was added.
    """
    platforms = environment.get("JAX_PLATFORMS", "")
    flags = environment.get("XLA_FLAGS", "")
    if platforms and not {"cuda", "gpu"} & {name.strip() for name in platforms.lower().split(",")}:
        return False
    if "xla_backend_extra_options" in flags or not any(map(find_spec, _CUDA_PLUGINS)) or not _is_affected():
        return False
    environment["XLA_FLAGS"] = f"{flags} {NATIVE_ATOMICS}".strip()
    return True


def _is_affected() -> bool:
    try:
        # Releases alone: XLA ends the process at an option that its LLVM does not know, as that of a nightly build may.
        found = re.fullmatch(r"(\d+)\.(\d+)\.(\d+)", version("jaxlib"))
    except PackageNotFoundError:
        return False
    return found is not None and _FIRST <= tuple(map(int, found.groups())) < _MENDED
