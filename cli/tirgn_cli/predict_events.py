"""The parts of `tirgn predict` that ask an event model: which facts will come, and how probable given ones are."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tirgn_cli import options, output, tables
from tirgn_cli.common import check_outputs, check_writable
from tirgn_eqx.errors import printable
from tirgn_eqx.storage.atomic_write import atomic_write

if TYPE_CHECKING:
    import polars as pl

    from tirgn_eqx.forecast.events import EventForecaster

PARTS = ("subject", "relation", "object")


@dataclass(frozen=True)
class EventQuestion:
    """What all questions to an event model have in common: its checkpoint, what is known, and within how many steps."""

    checkpoint: Path
    data_path: str | None
    at: str | None
    reading: options.ReadingFlags
    horizon: int

    def forecaster(self) -> "EventForecaster":
        """The forecaster of the checkpoint."""
        from tirgn_eqx.forecast.events import EventForecaster

        return EventForecaster.load(self.checkpoint, self.data_path, at=self.at, **self.reading.given())


def has_event_model(checkpoint: Path) -> bool:
    """Whether a checkpoint says how often events come."""
    from tirgn_eqx.checkpoint.files import load_checkpoint

    return str(load_checkpoint(checkpoint).metadata.get("model_type")).endswith("events")


def forecast_events(
    ask: EventQuestion, number: int, query: tuple[str | None, ...], by: str, journal: Path | None, as_json: bool
) -> None:
    """Show the most probable facts, or those with the highest lift, and write them to a journal where one is given."""
    if journal is not None:
        check_writable(journal, folder=True)
    with output.stdout_to_stderr():
        from tirgn_eqx.forecast.recorder import ForecastRecorder

        recorder = None if journal is None else ForecastRecorder(journal, ask.checkpoint)
        forecaster = ask.forecaster()
        with output.working(f"forecasting the facts of {ask.horizon} steps from {forecaster.time} on"):
            names = dict(zip(PARTS, query))
            found = forecaster.events(number, horizon=ask.horizon, by=by, **names)  # pyright: ignore[reportArgumentType]
        if recorder is not None:
            kept = recorder.record(forecaster, found, horizon=ask.horizon, number=number, by=by, **names)
            output.print_note(f"{kept.written:,} forecasts written to {kept.file}, {kept.repeated:,} were there")
    if as_json:
        documents = [fact.to_dict() for fact in found]
        output.print_json(
            {
                "checkpoint": str(ask.checkpoint),
                "time": forecaster.time,
                "horizon": ask.horizon,
                "by": by,
                "facts": documents,
            }
        )
        return
    rows = [
        [
            *(printable(getattr(fact, part)) for part in PARTS),
            percent(fact.probability),
            "" if fact.calibration is None else percent(fact.calibration.occurred),
            fact.kind if fact.lift is None else f"{fact.lift:.1f}x",
            "\n".join(
                f"{printable(past.subject)} - {printable(past.relation)} - {printable(past.object)} "
                f"({past.events:,} x, last {past.last})"
                for past in fact.because
            ),
        ]
        for fact in found
    ]
    steps = f"{ask.horizon:,} steps" if ask.horizon > 1 else "step"
    title = f"facts of the {steps} from {forecaster.time} on, by {by}"
    columns = [*PARTS, "probability", "came", "lift", "because"]
    caption = "came = the share that came on test of the facts with about that probability"
    caption = caption if any(fact.calibration for fact in found) else ""
    tables.print_table(tables.make_table(title, columns, rows, caption, text=[*PARTS, "because"]))


def write_probabilities(ask: EventQuestion, queries: Path, table: "pl.DataFrame", out: Path, as_json: bool) -> None:
    """Write one row for each fact of `table`, in its order: query (from 1), time, horizon, subject, relation, object,
    kind, probability, expected, usual, lift; the last two are empty for a fact that never was."""
    import polars as pl

    with output.stdout_to_stderr():
        from tirgn_eqx.forecast.queries import check_names

        forecaster = ask.forecaster()
        check_outputs({"--out": out}, forecaster.graph.provenance.get("path"))
        check_names(queries, table, forecaster.names)
        with output.working(f"forecasting {table.height:,} facts"):
            columns = (table[part].to_list() for part in PARTS)
            found = forecaster.probabilities(*columns, horizon=ask.horizon)
        names = forecaster.names
        answers = pl.DataFrame(
            {
                "query": range(1, table.height + 1),
                "time": [forecaster.time] * table.height,
                "horizon": [ask.horizon] * table.height,
                # As the model knows them, which shows what was found for a name in another spelling.
                "subject": [names.entities[one] for one in found.subject.tolist()],
                "relation": [names.relations[one] for one in found.relation.tolist()],
                "object": [names.entities[one] for one in found.object.tolist()],
                "kind": found.kind,
                "probability": found.probability,
                "expected": found.expected,
                "usual": found.usual,
                "lift": found.lift,
            }
        ).with_columns(pl.col("usual", "lift").fill_nan(None))
        write_table(out, answers)
    if as_json:
        shared = {"checkpoint": str(ask.checkpoint), "time": forecaster.time, "horizon": ask.horizon}
        output.print_json(shared | {"queries": table.height, "out": str(out)})
    else:
        steps = f"{ask.horizon:,} steps" if ask.horizon > 1 else "step"
        output.print_note(
            f"{table.height:,} facts within the {steps} from {forecaster.time} on; their probabilities are in {out}"
        )


def write_table(path: Path, table: "pl.DataFrame") -> None:
    """Write a table as the suffix of `path` says, parquet or CSV."""
    # An open file, because polars refuses a path whose bytes are not UTF-8.
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        (table.write_parquet if path.suffix.lower() in (".parquet", ".pq") else table.write_csv)(file)


def percent(value: float) -> str:
    """A probability as tables show it."""
    return f"{100 * value:.1f} %"
