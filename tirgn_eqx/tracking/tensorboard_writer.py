"""TensorBoard event files, written in the background."""

import math
from pathlib import Path

from tensorboardX import summary
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog  # pyright: ignore[reportAttributeAccessIssue]

from tirgn_eqx.tracking.background_writer import BackgroundWriter, LogEntry


class TensorBoardWriter(BackgroundWriter):
    """Writes entries to an event file in `folder`, flushed whenever the queue is empty.

    **Arguments:** `purge`: hide all points of earlier files, which are then to be sent again; `timeout`: seconds that
    `close` waits.
    """

    def __init__(self, folder: Path, *, purge: bool, timeout: int | float):
        self._folder, self._purge = folder, purge
        super().__init__("TensorBoard", "the training goes", timeout)

    def _start(self) -> None:
        # tensorboardX's own asynchronous writer dies when the disk is full, and its queue then blocks the training.
        self._file = EventsWriter(str(self._folder / "events"))
        if self._purge:
            # TensorBoard hides all earlier points from the step of such an event on.
            self._file.write_event(Event(step=0, session_log=SessionLog(status=SessionLog.START)))

    def _write(self, entry: LogEntry) -> None:
        for name, value in entry.values.items():
            if isinstance(value, str):
                content = summary.text(name, value)
            else:
                # The lines that a resumed run replays hold null for NaN and infinities.
                content = summary.scalar(name, math.nan if value is None else value)
            self._file.write_event(Event(wall_time=entry.time, step=entry.step, summary=content))

    def _flush(self) -> None:
        self._file.flush()

    def _finish(self, failed: bool) -> None:
        self._file.close()

    def _release(self) -> None:
        # Not `EventsWriter.close`: it flushes first, and where that fails on a full disk, it leaves the file open. From
        # Python 3.13 on, a file that fails to close when it is collected is reported on stderr.
        self._file._py_recordio_writer.close()  # pyright: ignore[reportPrivateUsage]

    def _reason(self, error: BaseException) -> str:
        if isinstance(error, OSError):
            return f"{self._folder}: cannot be written ({error.strerror or error})"
        return super()._reason(error)
