"""Archives of arrays as bytes, sound and hostile, and the memory that a call takes."""

import io
import tracemalloc
import zipfile

import numpy as np

from tools.fuzz import damage


def archive(*members: tuple[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    return damage.archived(list(members), method)


def npy(array: np.ndarray) -> bytes:
    return damage._npy(array)


def peak(function) -> int:
    """Bytes that `function` held at most."""
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def header(shape: str, descr: str = "<f8") -> bytes:
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


def packed_arrays(count: int) -> bytes:
    """An archive of so many arrays of a hundred bytes."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(count):
            array = io.BytesIO()
            np.save(array, np.zeros(100, np.uint8))
            archive.writestr(f"{number}.npy", array.getvalue())
    return file.getvalue()
