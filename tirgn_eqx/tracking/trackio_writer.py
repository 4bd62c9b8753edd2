"""A Trackio run, written in the background."""

import logging

from tirgn_eqx.tracking.background_writer import LogEntry
from tirgn_eqx.tracking.tracker import TrackerWriter

_log = logging.getLogger("tirgn_eqx")


class TrackioWriter(TrackerWriter):
    """Writes entries to a Trackio run: into its folder on this machine, unless its own variables name a server or a
    Space."""

    package, title = "trackio", "Trackio"

    def _start(self) -> None:
        import trackio

        # The metrics of the machine would come from further threads, and the memory of the device is logged anyway.
        self._run = trackio.init(
            self._project, self._run_name, config=self._config, embed=False, auto_log_gpu=False, auto_log_cpu=False
        )
        _log.info("Trackio run: %s; `trackio show --project %s` shows it", self._run.name, self._project)

    def _write(self, entry: LogEntry) -> None:
        self._run.log(dict(entry.values), step=entry.step)

    def _finish(self, failed: bool) -> None:
        self._run.finish()
