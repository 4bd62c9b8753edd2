"""Results as tables: how they are laid out, and how counts, figures, sizes and times are written in them."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tirgn_cli.output import stdout, writable

if TYPE_CHECKING:
    from tirgn_eqx.evaluate.results import EvaluationReport
    from tirgn_eqx.evaluate.tgb import TGBReport

METRICS = {"mrr": "MRR", "hits_at_1": "Hits@1", "hits_at_3": "Hits@3", "hits_at_10": "Hits@10", "nll": "NLL"}
EVALUATIONS = ("entity", "entity_raw", "object", "subject", "relation", "relation_raw")


def print_table(table: Table) -> None:
    """Print a table on stdout, 80 columns wide when stdout is no terminal."""
    console = stdout()
    if not console.is_terminal:
        # Whatever COLUMNS says: files and pipes get the same table everywhere.
        console.width = 80
    console.print(table)


def make_table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[object]], caption: str = "", text: Sequence[str] = ()
) -> Table:
    """A table with a heading for each column.

    **Arguments:** `text`: the columns, besides the first, that hold text, possibly of several lines; the other columns
    are aligned to the right.
    """
    table = Table(
        title=Text(writable(title)),
        caption=Text(writable(caption)) if caption else None,
        title_justify="left",
        caption_justify="left",
    )
    for index, name in enumerate(columns):
        table.add_column(name, justify="left" if index == 0 or name in text else "right", overflow="fold")
    for row in rows:
        lines = [str(value).split("\n") if name in text else [value] for name, value in zip(columns, row)]
        table.add_row(*(Text("\n".join(map(format_cell, values))) for values in lines))
    return table


def make_pairs(title: str, rows: Mapping[str, object]) -> Table:
    """A table of names and values; a value that is None is left out."""
    table = Table(title=Text(writable(title)) if title else None, show_header=False, title_justify="left")
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows.items():
        if value is not None:
            table.add_row(Text(writable(name)), Text(format_cell(value)))
    return table


def make_metrics_table(title: str, report: "EvaluationReport | TGBReport") -> Table:
    """The table of an evaluation, or of one by TGB's protocol."""
    from tirgn_eqx.evaluate.filters import FILTER_NAMES
    from tirgn_eqx.evaluate.results import EvaluationReport

    measured = {name: getattr(report, name, None) for name in EVALUATIONS}
    rows = [[name.replace("_", ", "), *metric_row(found)] for name, found in measured.items() if found is not None]
    if isinstance(report, EvaluationReport):
        rows += [[f"{one.name}, {100 * one.share:.0f} %", *metric_row(one.figures)] for one in report.strata]
        low, high = map(format_cell, report.mrr_interval)
        caption = (
            f"{report.setting}, {FILTER_NAMES[report.filter]} unless raw; entity = both directions, MRR {low} to "
            f"{high} with 95 % confidence; {len(report.snapshots)} snapshots in {format_duration(report.seconds)}"
        )
    else:
        caption = f"TGB's protocol, single-step; negatives: {report.negatives}; {report.queries:,} queries"
    return make_table(title, ["", *METRICS.values()], rows, caption)


def make_event_table(title: str, horizons: Sequence[Mapping[str, Any]]) -> Table:
    """Forecasts of events and all simple rules, by horizon, from the documents of `HorizonScores`."""
    rows = []
    for found in horizons:
        for name, rule in found["rules"].items():
            lists = [rule["precision"][number] for number in rule["precision"]]
            rows.append([found["horizon"], name, rule["brier"], rule["average_precision"], *lists])
    tops = [f"P@{number}" for number in (horizons[0]["rules"]["model"]["precision"] if horizons else ())]
    caption = (
        "facts with a past; AP = average precision, P@k = share of the k most probable facts that came; --json has the "
        "reliability by probability, and the totals by relation"
    )
    return make_table(title, ["steps", "rule", "Brier", "AP", *tops], rows, caption, text=["rule"])


def describe_events(found: Mapping[str, Any]) -> str:
    """The scores of one horizon in a line, from the document of `HorizonScores`."""
    interval, new = found["skill_interval"], found["new_facts"]
    skill, came = 100 * found["skill"], 100 * found["totals"]["all"]
    certain = "too few for an interval" if interval is None else "{:.1f} to {:.1f}".format(*(100 * x for x in interval))
    return (
        f"within {found['horizon']}: Brier skill {skill:.1f} % ({certain}) against {found['best_baseline']}, "
        f"calibration error {100 * found['ece']:.2f} points, {came:.0f} % of the expected events came; of new facts of "
        f"known pairs {new['occurred']:,} came and {new['expected']:,.0f} were expected, AUC {new['auc']:.3f}"
    )


def metric_row(metrics: Mapping[str, float]) -> list[float | None]:
    """MRR, Hits@1, Hits@3, Hits@10 and NLL of `metrics`, in the order of `METRICS`."""
    return [metrics.get(name) for name in METRICS]


def make_bar(total: int, done: int) -> ProgressBar:
    """A progress bar in colours that any background leaves readable."""
    return ProgressBar(max(total, 1), done, style="bright_black", complete_style="cyan", finished_style="cyan")


def format_cell(value: object) -> str:
    """A value as a table shows it: counts with thousands separators, figures with four decimals."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4f}" if isinstance(value, float) else writable(str(value))


def format_size(num_bytes: int | float) -> str:
    """Bytes in powers of 1024, such as `1.5 GiB`."""
    value, units = float(num_bytes), ["B", "KiB", "MiB", "GiB", "TiB"]
    while value >= 1024 and len(units) > 1:
        value, units = value / 1024, units[1:]
    return f"{value:.0f} {units[0]}" if units[0] == "B" else f"{value:.1f} {units[0]}"


def format_duration(seconds: int | float) -> str:
    """Seconds as `12.3 s` below a minute, otherwise as `h:mm:ss`."""
    if not math.isfinite(seconds):
        return "-"
    # 59.95 would be written as 60.0 s.
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def format_dataset(description: Mapping[str, object]) -> str:
    """Name, counts and the start of the checksum of a data set, as a graph describes itself, in one line."""
    counts = [f"{description[key]:,} {key}" for key in ("facts", "entities", "relations", "snapshots")]
    # By split; there is no such key where nothing was left out.
    if isinstance(left_out := description.get("left_out"), Mapping):
        counts.append(f"{sum(left_out.values()):,} facts with unknown names left out")
    return f"{description['name']}: {', '.join(counts)}, sha256 {description['sha256']:.12}"
