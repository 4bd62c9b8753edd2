"""An MLflow run, written in the background."""

import logging
import math

from tirgn_eqx.config import flatten
from tirgn_eqx.tracking.background_writer import LogEntry
from tirgn_eqx.tracking.tracker import TrackerWriter

MAX_PARAMS = 100  # of one request
_log = logging.getLogger("tirgn_eqx")


class MlflowWriter(TrackerWriter):
    """Writes entries to an MLflow run, where MLflow itself says: the server or store that MLFLOW_TRACKING_URI names,
    otherwise its store in the working directory. The experiment is the project, settings are parameters, and texts are
    files TAG/STEP.md."""

    package, title = "mlflow", "MLflow"

    def _start(self) -> None:
        from mlflow import MlflowClient
        from mlflow.entities import Param
        from mlflow.exceptions import MlflowException

        # The client and not `mlflow.start_run`, which would make the run the active one of the whole program.
        self._client = MlflowClient()
        found = self._client.get_experiment_by_name(self._project)
        try:
            experiment = self._client.create_experiment(self._project) if found is None else found.experiment_id
        except MlflowException:  # another process has made it since
            found = self._client.get_experiment_by_name(self._project)
            if found is None:
                raise
            experiment = found.experiment_id
        run = self._client.create_run(experiment, run_name=self._run_name)
        self._run = run.info.run_id
        params = [Param(name, str(value)) for name, value in flatten(self._config)]
        for begin in range(0, len(params), MAX_PARAMS):
            self._client.log_batch(self._run, params=params[begin : begin + MAX_PARAMS])
        _log.info("MLflow run: %s, in the experiment %s", run.info.run_name, self._project)

    def _write(self, entry: LogEntry) -> None:
        from mlflow.entities import Metric

        metrics, milliseconds = [], int(1000 * entry.time)
        for name, value in entry.values.items():
            if isinstance(value, str):
                self._client.log_text(self._run, value, f"{name}/{entry.step}.md")
            else:
                metrics.append(Metric(name, math.nan if value is None else value, milliseconds, entry.step))
        self._client.log_batch(self._run, metrics=metrics)

    def _finish(self, failed: bool) -> None:
        self._client.set_terminated(self._run, "FAILED" if failed else "FINISHED")
