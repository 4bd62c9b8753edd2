"""Tables from anywhere, parquet above all: read to their end by a process of its own before this one opens them.

A damaged parquet file can end the process that reads it: the reader aborts where a page claims 10^18 values, and
prints the stack of its threads. So a helper process reads it first, with little memory and its voice turned off; what
it cannot read is refused here in one line. It ends with the file, unless `kept` holds it for more of them.
"""

import atexit
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tirgn_eqx.storage.untrusted import Unsound, check_regular, room_for

ROWS_PER_BYTE = 16  # that a table may have, beside a million: the smallest real ones need a byte for a row
BYTES_PER_BYTE = 256  # that a table may take in memory for each in its file, beside `ROOM`
ROOM = 1 << 30
_SECONDS = 120  # to answer, and a second more for each megabyte
_CHILD = Path(__file__).with_name("table_probe_child.py")
_lock = threading.Lock()
_kept: list[bool] = []


class Described(NamedTuple):
    """What a parquet file holds: `columns` with the names of their types, `rows`, and metadata by key."""

    columns: dict[str, str]
    rows: int
    metadata: dict[str, str]


def check_parquet(path: Path, columns: Sequence[str] | None = None) -> Described:
    """What a parquet file holds, once it is known that all of it can be read.

    **Arguments:** `columns`: those that will be read, as far as there are such; None: all.

    **Raises:** Unsound for a file that is no parquet file, is damaged, or would fill the memory; OSError.
    """
    return check_table(path, "parquet", columns)


def check_table(path: Path, form: str, columns: Sequence[str] | None = None) -> Described:
    """As `check_parquet`, for tables of several forms.

    **Arguments:** `form`: `parquet`, `arrow` or `arrows` (a stream); or the packing of a text table, `gz` or `zst`,
    which unpacks to no more than `room_for` its size: `rows` is that number of bytes.
    """
    check_regular(path)
    size = path.stat().st_size
    asked = {
        "path": str(path.resolve()),
        "form": form,
        "columns": None if columns is None else list(columns),
        "most_rows": 1_000_000 + ROWS_PER_BYTE * size,
        "most_bytes": room_for(size) if form in ("gz", "zst") else ROOM + BYTES_PER_BYTE * size,
    }
    with _lock:
        helper = _helper()
        try:
            answer = helper.ask(asked, _SECONDS + size / 1e6)
        finally:
            if not _kept:
                helper.close()
    if "error" in answer:
        raise Unsound(answer["error"])
    return Described(answer["columns"], answer["rows"], answer["metadata"])


@contextmanager
def kept() -> Iterator[None]:
    """Keeps the helper from file to file: it takes a fraction of a second to start."""
    _kept.append(True)
    try:
        yield
    finally:
        _kept.pop()
        if not _kept:
            _helper().close()


class _Helper:
    """A process that reads files and says what it found; a new one is started where the old one has died."""

    def __init__(self) -> None:
        self.owner = os.getpid()
        self._process: subprocess.Popen[str] | None = None

    def ask(self, asked: dict[str, Any], seconds: float) -> dict[str, Any]:
        process = self._process
        if process is None or process.poll() is not None:
            self.close()
            process = self._process = self._start()
        assert process.stdin is not None and process.stdout is not None
        timer = threading.Timer(seconds, process.kill)
        timer.start()
        try:
            process.stdin.write(json.dumps(asked) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except BrokenPipeError:
            line = ""
        except BaseException:  # interrupted: an answer that nobody heard must not be taken for the next one
            process.kill()
            raise
        finally:
            timer.cancel()
        if line.endswith("\n"):
            return json.loads(line)
        self.close()
        return {"error": "damaged: reading it ends in a crash, takes too long, or more memory than such a file may"}

    def _start(self) -> "subprocess.Popen[str]":
        # -P: beside the script lie modules with the names of others.
        command = [sys.executable, "-P", str(_CHILD)]
        environment = os.environ | {"POLARS_MAX_THREADS": "1", "RUST_BACKTRACE": "0"}
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            encoding="utf-8",
        )

    def close(self) -> None:
        process, self._process = self._process, None
        if process is None or self.owner != os.getpid():
            return
        process.kill()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except OSError:
                    pass
        process.wait()


_helpers: list[_Helper] = []


def _helper() -> _Helper:
    """The helper of this process: one that was inherited belongs to another."""
    if not _helpers or _helpers[0].owner != os.getpid():
        _helpers[:] = [_Helper()]
        atexit.register(_helpers[0].close)
    return _helpers[0]
