"""The folder that an ingest works in, beside its table."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tirgn_eqx.errors import DataError
from tirgn_eqx.storage.locks import exclusive_lock


@contextmanager
def workplace(out: Path) -> Iterator[Path]:
    """An empty hidden folder beside `out`, for one ingest at a time, removed at the end.

    **Raises:** DataError while another ingest works on the same table.
    """
    folder, lock = out.with_name(f".{out.name}.ingest"), out.with_name(f".{out.name}.lock")
    busy = DataError(f"{out}: another ingest is at work on this table; wait for its end")
    with exclusive_lock(lock, busy):
        shutil.rmtree(folder, ignore_errors=True)  # left by an ingest that was killed
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            with suppress(OSError):  # Windows deletes it with the release
                lock.unlink()
