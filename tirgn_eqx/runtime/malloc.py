"""The C heap's behaviour towards large arrays, which decides the speed of training on a CPU."""

import ctypes
import sys
from typing import Any

# glibc's names in malloc.h
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -2, -4, -8


def _of_glibc(name: str) -> Any:
    """A function of the C library, or None elsewhere than on glibc."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        return getattr(ctypes.CDLL(None), name)
    except (OSError, AttributeError):
        return None


def keep_freed_memory() -> bool:
    """Make the C heap keep and reuse large blocks instead of returning each to the system.

    XLA allocates a step's temporaries anew at every call. By default glibc maps each large block freshly, so
    the system clears every page again, step after step: on two cores that cost more than half of a step. The
    price is that the process never shrinks below its peak, unless by `return_freed_memory`. Call it before the
    first large array is made; it concerns the whole process, so the library never makes this choice by itself,
    and the command line does.

    **Returns:** True when the heap took all settings; False elsewhere than on glibc, where nothing changes.
    """
    mallopt = _of_glibc("mallopt")
    if mallopt is None:
        return False
    settings = [(_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, -1), (_M_TOP_PAD, 1 << 26), (_M_ARENA_MAX, 1)]
    return all([mallopt(name, value) == 1 for name, value in settings])


def return_freed_memory() -> bool:
    """Give what the C heap has kept free back to the system, once.

    Compiling a step takes hundreds of megabytes that no step needs again.

    **Returns:** True when memory was returned.
    """
    trim = _of_glibc("malloc_trim")
    return trim is not None and trim(0) == 1
