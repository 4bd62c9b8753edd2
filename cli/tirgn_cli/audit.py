"""`tirgn audit`."""

import importlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tirgn_cli import complete, options, output, tables, values
from tirgn_cli.common import LoadedCheckpoint, load_matched_graph
from tirgn_eqx.errors import ConfigError, nearest, shown
from tirgn_eqx.runtime.malloc import keep_freed_memory

if TYPE_CHECKING:
    from tirgn_eqx.evaluate.audit import AuditReport, CheckResult

FACTS = ("all", "past")
# What a report has looked at, as the titles of its tables.
LOOKED = {"scores": "scores of all entities", "ranks": "ranking of the answers", "figures": "evaluation as a whole"}


@options.command()
def audit(
    checkpoint: Annotated[
        Path | None,
        typer.Argument(
            metavar="[CKPT]",
            help="checkpoint to audit, such as models/tkg/tirgn_best.npz, unless --model names a function",
            autocompletion=complete.checkpoints,
        ),
    ] = None,
    *,
    model: Annotated[
        str | None,
        options.option(
            metavar="MODULE:FUNCTION",
            help="a Python function that scores all entities for the queries of a request, see docs/audit.md "
            "(default: none)",
            panel=options.MODEL,
        ),
    ] = None,
    ranks: Annotated[
        str | None,
        options.option(
            metavar="MODULE:FUNCTION",
            help="with --model, the function that ranks the answers by its scores (default: ranks are not audited)",
            panel=options.MODEL,
        ),
    ] = None,
    data_path: Annotated[
        str | None,
        options.data_path(
            "folder, event table or 'sim' to audit on (default: the data that the checkpoint was trained on; with "
            f"--model, {values.EVENTS_FILE} if it exists, else sim)"
        ),
    ] = None,
    reading: options.ReadingFlags,
    split: options.Split = "test",
    facts: Annotated[
        str | None,
        options.choice(
            choices=FACTS,
            help="with --model, the facts that the function is given: all, which it promises not to look at from the "
            "target on, or past, those before the target alone (default: all)",
            panel=options.DATA,
        ),
    ] = None,
    fixed_ids: Annotated[
        bool,
        options.option(
            "--fixed-ids",
            help="with --model, do not renumber the entities: the function has tables that it cannot reorder (default: "
            "renumber them)",
            panel=options.DATA,
        ),
    ] = False,
    snapshots: Annotated[
        int,
        options.option(
            min=1, metavar="N", help="snapshots of the split that are forecast (default: 3)", panel=options.QUERY
        ),
    ] = 3,
    queries: Annotated[
        int | None,
        options.option(
            min=1,
            metavar="N",
            help="facts of each snapshot whose two queries are asked (default: all of them)",
            panel=options.QUERY,
        ),
    ] = None,
    alone: Annotated[
        int,
        options.option(
            min=1, metavar="N", help="queries of each snapshot that are asked alone (default: 8)", panel=options.QUERY
        ),
    ] = 8,
    tolerance: Annotated[
        float | None,
        options.option(
            min=0.0,
            metavar="X",
            help="how far a score x may move, times the larger of 1 and |x| (default: not at all; 1e-06 where products "
            "are batched differently: other queries, other ids, padded batches)",
            panel=options.QUERY,
        ),
    ] = None,
    seed: Annotated[
        int,
        options.option(
            min=0,
            metavar="N",
            help="seed of the choice of snapshots and queries and of the random facts (default: 0)",
            panel=options.QUERY,
        ),
    ] = 0,
    as_json: options.Json = False,
) -> None:
    """Audit a forecaster: does it look at what it must not?

    The same queries are asked again with other facts at and after the target, alone, permuted, beside false ones, and
    with the entities renumbered; no score may move.

    The exit code is 0 where nothing moved, 1 where something did, and 2 for a usage error.

    Example: tirgn audit models/tkg/tirgn_best.npz --snapshots 2

    Example: tirgn audit --model counting:forecast --data-path data/ICEWS14s --json
    """
    keep_freed_memory()
    held_out = values.check_split(split)
    values.check_choice("--facts", facts, FACTS)
    if (checkpoint is None) == (model is None):
        what = "nothing to audit" if model is None else f"{checkpoint} and --model {model}: two to audit"
        raise ConfigError(f"{what}; give either a checkpoint or --model MODULE:FUNCTION")
    if tolerance is not None and not tolerance < float("inf"):
        raise ConfigError(f"--tolerance {tolerance}: must be a finite number; leave it out for the default")
    sampled: dict[str, Any] = {"split": held_out, "snapshots": snapshots, "queries": queries, "alone": alone}
    sampled |= {"tolerance": tolerance, "seed": seed}
    if model is None:
        for option, given in (("--ranks", ranks), ("--facts", facts), ("--fixed-ids", fixed_ids)):
            if given:
                raise ConfigError(f"{option}: for --model; a checkpoint is audited with all facts and its own ranking")
        assert checkpoint is not None
        with output.stdout_to_stderr():
            report = _audit_checkpoint(checkpoint, data_path, reading, sampled)
    else:
        # Before the data are read, which may take long.
        function = load_function("--model", model)
        rank = None if ranks is None else load_function("--ranks", ranks)
        with output.stdout_to_stderr():
            from tirgn_eqx.data import load_graph
            from tirgn_eqx.evaluate.audit import ScoreMeasure
            from tirgn_eqx.evaluate.audit import audit as audit_forecasts

            graph = load_graph(data_path or values.default_data_path(), **reading.given())
            given = {"facts": facts or FACTS[0], "fixed_ids": fixed_ids, "model": model}
            with output.working(f"auditing {model} on {graph.name}"):
                report = audit_forecasts(graph, ScoreMeasure(function, model), ranks=rank, **given, **sampled)
    if as_json:
        output.print_json(report.to_dict())
    else:
        _show(report)
    if not report.clean:
        raise typer.Exit(1)


def _audit_checkpoint(
    checkpoint: Path, data_path: str | None, reading: options.ReadingFlags, sampled: dict[str, Any]
) -> "AuditReport":
    loaded = LoadedCheckpoint.load(checkpoint)
    graph, _, difference = load_matched_graph(loaded, data_path, reading)
    if difference is not None:
        output.print_warning(difference)

    from tirgn_eqx.forecast.audit import audit_model

    with output.working(f"auditing {checkpoint} on {graph.name}"):
        return audit_model(loaded.model, loaded.config, graph, name=loaded.config.model_type, **sampled)


# `Any`: what a module of the user's holds is known while the program runs.
def load_function(option: str, path: str) -> Callable[..., Any]:
    """The function that `path` names, MODULE:FUNCTION, the module also from the current folder.

    **Raises:** ConfigError where there is none.
    """
    module_name, colon, name = path.partition(":")
    if not (module_name and colon and name):
        raise ConfigError(f"{option} {shown(path)}: write MODULE:FUNCTION, such as counting:forecast")
    # As `python -m` does; the console script has its own folder there instead.
    sys.path.insert(0, os.getcwd())
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise ConfigError(
                f"{option} {shown(path)}: importing it failed ({error}); install what it needs"
            ) from error
        raise ConfigError(
            f"{option} {shown(path)}: there is no module {error.name!r}; start in its folder, or set PYTHONPATH"
        ) from error
    except Exception as error:
        what = f"{type(error).__name__}: {error}"
        raise ConfigError(f"{option} {shown(path)}: importing it failed ({what}); mend it first") from error
    finally:
        sys.path.remove(os.getcwd())
    found = getattr(module, name, None)
    if not callable(found):
        known = [word for word, value in vars(module).items() if callable(value)]
        raise ConfigError(
            f"{option} {shown(path)}: {module_name} has no function {name!r}{nearest(name, known)}; name one of its own"
        )
    return found


def _show(report: "AuditReport") -> None:
    output.print_result(tables.format_dataset(report.dataset.model_dump()))
    columns, text = ["changed", "result", "moved", "most", "ranks", "MRR"], ["changed", "result"]
    for of, what in LOOKED.items():
        made = [one for one in report.checks if one.of == of and one.status != "not checked"]
        if made:
            tables.print_table(tables.make_table(what, columns, list(map(_row, made)), text=text))
    times = ", ".join(map(str, report.times))
    output.print_result(
        f"audit of {report.model}: t = {times} of {report.split}; moved = forecasts of those compared, most = the "
        "largest difference, ranks = answers with another rank, MRR = its change"
    )
    for one in report.checks:
        if one.reason is not None and one.status == "not checked":
            output.print_result(f"not checked: {one.of}, {one.check}: {one.reason}")
        if one.example is not None and one.status == "moved":
            output.print_result(_describe_example(one))
    moved = sum(one.status not in ("clean", "not checked") for one in report.checks)
    verdict = "clean: nothing moved" if report.clean else f"NOT clean: {moved} of {len(report.checks)} checks"
    output.print_result(verdict)


def _row(one: "CheckResult") -> list[object]:
    most, before, after = one.max_difference, one.mrr, one.mrr_changed
    return [
        f"{one.check}: {one.change}",
        one.status,
        f"{one.moved:,}/{one.queries:,}",
        f"{most:.1e}" if most else "0",
        one.ranks_changed,
        None if before is None or after is None else f"{after - before:+.4f}",
    ]


def _describe_example(one: "CheckResult") -> str:
    example = one.example
    assert example is not None
    who, whom = example.subject or "?", example.object or "?"
    what = {"scores": f"the score of {example.candidate}", "ranks": "the rank"}.get(one.of, "a figure")
    return (
        f"{one.check}, {one.change}: {who} - {example.relation} - {whom} at {example.time}: {what} "
        f"{example.before:.6g} -> {example.after:.6g}, {example.answer} is ranked {example.rank_before:g} -> "
        f"{example.rank_after:g}"
    )
