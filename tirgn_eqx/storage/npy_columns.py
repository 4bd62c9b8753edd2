"""Columns of numbers as npy files, written piece by piece and mapped into memory after a check of their headers."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import TypedDict

import numpy as np

from tirgn_eqx.errors import DataError
from tirgn_eqx.storage.npz import HEADER, read_header
from tirgn_eqx.storage.untrusted import Unsound, check_regular

CHUNK = 1 << 22  # numbers that are checked at once
_HEADER = 128  # bytes of a header as numpy writes it, padded, so that a larger number of rows fits as well


class ColumnDescription(TypedDict):
    """The type of a column's numbers, how many there are, and their sha256."""

    type: str
    length: int
    sha256: str


class Column:
    """A one-dimensional npy file that grows by appending. Use it in a `with` statement, which flushes it to the disk.

    **Raises:** OSError.
    """

    def __init__(self, path: Path, dtype: type | np.dtype):
        # Little-endian on every machine, so that a folder can be moved to another one.
        self.path, self.dtype = path, np.dtype(dtype).newbyteorder("<")
        self.length = 0
        self._digest = hashlib.sha256()
        self._file = path.open("wb")
        # Zeros in place of the header: a file that was never finished has no magic number and is refused.
        self._file.write(bytes(_HEADER))

    def append(self, values: np.ndarray) -> None:
        """Append numbers, which must fit the type."""
        data = np.ascontiguousarray(values, self.dtype).data.cast("B") if len(values) else b""
        self._file.write(data)
        self._digest.update(data)
        self.length += len(values)

    @property
    def described(self) -> ColumnDescription:
        """What a reader compares the column with."""
        return {"type": self.dtype.str, "length": self.length, "sha256": self._digest.hexdigest()}

    def __enter__(self) -> "Column":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._file as file:
            # After an error the header stays zero, see `__init__`.
            if kind is None:
                file.seek(0)
                header = {"descr": self.dtype.str, "fortran_order": False, "shape": (self.length,)}
                np.lib.format.write_array_header_1_0(file, header)
                if file.tell() != _HEADER:
                    raise ValueError(f"{file.name}: numpy wrote a header of {file.tell()} bytes, not of {_HEADER}")
                file.flush()
                os.fsync(file.fileno())


def map_column(path: Path, dtype: type | np.dtype, length: int, need: str) -> np.ndarray:
    """The numbers of an npy file, mapped into memory: read from the disk on access, and not writable.

    **Arguments:** `dtype`, `length`: what the header must say; `need`: what to do, for the message.

    **Raises:** DataError for a file that is missing, has another type or length, or is truncated.
    """
    dtype = np.dtype(dtype).newbyteorder("<")
    try:
        check_regular(path)
        with path.open("rb") as file:
            found, shape, _, begin = read_header("it", file.read(HEADER))
            if found != dtype or shape != (length,):
                raise Unsound(f"holds {list(shape)} of {found.str}, expected [{length}] of {dtype.str}")
            size = os.fstat(file.fileno()).st_size
            if size != begin + length * dtype.itemsize:
                raise Unsound(f"has {size:,} bytes, but its header says {begin + length * dtype.itemsize:,}")
            if length == 0:  # an empty range cannot be mapped
                return np.zeros(0, dtype)
            return np.memmap(file, dtype, "r", begin, shape)
    except FileNotFoundError as error:
        raise DataError(f"{path}: file is missing; {need}") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); {need}") from error
    except Unsound as error:
        raise DataError(f"{path}: {error}; {need}") from error


def chunks(values: np.ndarray, most: int = CHUNK) -> Iterator[np.ndarray]:
    """The numbers, `most` at a time."""
    for begin in range(0, len(values), most):
        yield values[begin : begin + most]


def check_column(path: Path, values: np.ndarray, sha256: str, need: str, low: int = 0, high: int | None = None) -> None:
    """Read a column once and check its numbers.

    **Arguments:** `path`: its name in messages; `sha256`: of its numbers; `low`, `high`: the numbers must be at least
    `low` and, if given, below `high`.

    **Raises:** DataError for a number outside, or another sha256.
    """
    digest, row = hashlib.sha256(), 0
    for chunk in chunks(values):
        digest.update(np.ascontiguousarray(chunk).data.cast("B"))
        # argmax of booleans is the place of the first True.
        if high is not None and (int(chunk.min()) < low or int(chunk.max()) >= high):
            place = int(np.argmax((chunk < low) | (chunk >= high)))
            raise DataError(f"{path}: number {row + place} is {chunk[place]}, outside {low} to {high - 1}; {need}")
        row += len(chunk)
    if digest.hexdigest() != sha256:
        raise DataError(f"{path}: its numbers have another sha256 than was written down; {need}")
