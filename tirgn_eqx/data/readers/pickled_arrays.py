"""Pickles of one form, read without unpickling: a dict from tuples of whole numbers to arrays of whole numbers.

A pickle is a program for a stack machine. The standard library's `pickletools` decodes its instructions without running
them. This reader carries out the few that make numbers, bytes, text, tuples, dtypes and arrays. It imports nothing and
calls nothing that a file names, and refuses any other instruction.
"""

import io
import pickletools
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

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
_VALUES = {
    *("BINBYTES", "BINBYTES8", "SHORT_BINBYTES", "BYTEARRAY8", "BINUNICODE", "SHORT_BINUNICODE"),
    *("BININT", "BININT1", "BININT2", "LONG1"),
}
_CONSTANTS = {"EMPTY_TUPLE": (), "NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_LAST_PROTOCOL = 5
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
            yield from _Machine().run(_BoundedReader(file, path.stat().st_size))
        except (IndexError, KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
            raise Unsound(f"no pickled dict of arrays, or damaged at byte {file.tell():,}") from error


class _BoundedReader:
    """A file that never allocates more than it holds, whatever length an instruction announces."""

    def __init__(self, file: io.BufferedReader, size: int):
        self.file, self.size = file, size
        self.tell = file.tell

    def read(self, length: int) -> bytes:
        if length > self.size:
            raise Unsound(f"{length:,} bytes announced in a file of {self.size:,}")
        return self.file.read(length)

    def readline(self) -> bytes:
        # The names that may occur are short, and a line without an end must not fill the memory.
        return self.file.readline(200)


class _Machine:
    """The stack machine of pickles, as far as such a dict needs it."""

    def __init__(self):
        self.stack: list[object] = []
        self.marks: list[int] = []
        self.memo: dict[object, object] = {}

    def run(self, file: _BoundedReader) -> Iterator[Entry]:
        for instruction, argument, position in pickletools.genops(cast(IO[bytes], file)):
            name, value = instruction.name, argument
            if name in _VALUES:
                self.stack.append(bytes(value) if isinstance(value, bytearray) else value)
            elif name == "MEMOIZE":
                # From protocol 4 on, entries of the memo are numbered by how many there are.
                self._keep(len(self.memo))
            elif name in ("BINPUT", "LONG_BINPUT"):
                self._keep(value)
            elif name in ("BINGET", "LONG_BINGET"):
                if self.memo[value] is _DROPPED:
                    raise Unsound("an array that is used twice")
                self.stack.append(self.memo[value])
            elif name in _TUPLES:
                self.stack[-_TUPLES[name] :] = [tuple(self._last(_TUPLES[name]))]
            elif name == "MARK":
                self.marks.append(len(self.stack))
            elif name == "TUPLE":
                values = tuple(self._since_mark())
                self.stack.append(values)
            elif name in _CONSTANTS:
                self.stack.append(_CONSTANTS[name])
            elif name == "REDUCE":
                function, arguments = self._last(2)
                self.stack[-2:] = [_call(function, arguments)]
            elif name == "BUILD":
                _set_state(*self._last(2))
                # The state goes; what it was set on stays below it.
                self.stack.pop()
            elif name == "EMPTY_DICT":
                self.stack.append(_Dict())
            elif name in ("SETITEM", "SETITEMS"):
                yield from self._entries(name == "SETITEMS")
            elif name == "STACK_GLOBAL":
                names = tuple(self._last(2))
                self.stack[-2:] = [_find_name(names)]
            elif name == "GLOBAL":
                # `pickletools` gives module and name with a space between them.
                self.stack.append(_find_name(tuple(str(value).split(" ", 1))))
            elif name == "PROTO":
                if not isinstance(value, int) or value > _LAST_PROTOCOL:
                    raise Unsound("a pickle of a version that is not known")
            elif name == "STOP":
                if self.marks or len(self.stack) != 1 or not isinstance(self.stack[0], _Dict):
                    raise Unsound("no dict of arrays")
            elif name != "FRAME":
                raise Unsound(f"instruction {name} at byte {position or 0:,}, which no dict of arrays needs")

    def _last(self, number: int) -> list[object]:
        # Arguments must lie above the latest mark: what is below belongs to an outer list of values.
        if len(self.stack) - (self.marks[-1] if self.marks else 0) < number:
            raise Unsound("an instruction without its arguments")
        return self.stack[-number:]

    def _since_mark(self) -> list[object]:
        mark = self.marks.pop()
        found = self.stack[mark:]
        del self.stack[mark:]
        return found

    def _keep(self, number: object) -> None:
        if len(self.memo) >= _MOST_KEPT:
            raise Unsound("more parts than any dict of arrays has")
        value = self._last(1)[0]
        large = any(
            isinstance(part, np.ndarray | _Array) or (isinstance(part, bytes | str) and len(part) > _SMALL)
            for part in (value if isinstance(value, tuple) else (value,))
        )
        # The pickler memoizes every array, and to keep them all would hold the whole file in memory.
        self.memo[number] = _DROPPED if large else value

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
            yield cast(tuple[int, ...], key), value


def _find_name(names: tuple[object, ...]) -> _Name:
    """The function or class of numpy that (module, name) stands for."""
    name = _NAMES.get(cast(tuple[str, str], names))
    if name is None:
        raise Unsound(f"the name {'.'.join(str(part)[:60] for part in names)}, which no dict of arrays needs")
    return _Name(name)


def _call(name: object, arguments: object) -> object:
    """What a call of a function of numpy would return."""
    # A `_Name` comes from `_find_name` only: a text in the file that reads `ndarray` is none.
    if not isinstance(name, _Name) or not isinstance(arguments, tuple):
        raise Unsound("a call of what is no part of numpy")
    if name == "dtype" and arguments and arguments[0] in _KINDS:
        return _Dtype(arguments[0])
    # A whole number of numpy in a key is pickled as one of these.
    if name == "scalar" and len(arguments) == 2 and isinstance(arguments[0], _Dtype):
        return int(_numbers(arguments[1], arguments[0], (1,))[0])
    if name == "_frombuffer" and len(arguments) >= 3 and isinstance(arguments[1], _Dtype):
        return _numbers(arguments[0], arguments[1], arguments[2])
    if name == "_reconstruct" and arguments and isinstance(arguments[0], _Name) and arguments[0] == "ndarray":
        return _Array()
    raise Unsound(f"{name} of something that is no whole numbers")


def _set_state(thing: object, state: object) -> None:
    if isinstance(thing, _Dtype) and isinstance(state, tuple) and len(state) > 1 and state[1] in ("<", ">", "|", "="):
        # '=' and '|' are the order of the machine that wrote it, and of one byte.
        thing.order = state[1] if state[1] in "<>" else "<"
    elif isinstance(thing, _Array) and isinstance(state, tuple) and len(state) == 5 and isinstance(state[2], _Dtype):
        # Version, shape, dtype, whether in Fortran order, and bytes. In one dimension both orders agree.
        thing.values = _numbers(state[4], state[2], state[1])
    else:
        raise Unsound("a state of what has none")


def _numbers(raw: object, dtype: _Dtype, shape: object) -> np.ndarray:
    """Bytes as int64, in one dimension."""
    values = np.frombuffer(raw, dtype.numpy()) if isinstance(raw, bytes) else None
    if values is None or shape != (len(values),):
        raise Unsound("an array whose bytes are not its numbers in one dimension")
    # A uint64 from 2^63 on becomes negative, which is no id.
    return values.astype(np.int64)
