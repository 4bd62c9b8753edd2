"""`ForecastRecorder`: writes what an event model forecasts into a journal, see `tirgn_eqx.data.forecast_journal`."""

from collections.abc import Sequence
from pathlib import Path

from tirgn_eqx.checkpoint.files import checkpoint_path, checkpoint_sha256
from tirgn_eqx.checkpoint.metadata import CheckpointMetadata
from tirgn_eqx.checkpoint.models import load_event_model, versions
from tirgn_eqx.data.forecast_journal import (
    Appended,
    ForecastingModel,
    JournalForecast,
    KnownData,
    Selection,
    append_forecasts,
)
from tirgn_eqx.data.times import format_snapshot_time, to_text
from tirgn_eqx.errors import CheckpointError, DataError
from tirgn_eqx.forecast.events import EventForecast, EventForecaster


class ForecastRecorder:
    """Writes forecasts of one checkpoint into the journal in `folder`.

    It is made before the checkpoint is loaded to forecast, so that a checkpoint which is replaced meanwhile is noticed.

    **Raises:** DataError for a file in the place of the folder; CheckpointError for a checkpoint that cannot be read,
    or holds no event model.
    """

    def __init__(self, folder: str | Path, checkpoint: str | Path):
        if Path(folder).is_file():
            raise DataError(f"{folder}: is a file; name a folder for the journal")
        self.folder, self.checkpoint = Path(folder).expanduser(), checkpoint_path(checkpoint)
        self._sha256 = checkpoint_sha256(self.checkpoint)
        self._metadata: CheckpointMetadata = load_event_model(checkpoint)[2]

    def record(
        self,
        forecaster: EventForecaster,
        found: Sequence[EventForecast],
        *,
        number: int,
        horizon: int,
        by: str,
        subject: str | None = None,
        relation: str | None = None,
        object: str | None = None,
    ) -> Appended:
        """Write what `forecaster.events` found.

        **Arguments:** `forecaster`: of the checkpoint; `found`: what it returned for the other arguments.

        **Raises:** CheckpointError when the checkpoint was replaced since this recorder was made; the rest as
        `append_forecasts`.
        """
        if checkpoint_sha256(self.checkpoint) != self._sha256:
            raise CheckpointError(
                f"{self.checkpoint}: was replaced while it forecast; nothing was written, run it again"
            )
        graph, target = forecaster.graph, forecaster.target
        described, unit = self._metadata.data, graph.time_unit
        learnt = None
        if described is not None:
            # Cut to the minute, a time would seem to be learnt until before it was.
            learnt = to_text(described.learnt_until, unit, seconds=unit == 1 and described.learnt_until % 60 > 0)
        selection = Selection(by=by, number=number, subject=subject, relation=relation, object=object)
        model = ForecastingModel(name=str(self.checkpoint), sha256=self._sha256, learnt_until=learnt)
        data = KnownData(
            name=graph.name,
            sha256=graph.checksum,
            facts=graph.num_facts,
            last=format_snapshot_time(graph, target.history_end - 1),
            provenance=dict(graph.provenance),
        )
        forecasts = [
            JournalForecast(
                model=model,
                version=versions()["tirgn-eqx"],
                data=data,
                selection=selection,
                target=forecaster.time,
                horizon=horizon,
                step=graph.time_interval * (unit or 1),
                unit="number" if unit is None else "second",
                subject=fact.subject,
                relation=fact.relation,
                object=fact.object,
                probability=fact.probability,
                expected=fact.expected,
                usual=fact.usual,
            )
            for fact in found
        ]
        return append_forecasts(self.folder, forecasts)
