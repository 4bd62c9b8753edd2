"""`tirgn tune`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from tirgn_cli import options, output, tables, values
from tirgn_cli.train import Signals
from tirgn_eqx.config import EventTrainingConfig, parse_assignments
from tirgn_eqx.errors import ConfigError
from tirgn_eqx.runtime.malloc import keep_freed_memory

SEARCH = "Search"


@options.command()
def tune(
    ctx: options.CommandContext,
    *,
    data_path: options.DataPath = None,
    reading: options.ReadingFlags,
    model: options.TunedModel = None,
    preset: options.Preset = None,
    recipe: options.Recipe = None,
    config_file: options.ConfigFile = None,
    assignments: Annotated[
        list[str] | None,
        options.option(
            "--set",
            metavar="KEY=VALUE",
            help="any setting by name, repeatable, the same for all trials and then not searched (default: none)",
            panel=options.TRAINING,
        ),
    ] = None,
    epochs: options.Epochs = None,
    batch_size: options.BatchSize = None,
    precision: options.Precision = None,
    eval_interval: options.EvalInterval = None,
    patience: options.Patience = None,
    study: Annotated[
        Path,
        options.option(
            metavar="FILE",
            help="file of the search; the trials have their folders next to it, and every process that is started with "
            "it takes part (default: tuning/study.journal)",
            panel=SEARCH,
        ),
    ] = Path("tuning/study.journal"),
    trials: Annotated[
        int,
        options.option(
            min=1,
            max=9999,
            metavar="N",
            help="trials that the study has in the end, by all processes together (default: 30)",
            panel=SEARCH,
        ),
    ] = 30,
    params: Annotated[
        list[str] | None,
        options.option(
            "--param",
            metavar="NAME=LOW:HIGH",
            help="search this setting over a range, LOW:HIGH:log for a logarithmic one, or choices A,B; repeatable "
            "(default: history_len, num_layers, dropout, history_rate, angle, learning_rate, as far as the model has "
            "them)",
            panel=SEARCH,
        ),
    ] = None,
    only: Annotated[
        bool,
        options.option(
            "--only", help="search what --param names and nothing else (default: besides the others)", panel=SEARCH
        ),
    ] = False,
    seed: Annotated[
        int,
        options.option(
            min=0,
            metavar="N",
            help="seed of the search; with several processes, their timing matters too; that of the trainings is "
            "--set seed=N (default: 0)",
            panel=SEARCH,
        ),
    ] = 0,
    pruner: Annotated[
        str,
        options.option(
            metavar="median|hyperband|none",
            help="when trials are pruned: below the median validation MRR of the others, by hyperband, or never "
            "(default: median)",
            autocompletion=lambda: ["median", "hyperband", "none"],
            panel=SEARCH,
        ),
    ] = "median",
    startup: Annotated[
        int,
        options.option(
            min=1,
            metavar="N",
            help="trials that are sampled at random, and completed before the median prunes any (default: 5)",
            panel=SEARCH,
        ),
    ] = 5,
    out: Annotated[
        Path | None,
        options.option(
            metavar="FILE",
            help="the best settings so far, for `tirgn train --config` (default: best.toml, beside the study)",
            panel=options.OUTPUT,
        ),
    ] = None,
    keep_trials: Annotated[
        bool,
        options.option(
            "--keep-trials",
            help="keep the checkpoints of all trials (default: those of the best and of unfinished ones)",
            panel=options.OUTPUT,
        ),
    ] = False,
    save_every: options.SaveEvery = None,
    as_json: options.Json = False,
) -> None:
    """Search for the settings with the highest validation MRR.

    Every trial is a training in a folder of its own; bad ones are pruned early. Start the command several times, on one
    or several machines, and the processes share the work; start it again after a break, and it goes on. The trial of a
    process that was killed is continued by another one from its last saved state.

    Example: tirgn tune --trials 20 --epochs 10

    Example: tirgn tune --data-path data/YAGO --preset yago --study tuning/yago.journal --param history_len=1:4

    Example: tirgn tune --data-path data/YAGO --model evidence --only --param learning_rate=1e-3:2e-2:log
    """
    keep_freed_memory()
    source = data_path or values.default_data_path()
    # `--seed` is that of the search, not of the trainings.
    settings = values.given_settings(ctx.params, apart_from=("seed",))
    config = settings.config(values.default_preset(source))
    if isinstance(config, EventTrainingConfig):
        raise ConfigError("events: are selected by another figure than the MRR; give a model that ranks, to be tuned")
    # What is given is the same for all trials, and not searched.
    fixed = {*parse_assignments(assignments or []), *(settings.options or ())}

    from tirgn_eqx.tune.space import default_space, parse_space

    given = parse_space(params or [], config)
    for name in sorted(fixed & set(given)):
        raise ConfigError(f"--param {name}: is given by --set or an option of its own too; leave one of them out")
    if only and not given:
        raise ConfigError("--only: nothing is named by --param; name what is to be searched, or leave --only out")

    from tirgn_cli.progress import TuneView

    # Every trial would repeat the library's notes.
    output.hide_repeated_notes()
    with output.stdout_to_stderr():
        from tirgn_eqx.tune.journal import import_optuna

        import_optuna()  # before the data is read
        from tirgn_eqx.data import load_graph

        graph = load_graph(source, **reading.given())
        default = {} if only else default_space(config, graph.static is not None)
        space = {name: part for name, part in (default | given).items() if name not in fixed}

        from tirgn_eqx.tune.search import tune as search

        with Signals() as signals, TuneView() as view:
            found = search(
                graph,
                config,
                study=study,
                trials=trials,
                space=space,
                seed=seed,
                pruner=pruner,
                startup=startup,
                out=out,
                keep_trials=keep_trials,
                on_record=view,
                stop=signals.received,
            )
    if as_json:
        output.print_json({"dataset": graph.describe(), **found})
    else:
        _show(tables.format_dataset(graph.describe()), found)
    if found["status"] != "complete":
        output.print_line(
            output.stderr(), f"interrupted; {study} holds the search, and the same command goes on from there"
        )
        # Without a signal, the trials of other processes are unfinished.
        raise typer.Exit(128 + signals.number if signals.number else 1)


def _show(dataset: str, found: Mapping[str, Any]) -> None:
    names = list(found["space"])
    rows = [
        [row["number"], row["state"], row["mrr"], row.get("best_epoch"), *(_value(row["params"].get(n)) for n in names)]
        # Complete trials come first, the best one on top; a pruned trial's MRR is no final one.
        for row in sorted(found["trials"], key=lambda row: -(row["mrr"] if row["state"] == "complete" else -1.0))
    ]
    counts = ", ".join(f"{number} {state}" for state, number in found["counts"].items() if number)
    caption = f"MRR on valid, entity, single-step, time-aware filter; of pruned trials, the best until then; {counts}"
    tables.print_table(
        tables.make_table("Trials", ["trial", "state", "MRR", "epoch", *names], rows, caption, text=("state",))
    )
    best = found["best"]
    if best is not None:
        tables.print_table(
            tables.make_pairs(
                "Search",
                {
                    "data": dataset,
                    "best trial": f"{best['number']}, validation MRR {tables.format_cell(best['mrr'])}",
                    "settings": best["config"],
                    "checkpoint": best["checkpoint"],
                    "time": tables.format_duration(found["seconds"]),
                    "next": f"tirgn train --config {best['config']}",
                },
            )
        )


def _value(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
