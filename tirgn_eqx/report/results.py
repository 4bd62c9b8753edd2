"""The sections of a page about how well models forecast, as their templates show them."""

from collections.abc import Sequence
from dataclasses import dataclass

from tirgn_eqx.report.documents import CalibrationBin, ComparedStratum, RankMetrics
from tirgn_eqx.report.evaluations import RunComparison
from tirgn_eqx.report.formats import METRICS
from tirgn_eqx.report.measure import Measurements, SampleForecast, StratumMetrics
from tirgn_eqx.report.plots import Plot, Series, Value, draw_intervals, draw_lines, draw_reliability
from tirgn_eqx.report.runs import Runs

MAX_ROWS = 400  # of a table below a plot
MAX_INTERVALS = 24  # rows of a picture
_PARTS = {"entity": "all", "object": "object queries", "subject": "subject queries"}
_PARTS |= {"relation": "relation queries", "entity_raw": "all, without filter"}
_KINDS = {"recurrence": "answer", "direction": "direction", "relation": "relation", "snapshot": "time"}


@dataclass(frozen=True)
class MeasuredRun:
    """A run with measurements; `style`: of its line in every plot."""

    name: str
    style: int
    found: Measurements

    @property
    def parts(self) -> list[tuple[str, RankMetrics | None]]:
        """Metrics of all queries and of parts of them, those that are known."""
        return [(said, self.found.metrics.get(key)) for key, said in _PARTS.items()]


@dataclass(frozen=True)
class RelationTable:
    """Metrics by relation; `rows`: (relation, queries, a value for each of `columns`)."""

    caption: str
    columns: list[str]
    rows: Sequence[tuple[str, int, Sequence[float | None]]]


@dataclass(frozen=True)
class ResultsSection:
    """Metrics of runs by direction, kind of query, time and relation; `settings`: splits and settings that differ."""

    runs: Sequence[MeasuredRun]
    settings: Sequence[str]
    strata: Sequence[tuple[str, StratumMetrics]]
    by_time: Plot | None
    reliability: Plot | None
    relations: RelationTable | None


def collect_results(runs: Runs) -> ResultsSection | None:
    """How well the runs that were measured forecast; None where none was."""
    measured = [MeasuredRun(run.name, style, run.measurements) for style, run in enumerate(runs) if run.measurements]
    if not measured:
        return None
    kinds = dict.fromkeys(row.name for one in measured for row in one.found.strata)
    return ResultsSection(
        runs=measured,
        settings=sorted({f"{one.found.split} split, {one.found.setting}" for one in measured}),
        strata=[(one.name, row) for kind in kinds for one in measured for row in one.found.strata if row.name == kind],
        by_time=_by_time(measured),
        reliability=_reliability(measured),
        relations=_relations([one for one in measured if one.found.relations]),
    )


def _by_time(measured: Sequence[MeasuredRun]) -> Plot | None:
    """MRR of every snapshot, the runs side by side where they have the same times."""
    labels: dict[int, int | str] = {}
    for one in measured:
        labels |= {row.time: row.time if row.label is None else row.label for row in one.found.snapshots}
    times = sorted(labels)
    # The runs may have different times. A line's x is the place of a time among those of all runs.
    place = {time: number for number, time in enumerate(times)}
    series, queries = [], {}
    for one in measured:
        known = [(row.time, 100 * row.mrr, row.queries) for row in one.found.snapshots if row.mrr is not None]
        if known:
            series.append(Series(one.name, [(place[time], mrr) for time, mrr, _ in known], one.style))
        queries |= {time: count for time, _, count in known}

    def format_time(number: Value) -> str:
        return str(labels[times[int(number)]])[:10]  # beside an axis there is room for a date, not for its hours

    title = "MRR by time"
    picture = draw_lines(title, "snapshot", "MRR, percent", series, format_x=format_time)
    values = [dict(one.points) for one in series]
    rows = [
        (time, labels[time], queries.get(time), [found.get(place[time]) for found in values])
        for time in times[:MAX_ROWS]
    ]
    caption = f"The first {MAX_ROWS} of {len(times):,} snapshots." if len(times) > MAX_ROWS else title
    return Plot(title, picture, rows, caption, series) if picture else None


def _reliability(measured: Sequence[MeasuredRun]) -> Plot | None:
    """How often forecasts of a probability came true."""
    series: list[Series] = []
    bins: list[tuple[str, int, Sequence[CalibrationBin]]] = []
    errors = []
    for one in measured:
        found = one.found.calibration
        if found and found.reliability and found.brier is not None and found.ece is not None:
            series.append(Series(one.name, (), one.style))
            bins.append((one.name, one.style, found.reliability))
            errors.append(f"{one.name}: expected calibration error {found.ece:.4f}, Brier score {found.brier:.4f}")
    title = "Reliability"
    picture = draw_reliability(title, bins)
    note = "How often the most probable answer was right. On the dashed line, forecasts of 60 % are right in 60 %. "
    rows = [(name, row) for name, _, found in bins for row in found]
    return Plot(title, picture, rows, title, series, f"{note}{'; '.join(errors)}.") if picture else None


def _relations(measured: Sequence[MeasuredRun]) -> RelationTable | None:
    if not measured:
        return None
    queries = {row.name: row.queries for one in measured for row in one.found.relations}
    metrics = [{row.name: row.metrics for row in one.found.relations} for one in measured]
    # There is a column for each run and metric, so that more runs get fewer metrics.
    wanted = {1: tuple(METRICS), 2: ("mrr", "hits_at_1", "hits_at_10")}.get(len(measured), ("mrr",))
    # A comparison document has no Hits.
    shown = [key for key in wanted if any(getattr(one, key) is not None for found in metrics for one in found.values())]
    columns = [
        METRICS[key] if len(measured) == 1 else f"{METRICS[key]}, {one.name}" for one in measured for key in shown
    ]
    rows = [
        (name, count, [getattr(found.get(name, RankMetrics()), key) for found in metrics for key in shown])
        for name, count in sorted(queries.items(), key=lambda item: -item[1])
    ]
    left_out = [one.found.relations_left_out for one in measured]
    more = max(count or 0 for count in left_out)
    # A comparison document holds the most frequent ones, and does not say of how many.
    which = f"The {len(rows)} most frequent" if more or None in left_out else f"{len(rows)} relations"
    which += f"; {more:,} more are left out" if more else ""
    return RelationTable(f"{which}, in percent. A click on a heading sorts.", columns, rows)


def plot_comparisons(comparisons: Sequence[RunComparison]) -> list[tuple[RunComparison, Plot | None]]:
    """Each comparison with a plot of its differences by kind of query, where there are any."""
    return [(one, _strata_differences(one, len(comparisons) > 1)) for one in comparisons]


def _strata_differences(comparison: RunComparison, several: bool) -> Plot | None:
    rows: list[tuple[str, ComparedStratum]] = []
    pictured: list[tuple[str, Value, Value, Value]] = []
    for kind, said in _KINDS.items():
        for row in comparison.document.strata.get(kind, ()):
            if row.points:
                rows.append((said, row))
                # Snapshots are many, and each has few queries: they are in the table alone.
                if kind != "snapshot":
                    pictured.append((row.name, *row.points))
    title, between = "Difference of MRR by kind of query", f"{comparison.first} – {comparison.second}"
    x_title = f"MRR of {comparison.first[:24]} – {comparison.second[:24]}, points"
    picture = draw_intervals(f"{title}, {between}", x_title, pictured[:MAX_INTERVALS])
    note = "Right of the vertical line the first model is better, left of it the second; "
    note += "an interval across it does not exclude that they are equal."
    title = f"{title}, {between}" if several else title
    return Plot(title, picture, rows, note=note) if picture else None


def group_forecasts(runs: Runs) -> list[list[tuple[str, SampleForecast]]]:
    """The sample forecasts by query, each with the name of its run: several runs share a card."""
    found: dict[tuple[object, ...], list[tuple[str, SampleForecast]]] = {}
    for run in runs:
        for sample in run.measurements.samples if run.measurements else ():
            query = sample.forecast
            key = (query.time, query.predicted, query.subject, query.relation, query.object, sample.answer)
            found.setdefault(key, []).append((run.name, sample))
    return list(found.values())
