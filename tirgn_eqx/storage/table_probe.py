"""Untrusted tables, above all parquet: a helper process reads each to its end before this process opens it.

A damaged parquet file can abort the process that reads it, for instance where a page claims 10^18 values. So a helper
process with little memory and no output reads it first, and a table that it cannot read is refused in one line. The
helper ends with the file, unless `kept` keeps it for more files.
"""

import atexit
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tirgn_eqx.storage.untrusted import Unsound, check_regular, room_for

if TYPE_CHECKING:
    from tirgn_eqx.storage.table_probe_child import Description, Refusal, Request

ROWS_PER_BYTE = 16  # rows that a table may have for each byte of its file, beside a million; real ones have at most 1
BYTES_PER_BYTE = 256  # memory that a table may take for each byte of its file, beside `ROOM`
ROOM = 1 << 30
_SECONDS = 120  # for an answer, and one more for each megabyte
_CHILD = Path(__file__).with_name("table_probe_child.py")
_lock = threading.Lock()
# One entry for each `kept` that is entered, because they nest.
_kept: list[bool] = []


class Described(NamedTuple):
    """The content of a table: `columns` with the names of their types, the number of `rows`, and metadata by key."""

    columns: dict[str, str]
    rows: int
    metadata: dict[str, str]


def check_parquet(path: Path, columns: Sequence[str] | None = None) -> Described:
    """Describe a parquet file after reading all of it.

    **Arguments:** `columns`: those that will be read, where they exist; None: all.

    **Raises:** Unsound for a file that is no parquet file, is damaged, or would fill the memory; OSError.
    """
    return check_table(path, "parquet", columns)


def check_table(path: Path, form: str, columns: Sequence[str] | None = None) -> Described:
    """As `check_parquet`, for tables of several formats.

    **Arguments:** `form`: `parquet`, `arrow` or `arrows` (a stream); or the compression of a text table, `gz` or
    `zst`, which may unpack to `room_for` its size; `rows` is then the number of bytes that it unpacks to.
    """
    check_regular(path)
    size = path.stat().st_size
    request: Request = {
        "path": str(path.resolve()),
        "form": form,
        "columns": None if columns is None else list(columns),
        "most_rows": 1_000_000 + ROWS_PER_BYTE * size,
        "most_bytes": room_for(size) if form in ("gz", "zst") else ROOM + BYTES_PER_BYTE * size,
    }
    # The helper answers one request at a time, so that threads take turns.
    with _lock:
        helper = _helper()
        try:
            answer = helper.ask(request, _SECONDS + size / 1e6)
        finally:
            if not _kept:
                helper.close()
    if "error" in answer:
        raise Unsound(answer["error"])
    return Described(**answer)


@contextmanager
def kept() -> Iterator[None]:
    """Keep one helper for several files: it takes a fraction of a second to start."""
    _kept.append(True)
    try:
        yield
    finally:
        _kept.pop()
        if not _kept:
            _helper().close()


class _Helper:
    """A process that reads files and describes them; started again when it has died."""

    def __init__(self) -> None:
        self.owner = os.getpid()
        self._process: subprocess.Popen[str] | None = None

    def ask(self, request: "Request", seconds: float) -> "Description | Refusal":
        """The answer about one file, at most `seconds` later."""
        process = self._process
        if process is None or process.poll() is not None:
            self.close()
            process = self._process = self._start()
        assert process.stdin is not None and process.stdout is not None
        # `readline` has no timeout. Killing the helper closes its pipe, and `readline` returns.
        timer = threading.Timer(seconds, process.kill)
        timer.start()
        try:
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except BrokenPipeError:
            line = ""
        except BaseException:  # interrupted: the pending answer must not be taken for that of the next file
            process.kill()
            raise
        finally:
            timer.cancel()
        # Without a line end, the helper ended while it was answering.
        if line.endswith("\n"):
            return json.loads(line)
        self.close()
        return {"error": "damaged: reading it ends in a crash, takes too long, or more memory than such a file may"}

    def _start(self) -> "subprocess.Popen[str]":
        # -P: modules beside the script must not hide others of the same name.
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
                # Closing stdin flushes it, which fails when the process has ended.
                with suppress(OSError):
                    pipe.close()
        process.wait()


_helpers: list[_Helper] = []


def _helper() -> _Helper:
    """The helper of this process; one inherited by a fork belongs to the parent."""
    if not _helpers or _helpers[0].owner != os.getpid():
        _helpers[:] = [_Helper()]
        atexit.register(_helpers[0].close)
    return _helpers[0]
