"""Pickles of one form, read without unpickling: a dict from tuples of whole numbers to arrays of whole numbers.

A pickle is a program for a stack machine. This reader carries out the few instructions that make numbers, bytes, text,
tuples, dtypes and arrays. It imports nothing and calls nothing that a file names, and refuses any other instruction.
"""

import io
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tirgn_eqx.storage.untrusted import Unsound, check_regular

_MOST_NUMBERS = 8  # of a key
_SMALL = 64  # bytes; larger values are used once, and are not kept for the memo
_MOST_KEPT = 1 << 27
# What numpy's pickles name; each is a `_Name` here. The module moved between versions of numpy.
_NAMES = {("numpy", "ndarray"): "ndarray", ("numpy", "dtype"): "dtype"} | {
    (f"numpy.{core}.{module}", name): name
    for core in ("core", "_core")
    for module, name in (("multiarray", "_reconstruct"), ("multiarray", "scalar"), ("numeric", "_frombuffer"))
}
_KINDS = {f"{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8)}
_LENGTHS = {b"C": "<B", b"B": "<I", b"\x8e": "<Q", b"\x96": "<Q", b"\x8c": "<B", b"X": "<I"}
_TEXTS = (b"\x8c", b"X")
_TUPLES = {b"\x85": 1, b"\x86": 2, b"\x87": 3}
_NUMBERS = {b"J": "<i", b"K": "<B", b"M": "<H"}
_CONSTANTS = {b"N": None, b"\x88": True, b"\x89": False}
_DROPPED = object()
Entry = tuple[tuple[int, ...], np.ndarray]


class _Name(str):
    """A value of `_NAMES`."""


class _Dtype:
    """A dtype of whole numbers; little-endian until its state says otherwise."""

    def __init__(self, kind: str):
        self.kind, self.order = kind, "<"

    def numpy(self) -> np.dtype:
        return np.dtype(self.order + self.kind)


class _Array:
    """An array whose values come with its state."""

    values: np.ndarray | None = None


class _Dict:
    """The dict, whose entries are yielded and not kept."""


def read_entries(path: Path) -> Iterator[Entry]:
    """Keys and arrays of the dict in a pickle, one after the other; arrays are int64 `(number,)`.

    **Raises:** Unsound for anything but such a dict; OSError when it cannot be read.
    """
    check_regular(path)
    with path.open("rb") as file:
        try:
            yield from _Machine(file, path.stat().st_size).run()
        except (struct.error, IndexError, KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
            raise Unsound(f"no pickled dict of arrays, or damaged at byte {file.tell():,}") from error


class _Machine:
    """The stack machine of pickles, as far as such a dict needs it."""

    def __init__(self, file: io.BufferedReader, size: int):
        self.file, self.size = file, size
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> Iterator[Entry]:
        while True:
            op = self.file.read(1)
            if op in _LENGTHS:
                (length,) = self._unpack(_LENGTHS[op])
                if length > self.size:
                    raise Unsound(f"{length:,} bytes announced in a file of {self.size:,}")
                raw = self._exactly(length)
                self.stack.append(raw.decode("utf-8", "surrogatepass") if op in _TEXTS else raw)
            elif op == b"\x94":
                self._keep(len(self.memo))
            elif op in (b"h", b"j", b"q", b"r"):
                (number,) = self._unpack("<B" if op in (b"h", b"q") else "<I")
                if op in (b"q", b"r"):
                    self._keep(number)
                else:
                    if self.memo[number] is _DROPPED:
                        raise Unsound("an array that is used twice")
                    self.stack.append(self.memo[number])
            elif op in _TUPLES:
                self.stack[-_TUPLES[op] :] = [tuple(self._last(_TUPLES[op]))]
            elif op in _NUMBERS:
                self.stack += self._unpack(_NUMBERS[op])
            elif op in _CONSTANTS:
                self.stack.append(_CONSTANTS[op])
            elif op == b"R":
                name, arguments = self._last(2)
                self.stack[-2:] = [_call(name, arguments)]
            elif op == b"b":
                _set_state(*self._last(2))
                self.stack.pop()
            elif op == b"(":
                self.marks.append(len(self.stack))
            elif op == b"t":
                values = tuple(self._since_mark())
                self.stack.append(values)
            elif op == b")":
                self.stack.append(())
            elif op == b"}":
                self.stack.append(_Dict())
            elif op in (b"s", b"u"):
                yield from self._entries(op == b"u")
            elif op in (b"\x93", b"c"):
                self.stack.append(self._name(op == b"\x93"))
            elif op == b"\x8a":
                self.stack.append(int.from_bytes(self._exactly(self._exactly(1)[0]), "little", signed=True))
            elif op == b"\x95":
                self._exactly(8)  # the length of a frame
            elif op == b"\x80":
                if self._exactly(1)[0] > 5:
                    raise Unsound("a pickle of a version that is not known")
            elif op == b".":
                if self.marks or len(self.stack) != 1 or not isinstance(self.stack[0], _Dict):
                    raise Unsound("no dict of arrays")
                return
            else:
                at = self.file.tell() - 1
                raise Unsound(f"instruction {op!r} at byte {at:,}, which no dict of arrays needs" if op else "cut off")

    def _exactly(self, number: int) -> bytes:
        found = self.file.read(number)
        if len(found) < number:
            raise Unsound("cut off")
        return found

    def _unpack(self, form: str) -> tuple[int, ...]:
        return struct.unpack(form, self._exactly(struct.calcsize(form)))

    def _last(self, number: int) -> list[Any]:
        if len(self.stack) - (self.marks[-1] if self.marks else 0) < number:
            raise Unsound("an instruction without its arguments")
        return self.stack[-number:]

    def _since_mark(self) -> list[Any]:
        mark = self.marks.pop()
        found = self.stack[mark:]
        del self.stack[mark:]
        return found

    def _keep(self, number: int) -> None:
        if len(self.memo) >= _MOST_KEPT:
            raise Unsound("more parts than any dict of arrays has")
        value = self._last(1)[0]
        large = any(
            isinstance(part, np.ndarray | _Array) or (isinstance(part, bytes | str) and len(part) > _SMALL)
            for part in (value if isinstance(value, tuple) else (value,))
        )
        self.memo[number] = _DROPPED if large else value

    def _name(self, on_stack: bool) -> _Name:
        if on_stack:
            module, name = self._last(2)
            del self.stack[-2:]
        else:
            module, name = (self.file.readline(200).decode("ascii").rstrip("\n") for _ in range(2))
        if (module, name) not in _NAMES:
            raise Unsound(f"the name {str(module)[:60]}.{str(name)[:60]}, which no dict of arrays needs")
        return _Name(_NAMES[module, name])

    def _entries(self, many: bool) -> Iterator[Entry]:
        found = self._since_mark() if many else self._last(2)
        if not many:
            del self.stack[-2:]
        if len(found) % 2 or len(self.stack) != 1 or not isinstance(self.stack[0], _Dict):
            raise Unsound("no dict of arrays")
        for key, value in zip(found[::2], found[1::2]):
            value = value.values if isinstance(value, _Array) else value
            whole = isinstance(key, tuple) and len(key) <= _MOST_NUMBERS and all(type(part) is int for part in key)
            if not whole or not isinstance(value, np.ndarray):
                raise Unsound("an entry that is no array under a tuple of whole numbers")
            yield key, value


def _call(name: Any, arguments: Any) -> Any:
    """What a call of a function of numpy would return."""
    if not isinstance(name, _Name) or not isinstance(arguments, tuple):
        raise Unsound("a call of what is no part of numpy")
    if name == "dtype" and arguments and arguments[0] in _KINDS:
        return _Dtype(arguments[0])
    if name == "scalar" and len(arguments) == 2 and isinstance(arguments[0], _Dtype):
        return int(_numbers(arguments[1], arguments[0], (1,))[0])
    if name == "_frombuffer" and len(arguments) >= 3 and isinstance(arguments[1], _Dtype):
        return _numbers(arguments[0], arguments[1], arguments[2])
    if name == "_reconstruct" and arguments and isinstance(arguments[0], _Name) and arguments[0] == "ndarray":
        return _Array()
    raise Unsound(f"{name} of something that is no whole numbers")


def _set_state(thing: Any, state: Any) -> None:
    if isinstance(thing, _Dtype) and isinstance(state, tuple) and len(state) > 1 and state[1] in ("<", ">", "|", "="):
        # '=' and '|' are the order of the machine that wrote it, and of one byte.
        thing.order = state[1] if state[1] in "<>" else "<"
    elif isinstance(thing, _Array) and isinstance(state, tuple) and len(state) == 5 and isinstance(state[2], _Dtype):
        thing.values = _numbers(state[4], state[2], state[1])
    else:
        raise Unsound("a state of what has none")


def _numbers(raw: Any, dtype: _Dtype, shape: Any) -> np.ndarray:
    """Bytes as int64, in one dimension."""
    values = np.frombuffer(raw, dtype.numpy()) if isinstance(raw, bytes) else None
    if values is None or shape != (len(values),):
        raise Unsound("an array whose bytes are not its numbers in one dimension")
    return values.astype(np.int64)
