"""Settings of glibc's malloc for large arrays, which decide the speed of training on a CPU."""

import ctypes
import sys
from collections.abc import Callable

# Constants of glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -2, -4, -8


def _of_glibc(name: str) -> Callable[..., int] | None:
    """A function of the C library, or None elsewhere than on glibc."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        return getattr(ctypes.CDLL(None), name)
    except (OSError, AttributeError):
        return None


def keep_freed_memory() -> bool:
    """Make malloc keep and reuse large blocks instead of returning each to the system.

    XLA allocates the temporaries of a step anew at every call. By default glibc maps each large block freshly, and the
    system clears every page again in every step: on two cores that cost more than half of a step. The price is that
    the process never shrinks below its peak, except by `return_freed_memory`. Call it before the first large array is
    made. It affects the whole process, so the library never calls it by itself; the command line does.

    **Returns:** True when malloc accepted all settings; False without glibc, where nothing changes.
    """
    mallopt = _of_glibc("mallopt")
    if mallopt is None:
        return False
    # Take large blocks from the heap and not from mmap, never shrink the heap, grow it by 64 MiB at a time, and use one
    # heap for all threads, so that each can reuse what another one freed.
    settings = [(_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, -1), (_M_TOP_PAD, 1 << 26), (_M_ARENA_MAX, 1)]
    # A list and not a generator: all settings are made even when malloc refuses one.
    return all([mallopt(name, value) == 1 for name, value in settings])


def return_freed_memory() -> bool:
    """Return the free memory that malloc keeps to the system, once.

    Compiling a step takes hundreds of megabytes that no step needs again.

    **Returns:** True when memory was returned.
    """
    trim = _of_glibc("malloc_trim")
    return trim is not None and trim(0) == 1
