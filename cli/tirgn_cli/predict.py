"""`tirgn predict`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer.models import OptionInfo

from tirgn_cli import options, output, tables, values
from tirgn_cli.all_scores import write_all_scores
from tirgn_cli.common import check_outputs
from tirgn_cli.predict_events import (
    PARTS,
    EventQuestion,
    forecast_events,
    has_event_model,
    percent,
    write_probabilities,
    write_table,
)
from tirgn_eqx.errors import ConfigError, printable
from tirgn_eqx.runtime.malloc import keep_freed_memory

if TYPE_CHECKING:
    import polars as pl

    from tirgn_eqx.evaluate.explain import Share
    from tirgn_eqx.forecast import Forecast, Forecaster
    from tirgn_eqx.forecast.facts import Fact
    from tirgn_eqx.forecast.states import EvidenceExplanation, HistoryExplanation

Document = dict[str, object]  # an alias, because `predict` has a parameter `object`
TOP = 10
SHARES_SHOWN = 3
ORDERS = ("probability", "lift")  # of facts


def _name(help: str) -> OptionInfo:
    return options.option(metavar="NAME", help=f"{help} (default: the part to forecast)", panel=options.QUERY)


@options.command()
def predict(
    checkpoint: options.Checkpoint,
    *,
    subject: Annotated[str | None, _name("who does it")] = None,
    relation: Annotated[str | None, _name("what is done")] = None,
    object: Annotated[str | None, _name("to whom")] = None,
    queries: Annotated[
        Path | None,
        options.option(
            metavar="FILE",
            help="CSV or parquet file with columns subject, relation, object (separated by , ; tab or |): queries, one "
            "of the three empty in every row, or with an event model whole facts, whose probability is forecast; needs "
            "--out (default: none)",
            panel=options.QUERY,
        ),
    ] = None,
    facts: Annotated[
        int,
        options.option(
            min=0,
            metavar="N",
            help="forecast the N most probable facts instead of answering a query; with an event model, "
            "those of --subject, --relation and --object (default: 0)",
            panel=options.QUERY,
        ),
    ] = 0,
    horizon: Annotated[
        int | None,
        options.option(
            min=1,
            max=values.MAX_HORIZON,
            metavar="H",
            help="with an event model and --facts, or --queries of whole facts, steps within which they come, at most "
            f"{values.MAX_HORIZON} (default: 1)",
            panel=options.QUERY,
        ),
    ] = None,
    journal: Annotated[
        Path | None,
        options.option(
            metavar="DIR",
            help="with --facts and an event model, folder of a journal to write the forecasts to, for `tirgn score` to "
            "compare with what comes (default: none)",
            panel=options.OUTPUT,
        ),
    ] = None,
    by: Annotated[
        str | None,
        options.choice(
            choices=ORDERS,
            help="with --facts and an event model, which come first: the most probable, or by lift the known facts "
            "that are expected most often against what is usual (default: probability)",
            panel=options.QUERY,
        ),
    ] = None,
    at: options.At = None,
    top: Annotated[
        int | None,
        options.option(min=1, metavar="K", help="answers to every query (default: 10)", panel=options.OUTPUT),
    ] = None,
    data_path: Annotated[
        str | None,
        options.data_path(
            "folder, event table or 'sim' that holds the history (default: the data that it was trained on)"
        ),
    ] = None,
    map_relations: options.MapRelations = None,
    reading: options.ReadingFlags,
    out: Annotated[
        Path | None,
        options.option(
            metavar="FILE",
            help="CSV or parquet file for the answers to --queries (default: none)",
            panel=options.OUTPUT,
        ),
    ] = None,
    all_scores: Annotated[
        Path | None,
        options.option(
            metavar="FILE",
            help="parquet file for the scores of all entities, of --queries or of the queries of --split, so that "
            "another tool can rank them (default: none)",
            panel=options.OUTPUT,
        ),
    ] = None,
    split: Annotated[
        str | None,
        options.choice(
            choices=values.HELD_OUT_SPLITS,
            help="with --all-scores and without --queries, the facts whose queries are scored (default: test)",
            panel=options.QUERY,
        ),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Forecast by name: give two of subject, relation and object, and the third is forecast, with the past events that
    contribute to it.

    Example: tirgn predict models/tkg/tirgn_best.npz --subject "UNITED STATES" --relation 042_Q1

    Example: tirgn predict models/tkg/tirgn_best.npz --subject RUSSIA --object UKRAINE --at 2018-02-01 --json

    Example: tirgn predict models/tkg/tirgn_best.npz --queries queries.csv --out answers.parquet

    Example: tirgn predict models/events/tirgn_best.npz --facts 20 --horizon 7 --by lift

    Example: tirgn predict models/events/tirgn_best.npz --facts 100 --horizon 7 --journal journal

    Example: tirgn predict models/events/tirgn_best.npz --queries facts.csv --horizon 7 --out probabilities.parquet

    Example: tirgn predict models/relations/tirgn_best.npz --data-path events.parquet --map-relations by-name --facts 10

    Example: tirgn predict models/tkg/tirgn_best.npz --all-scores scores.parquet
    """
    keep_freed_memory()
    values.check_choice("--by", by, ORDERS)
    query = (subject, relation, object)
    more = values.given(horizon=horizon, by=by, journal=None if journal is None else str(journal), top=top)
    if all_scores is not None:
        spare = values.given(subject=subject, relation=relation, object=object, out=out, facts=facts or None) | more
        spare |= values.given(**{"map-relations": map_relations})
        for name in spare:
            raise ConfigError(f"--{name}: not with --all-scores, which writes all candidates of many queries")
        return write_all_scores(
            checkpoint,
            all_scores,
            queries=queries,
            split=split,
            at=at,
            data_path=data_path,
            reading=reading,
            as_json=as_json,
        )
    if split is not None:
        raise ConfigError("--split: only with --all-scores; other forecasts are of what comes after all facts")
    _check(query, queries, facts, out, more)
    check_outputs({"--out": out}, checkpoint, queries, data_path)
    mapping = values.check_mapping(map_relations, data_path)
    with output.stdout_to_stderr():
        from tirgn_eqx.forecast.queries import asks_for_facts, check_names, read_queries

        # A faulty file is told of before the model is loaded.
        table = None if queries is None else read_queries(queries)
    whole = table is not None and asks_for_facts(table)
    by_events = (whole or facts > 0) and mapping is None and has_event_model(checkpoint)
    if not by_events:
        _check_without_events(checkpoint, query, queries, facts, whole, more)
    elif whole and top is not None:
        raise ConfigError(f"--top: {queries} holds whole facts, which have no other answers; leave it out")
    if by_events:
        ask = EventQuestion(checkpoint, data_path, at, reading, horizon or 1)
        if table is not None and queries is not None and out is not None:
            return write_probabilities(ask, queries, table, out, as_json)
        return forecast_events(ask, facts, query, by or "probability", journal, as_json)

    with output.stdout_to_stderr():
        from tirgn_eqx.forecast import Forecaster

        forecaster = Forecaster.load(checkpoint, data_path, at=at, map_relations=mapping, **reading.given())
        document: Document = {"checkpoint": str(checkpoint), "calibrated": bool(forecaster.temperature)}
        document["time"] = forecaster.time
        if queries is not None and table is not None and out is not None:
            check_outputs({"--out": out}, forecaster.graph.provenance.get("path"))
            check_names(queries, table, forecaster.names)
            with output.working(f"answering {table.height:,} queries"):
                _write_answers(out, forecaster, table, top or TOP)
            found = f"{table.height:,} queries about {forecaster.time} answered; the answers are in {out}"
            document |= {"queries": table.height, "out": str(out)}
        elif facts:
            found = forecaster.top_facts(facts)
            document["facts"] = [vars(fact) for fact in found]
        else:
            found = forecaster.forecast(*query, top=top or TOP)
            document |= found.to_dict()
    if as_json:
        output.print_json(document)
    elif isinstance(found, str):
        output.print_note(found)
    elif isinstance(found, list):
        _show_facts(forecaster.time, found)
    else:
        _show_forecast(found)


def _check(
    query: tuple[str | None, ...],
    queries: Path | None,
    facts: int,
    out: Path | None,
    more: dict[str, int | str],
) -> None:
    """**Arguments:** `more`: those of --horizon, --by, --journal and --top that were given.

    **Raises:** ConfigError unless the options ask for exactly one thing.
    """
    given = [part for part, name in zip(PARTS, query) if name is not None]
    for option in ("horizon", "by", "journal"):
        if option in more and not facts and (queries is None or option != "horizon"):
            also = " or --queries of whole facts" if option == "horizon" else ""
            raise ConfigError(f"--{option}: only with --facts N{also}, of an event model; give that, or leave it out")
    if "top" in more and facts:
        raise ConfigError("--top: the answers to a query; --facts N says how many facts, leave --top out")
    if queries is not None or facts:
        if queries is not None and (given or facts):
            spare = f"--{given[0]}" if given else "--facts"
            raise ConfigError(f"{spare}: not with --queries; give one of them")
        if (queries is None) != (out is None):
            raise ConfigError("--queries and --out go together; give both")
        return
    if out is not None:
        raise ConfigError("--out: for the answers to --queries; use --json for a single query")
    if len(given) != 2:
        have = " and ".join(f"--{part}" for part in given) or "nothing"
        raise ConfigError(f"{have} given; give two of --subject, --relation and --object, and the third is forecast")


def _check_without_events(
    checkpoint: Path,
    query: tuple[str | None, ...],
    queries: Path | None,
    facts: int,
    whole: bool,
    more: dict[str, int | str],
) -> None:
    """**Raises:** ConfigError for what only an event model says of facts, and for options that mean nothing to the rows
    of `queries`; `whole`: these are whole facts."""
    adds = f"`tirgn train --events {checkpoint}` adds one"
    if whole:
        raise ConfigError(
            f"{queries}: holds whole facts, whose probability an event model says; {adds}, or leave one cell of every "
            "row empty"
        )
    if queries is not None and "horizon" in more:
        raise ConfigError(f"--horizon: {queries} asks who, at one time; only whole facts have a horizon, leave it out")
    for part, name in zip(PARTS, query):
        if facts and name is not None:
            raise ConfigError(f"--{part}: not with --facts, but for a checkpoint with an event model; {adds}")
    for option in ("horizon", "by", "journal"):
        if option in more:
            raise ConfigError(f"--{option}: only with --facts and an event model; {adds}")


def _write_answers(path: Path, forecaster: "Forecaster", table: "pl.DataFrame", top: int) -> None:
    """Write one row per answer: query (from 1), time, subject, relation, object, predicted, rank, probability."""
    import polars as pl

    rows = []
    for number, forecast in enumerate(forecaster.forecasts(table.rows(), top=top), start=1):
        condition = {part: getattr(forecast, part) for part in PARTS}
        for rank, candidate in enumerate(forecast.candidates, start=1):
            row = {"query": number, "time": forecast.time} | condition | {forecast.predicted: candidate.name}
            rows.append(row | {"predicted": forecast.predicted, "rank": rank, "probability": candidate.probability})
    write_table(path, pl.DataFrame(rows))


def _show_facts(time: int | str, facts: "Sequence[Fact]") -> None:
    rows = [[*(printable(getattr(fact, part)) for part in PARTS), percent(fact.probability)] for fact in facts]
    title = f"most probable facts of {time}"
    tables.print_table(tables.make_table(title, [*PARTS, "probability"], rows, text=PARTS))


def _show_forecast(forecast: "Forecast") -> None:
    subject, relation, object = ("?" if part == forecast.predicted else getattr(forecast, part) for part in PARTS)
    columns, rows = [forecast.predicted, "probability"], []
    for candidate in forecast.candidates:
        because = candidate.explanation
        row = [candidate.name, percent(candidate.probability)]
        rows.append(row if because is None else [*row, _describe_reason(because)])
    if len(rows[0]) > len(columns):
        columns.append("because")
    title = f"{subject} - {relation} - {object}  at {forecast.time}"
    tables.print_table(tables.make_table(title, columns, rows, text=["because"]))


def _describe_reason(because: "EvidenceExplanation | HistoryExplanation") -> str:
    """What contributes to a candidate, one line for each share."""
    from tirgn_eqx.forecast.states import HistoryExplanation

    if isinstance(because, HistoryExplanation):
        seen = f"happened {_count_events(because)}" if because.events else "never happened before"
        return f"{seen}; {100 * because.from_history:.0f} % from history"
    lines = []
    for share in because.shares[:SHARES_SHOWN]:
        what = share.kind
        if what == "event":
            what = f"{share.subject} - {share.relation} - {share.object} ({_count_events(share)})"
        lines.append(f"{100 * share.share:.0f} % {printable(what)}")
    return "\n".join(lines)


def _count_events(found: "HistoryExplanation | Share") -> str:
    return f"{found.events:,} x, last {found.last}"
