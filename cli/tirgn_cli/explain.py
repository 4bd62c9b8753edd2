"""`tirgn explain`."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tirgn_cli import options, output, tables, values
from tirgn_cli.common import LoadedCheckpoint, load_matched_graph
from tirgn_eqx.errors import ConfigError
from tirgn_eqx.runtime.malloc import keep_freed_memory

if TYPE_CHECKING:
    from tirgn_eqx.data import TemporalGraph
    from tirgn_eqx.evaluate.explain import Explanation
    from tirgn_eqx.evaluate.results import Setting
    from tirgn_eqx.evaluate.rules import RuleReport

FORECASTS, TOP = 3, 10  # defaults of the options
SHARES_SHOWN = 6


@dataclass(frozen=True)
class ExplainedForecast:
    """The most probable answer to a query and the one that happened, each with what contributes to it."""

    forecast: "Explanation"
    happened: "Explanation"

    @property
    def answer(self) -> str:
        """The name of what happened."""
        return getattr(self.happened, self.happened.predicted)

    def to_dict(self) -> dict[str, object]:
        """As `--json` prints it."""
        truth = {"happened": self.answer, "happened_probability": self.happened.probability}
        return self.forecast.to_dict() | truth


@options.command()
def explain(
    checkpoint: options.Checkpoint,
    *,
    rules: Annotated[
        bool,
        options.option(
            "--rules",
            help="what the model has learnt, as the strongest rules: after A did this to B, how much more likely A "
            "does that to B (default: single forecasts)",
            panel=options.QUERY,
        ),
    ] = False,
    relation: Annotated[
        str | None,
        options.option(
            metavar="NAME", help="with --rules, only rules for this relation (default: all)", panel=options.QUERY
        ),
    ] = None,
    repeats: Annotated[
        bool,
        options.option(
            "--repeats/--no-repeats",
            help="with --rules, show those by which a relation speaks for itself, or leave them out (default: show)",
            panel=options.QUERY,
        ),
    ] = True,
    min_support: Annotated[
        int | None,
        options.option(
            min=1,
            metavar="N",
            help="with --rules, leave out those that apply to fewer candidates on valid (default: a hundredth of the "
            "queries, within 10 and 100)",
            panel=options.QUERY,
        ),
    ] = None,
    top: Annotated[
        int | None,
        options.option(min=1, metavar="N", help=f"with --rules, how many (default: {TOP})", panel=options.OUTPUT),
    ] = None,
    forecasts: Annotated[
        int | None,
        options.option(
            min=1,
            metavar="N",
            help=f"without --rules, how many forecasts, spread over the split (default: {FORECASTS})",
            panel=options.OUTPUT,
        ),
    ] = None,
    split: Annotated[
        str | None,
        options.choice(
            choices=values.HELD_OUT_SPLITS,
            help="without --rules, facts to forecast (default: test); rules are chosen on valid and judged on both",
            panel=options.DATA,
        ),
    ] = None,
    data_path: Annotated[
        str | None,
        options.data_path("folder, event table or 'sim' to explain on (default: the data that it was trained on)"),
    ] = None,
    reading: options.ReadingFlags,
    as_json: options.Json = False,
) -> None:
    """Explain an evidence checkpoint: single forecasts by the past events behind them, or what it has learnt as rules.

    A rule says how likely A does one thing to B after another, at which age of the past event, and what the model has
    learnt to make of it. Rules are associations in the data, not causes.

    Example: tirgn explain models/evidence/tirgn_best.npz

    Example: tirgn explain models/evidence/tirgn_best.npz --rules

    Example: tirgn explain models/evidence/tirgn_best.npz --rules --relation 042_Q1 --min-support 20 --json
    """
    keep_freed_memory()
    unused = {"--forecasts": forecasts, "--split": split} if rules else {}
    if not rules:
        unused = {"--relation": relation, "--no-repeats": None if repeats else True}
        unused |= {"--min-support": min_support, "--top": top}
    for option, value in unused.items():
        if value is not None:
            advice = (
                "not with --rules; leave one of them out" if rules else "only with --rules; add it, or leave this out"
            )
            raise ConfigError(f"{option}: {advice}")
    held_out = values.check_split(split or "test")

    with output.stdout_to_stderr():
        loaded = LoadedCheckpoint.load(checkpoint)
        # Before the data are read, which may take long.
        check_explains(loaded, "explain")
        if rules or held_out == "valid":
            loaded.check_valid_unseen("--rules" if rules else "--split valid")
        graph, _, difference = load_matched_graph(loaded, data_path, reading)
        if difference is not None:
            output.print_warning(difference)
        document: dict[str, object]
        if rules:
            report = _find_rules(loaded, graph, relation, top or TOP, min_support, repeats)
            document, found = report.to_dict(), []
        else:
            found = explain_queries(loaded, graph, held_out, forecasts or FORECASTS)
            report = None
            document = {
                "dataset": graph.describe(),
                "split": held_out,
                "explanations": [one.to_dict() for one in found],
            }
    if as_json:
        document |= {
            "checkpoint": str(checkpoint),
            "checksum_matches": difference is None,
            "model_type": loaded.config.model_type,
            "seed": loaded.config.seed,
            "versions": loaded.metadata.versions,
        }
        output.print_json(document)
        return
    output.print_result(tables.format_dataset(graph.describe()))
    for explained in found:
        show_explanation(explained)
    if report is not None:
        _show_rules(checkpoint, report)


def check_explains(loaded: LoadedCheckpoint, option: str) -> None:
    """**Raises:** ConfigError for a model without evidence, whose forecasts are no sums over past events."""
    if not loaded.config.model_type.endswith("evidence"):
        raise ConfigError(
            f"{option}: {loaded.path} holds {loaded.config.model_type}, which cannot; train with --model evidence"
        )


def explain_queries(
    loaded: LoadedCheckpoint,
    graph: "TemporalGraph",
    split: values.HeldOutSplit,
    number: int,
    setting: "Setting" = "single-step",
) -> list[ExplainedForecast]:
    """The forecasts of `number` queries spread evenly over the split."""
    import numpy as np

    from tirgn_eqx.evaluate.explain import Explainer
    from tirgn_eqx.evaluate.results import evaluated_snapshots
    from tirgn_eqx.evaluate.strata import split_queries
    from tirgn_eqx.models import Evidence, Mixture

    model, snapshots = loaded.model, evaluated_snapshots(graph, split)
    assert isinstance(model, Evidence | Mixture)
    subject, relation, answer, snapshot = split_queries(graph, split, snapshots)
    # In the multi-step setting, nothing from the beginning of the split on is known.
    before = None if setting == "single-step" else int(snapshots[0])
    explainer = Explainer(model, graph, history_len=loaded.config.window()["history_len"])
    explanations = []
    for row in np.unique(np.linspace(0, len(subject) - 1, min(number, len(subject))).astype(int)).tolist():
        query, target = (int(subject[row]), int(relation[row])), int(snapshot[row])
        forecast = explainer(*query, None, target, before)
        # The answer that happened may be none of the most probable ones, so it is explained separately.
        explanations.append(ExplainedForecast(forecast, explainer(*query, int(answer[row]), target, before)))
    return explanations


def show_explanation(explained: ExplainedForecast) -> None:
    """Print a forecast as a table of what contributes to it."""
    forecast = explained.forecast
    candidate = getattr(forecast, forecast.predicted)
    who, whom = ("?" if part == forecast.predicted else getattr(forecast, part) for part in ("subject", "object"))
    rows: list[list[object]] = []
    for share in forecast.shares:
        what = share.kind
        if what == "event":
            what = f"{share.subject} - {share.relation} - {share.object}"
        elif what == "popularity":
            what = f"others with {candidate} in this"
        last = None if share.last is None else str(share.last)
        rows.append([what, share.events, last, f"{100 * share.share:.1f} %"])
    if len(rows) > SHARES_SHOWN:
        rows[SHARES_SHOWN:] = [[f"{len(rows) - SHARES_SHOWN} more", None, None, ""]]
    title = f"{who} - {forecast.relation} - {whom}  at {forecast.time}"
    caption = (
        f"forecast: {candidate} ({100 * forecast.probability:.1f} %); "
        f"happened: {explained.answer} ({100 * explained.happened.probability:.1f} %)"
    )
    tables.print_table(tables.make_table(title, ["source", "events", "last at", "share"], rows, caption))


def _find_rules(
    loaded: LoadedCheckpoint,
    graph: "TemporalGraph",
    relation: str | None,
    top: int,
    min_support: int | None,
    repeats: bool,
) -> "RuleReport":
    from tirgn_eqx.evaluate.rules import learn_rules
    from tirgn_eqx.forecast.names import Names
    from tirgn_eqx.models import Evidence, Mixture

    model = loaded.model
    assert isinstance(model, Evidence | Mixture)
    # A name that is not known is an error before the counting begins.
    number = None if relation is None else Names(graph).relation(relation)
    with output.working(f"counting rules on {graph.name}"):
        learnt = learn_rules(model, graph, history_len=loaded.config.window()["history_len"])
        return learnt.report(top=top, min_support=min_support, relation=number, repeats=repeats)


def _show_rules(checkpoint: Path, report: "RuleReport") -> None:
    from tirgn_eqx.evaluate.rule_words import format_lift

    if not report.rules:
        output.print_result(f"no rule applies {report.min_support:,} times on valid; give a smaller --min-support")
        return
    rows: list[list[object]] = []
    for rule in report.rules:
        by_age = ", ".join(f"{100 * age.learnt:.1f}" for age in rule.ages)
        lifts = [format_lift(one and one.lift) for one in (rule.valid, rule.test)]
        came = f"{100 * rule.valid.confidence:.1f} %"
        rows.append([f"{rule.words}\nlearnt by age: {by_age}", came, rule.valid.support, *lifts])
    of = "" if report.only is None else f" for {report.only}"
    title = f"The {len(rows)} strongest of {report.found:,} rules{of} of {checkpoint}"
    caption = (
        "the strongest at one age first. learnt: the mean probability, in percent, that the model gives a candidate by "
        "this past event, the latest age first; came: the share of these candidates that were the answer on valid, and "
        "support how many there were; lift: that share against all candidates with any past with A, on valid and on "
        "test"
    )
    columns = ["rule", "came", "support", "lift", "on test"]
    tables.print_table(tables.make_table(title, columns, rows, caption, text=["rule"]))
    output.print_result(
        f"past events of the two carry {100 * report.events:.1f} % of the probability of these forecasts on valid, "
        f"popularity {100 * report.popularity:.1f} %"
    )
    if (test := report.test) is not None:
        output.print_result(
            f"on test, these rules apply to {test.candidates:.2f} candidates of a query and cover "
            f"{100 * test.coverage:.1f} % of the answers; they were right {format_lift(test.lift)} times as often as "
            "usual"
        )
