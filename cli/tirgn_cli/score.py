"""`tirgn score`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tirgn_cli import complete, options, output, tables
from tirgn_eqx.errors import ConfigError, printable, shown

if TYPE_CHECKING:
    from tirgn_eqx.evaluate.judged_forecasts import ForecastScores
    from tirgn_eqx.evaluate.track_record import TrackRecord

SKILL_TOO_LOW = 4  # exit code
ROWS_SHOWN = 10  # relations, and weeks
NAMES_SHOWN = 5


@options.command(
    compiles=False,
    num_days="of an event table, judge by the most recent days; 0 = all (default: all)",
    max_events="of an event table, thin every day in proportion to at most this many events in all; 0 = all (default: "
    "as the forecasts' data)",
    granularity="of an event table, length of one snapshot (default: as the forecasts' data)",
)
def score(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="folder of the journal")],
    *,
    data_path: Annotated[
        str | None,
        options.data_path(
            "folder, event table or 'sim' that says what came (default: the data of the last forecast, read again)"
        ),
    ] = None,
    reading: options.ReadingFlags,
    checkpoint: Annotated[
        Path | None,
        options.option(
            "--from",
            metavar="CKPT",
            autocompletion=complete.checkpoints,
            help="judge the forecasts of this checkpoint, as it is now, alone (default: those of every model)",
            panel=options.MODEL,
        ),
    ] = None,
    min_skill: Annotated[
        float | None,
        options.option(
            metavar="X",
            help="leave with exit code 4 when the skill against the usual rate is below this, 0 being as good as the "
            "usual rate (default: judge nothing)",
            panel=options.OUTPUT,
        ),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Compare the forecasts in a journal, which `tirgn predict --journal` writes, with what came.

    A forecast is judged once the data hold a snapshot after its horizon; until then it waits. Skill is 1 - Brier score
    / Brier score of the usual rate, how often each fact came before. Exit code 4 means that it is below --min-skill.

    Example: tirgn score journal --data-path events.parquet

    Example: tirgn score journal --data-path events.parquet --from models/events/tirgn_best.npz --min-skill 0.05
    """
    check_min_skill(min_skill)
    with output.stdout_to_stderr():
        from tirgn_eqx.checkpoint.files import checkpoint_sha256
        from tirgn_eqx.evaluate.track_record import read_outcomes, score_journal

        sha256 = None if checkpoint is None else checkpoint_sha256(checkpoint)
        with output.working(f"judging the forecasts in {folder}"):
            record = score_journal(
                folder, read_outcomes(folder, data_path, model_sha256=sha256, **reading.given()), model_sha256=sha256
            )
    too_low = min_skill is not None and record.is_below(min_skill)
    if as_json:
        verdict = {} if min_skill is None else {"min_skill": min_skill, "below": too_low}
        output.print_json(record.to_dict() | verdict)
    else:
        show(record)
    if too_low:
        assert record.scores is not None and record.scores.skill is not None  # as of what is below something
        output.print_warning(
            f"the skill {record.scores.skill:.4f} of {record.scores.forecasts:,} forecasts is below {min_skill:g}; "
            "`tirgn retrain` learns from what came since"
        )
        raise typer.Exit(SKILL_TOO_LOW)


def check_min_skill(min_skill: float | None) -> None:
    """**Raises:** ConfigError for a skill that cannot be asked for."""
    if min_skill is not None and not -1 <= min_skill <= 1:
        raise ConfigError(f"--min-skill {min_skill:g}: must be between -1 and 1, such as 0.05 for 5 % better")


def show(record: "TrackRecord") -> None:
    """Print a track record: what was judged, how good it was, and by relation, week, model and age of the model."""
    output.print_result(tables.format_dataset(record.dataset.to_dict()))
    output.print_result(f"the data reach from {record.data_from} to {record.data_until}")
    for line in _describe_counts(record):
        output.print_result(line)
    if record.unknown_names:
        names = ", ".join(map(shown, record.unknown_names[:NAMES_SHOWN]))
        output.print_warning(
            f"{record.counts.unknown:,} forecasts have names that the data do not have, such as {names}; as far as "
            "these data say, they did not come"
        )
    if record.scores is None:
        return
    rows: list[list[object]] = [["forecasts", record.scores.brier, record.scores.log_score, "", ""]]
    for name, rule in record.rules.items():
        rows.append([name, rule.brier, rule.log_score, _percent(rule.skill), _interval(rule.skill_interval)])
    columns = ["", "Brier", "log score", "skill against it", "interval"]
    title = f"track record of {record.journal}"
    tables.print_table(tables.make_table(title, columns, rows, "95 % intervals of a bootstrap over target times"))
    if record.reliability:
        rows = [
            [f"{one.low:.2f} to {one.high:.2f}", one.facts, one.probability, one.occurred, _share(one.interval)]
            for one in record.reliability
        ]
        assert record.ece is not None  # as bins are
        caption = f"expected calibration error {100 * record.ece:.2f} points, of probabilities of at least 1 %"
        columns = ["probability", "forecasts", "mean", "came", "interval"]
        tables.print_table(tables.make_table("reliability", columns, rows, caption))
    weeks = record.weeks[-ROWS_SHOWN:]
    _show_groups("week of", weeks, len(record.weeks) - len(weeks))
    _show_groups("relation", record.relations[:ROWS_SHOWN], max(0, len(record.relations) - ROWS_SHOWN))
    for heading, groups in (
        ("steps", record.horizons),
        ("chosen", record.selections),
        ("model", record.models),
    ):
        if len(groups) > 1:
            _show_groups(heading, groups)
    if len(record.drift) > 1:
        _show_groups("weeks since learnt", record.drift)


def describe_score(record: "TrackRecord") -> str:
    """How good the forecasts were, in a line."""
    if record.scores is None:
        return "none can be judged yet"
    found = record.scores
    return (
        f"{found.forecasts:,} forecasts of {found.targets:,} target times: {found.came:,} came, "
        f"{found.probability * found.forecasts:,.1f} were expected; skill {_percent(found.skill)} "
        f"({_interval(found.skill_interval)}) against the usual rate"
    )


def _describe_counts(record: "TrackRecord") -> list[str]:
    counts = record.counts
    lines = [f"{counts.forecasts:,} forecasts in {record.journal}; {describe_score(record)}"]
    reasons = {
        f"wait for what comes; the next one is due when the data reach {record.next_due}": counts.waiting,
        "are of times before these data; read more with --num-days": counts.before_data,
        "are of times that their model was trained on or selected by, and prove nothing": counts.hindsight,
        "begin or end within a step of these data; read them with another --granularity": counts.other_steps,
    }
    lines += [f"{number:,} {reason}" for reason, number in reasons.items() if number]
    if counts.in_advance is not None and counts.in_advance < counts.scored:
        lines.append(
            f"{counts.scored - counts.in_advance:,} were written after their target, from what was known before"
        )
    return lines


def _show_groups(heading: str, groups: "Sequence[ForecastScores]", more: int = 0) -> None:
    rows = [
        [
            printable(str(one.name)),
            one.forecasts,
            one.came,
            _percent(one.probability),
            "-" if one.calibration is None else f"{one.calibration:.2f}",
            _percent(one.skill),
            _interval(one.skill_interval),
        ]
        for one in groups
    ]
    columns = [heading, "number", "came", "mean", "real/exp.", "skill", "interval"]
    caption = f"{more:,} more with --json" if more else ""
    tables.print_table(tables.make_table("", columns, rows, caption))


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"


def _interval(interval: "Sequence[float] | None") -> str:
    return "-" if interval is None else f"{100 * interval[0]:.1f} .. {100 * interval[1]:.1f}"


def _share(interval: "Sequence[float]") -> str:
    return f"{interval[0]:.4f} .. {interval[1]:.4f}"
