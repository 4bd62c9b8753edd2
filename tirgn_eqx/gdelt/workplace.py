"""The folder beside a table where the next one is made: one ingest at a time, and nothing of it stays."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tirgn_eqx.errors import DataError


@contextmanager
def workplace(out: Path) -> Iterator[Path]:
    """An empty hidden folder beside `out`, locked against a second ingest and removed at the end.

    What a killed ingest left there is removed at the beginning.

    **Raises:** DataError while another ingest is at work on the same table.
    """
    folder = out.with_name(f".{out.name}.ingest")
    handle = _lock(folder, out)
    try:
        for left in folder.iterdir():
            left.unlink()
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(handle)


def _lock(folder: Path, out: Path) -> int:
    """A handle that holds the folder's lock; the system lets go of it however the process ends."""
    import fcntl

    while True:
        folder.mkdir(exist_ok=True)
        handle = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if folder.exists() and os.path.samestat(os.fstat(handle), folder.stat()):
                return handle
        except BlockingIOError as error:
            os.close(handle)
            raise DataError(f"{out}: another ingest is at work on this table; wait for its end") from error
        os.close(handle)
