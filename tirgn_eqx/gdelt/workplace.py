"""The folder beside a table where the next one is made: one ingest at a time, and nothing of it stays."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tirgn_eqx.errors import DataError
from tirgn_eqx.storage.files import lock


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
        if handle is not None:
            os.close(handle)


def _lock(folder: Path, out: Path) -> int | None:
    """A handle that holds the folder's lock; the system lets go of it however the process ends. None where folders
    cannot be opened."""
    while True:
        folder.mkdir(exist_ok=True)
        if os.name == "nt":
            return None
        handle = os.open(folder, os.O_RDONLY)
        if not lock(handle):
            os.close(handle)
            raise DataError(f"{out}: another ingest is at work on this table; wait for its end")
        # The one that had it before may have removed the folder in the meantime.
        if folder.exists() and os.path.samestat(os.fstat(handle), folder.stat()):
            return handle
        os.close(handle)
