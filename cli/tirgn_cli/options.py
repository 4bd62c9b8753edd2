"""Options that several commands share, and the decorator that gives a command those which every command has."""

import contextlib
import copy
import functools
import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Protocol, TypedDict, Unpack, get_args, runtime_checkable

import typer
from typer.models import OptionInfo

from tirgn_cli import complete
from tirgn_cli.cache_choice import keep_programs
from tirgn_cli.output import Session
from tirgn_cli.values import EVENTS_FILE, FILTERS, HELD_OUT_SPLITS, MAPPINGS, given
from tirgn_eqx.config import HISTORIES, PRESETS, RECIPES, SettingInfo, all_settings

# Headings of the help.
DATA, MODEL, QUERY, TRAINING, DEVICES, OUTPUT = "Data", "Model", "Query", "Training", "Devices", "Output"


@runtime_checkable
class CommandContext(Protocol):
    """What commands and options read of the context of a call, whose class differs between versions of typer.

    **Arguments:** `params`: the options by name; `obj`: the `Session`, None for a command without the app.
    """

    params: dict[str, Any]  # of every type that an option has
    obj: object


class OptionTraits(TypedDict, total=False):
    """What `option` hands on to `typer.Option`."""

    metavar: str | None
    min: float
    max: float
    envvar: str
    autocompletion: Callable[..., list[str]] | None
    callback: Callable[[CommandContext, bool], bool]


def option(*flags: str, help: str, panel: str, **more: Unpack[OptionTraits]) -> OptionInfo:
    """An option under the heading `panel`. The help text states the default itself, because some defaults depend on
    other options."""
    return typer.Option(*flags, help=help, rich_help_panel=panel, show_default=False, **more)


def choice(*flags: str, choices: Iterable[str], help: str, panel: str) -> OptionInfo:
    """An option with a few possible values, which the shell completes. The command itself refuses other values."""
    # A list, because the iterable is read twice.
    known = list(choices)
    return option(*flags, metavar="|".join(known), help=help, panel=panel, autocompletion=lambda: known)


def setting(name: str, *flags: str, panel: str, metavar: str | None = None, default: str | None = None) -> OptionInfo:
    """The option of one setting; help, default and choices are those of `tirgn_eqx.config.training_config`.

    **Arguments:** `name`: of the setting; `flags`: names of the option, by default the setting's; `panel`: heading in
    the help; `metavar`: name of the value, by default by its type; `default`: what the help says of it, where it is not
    the default of the family.
    """
    one = all_settings()[name]
    return option(
        *(flags or (f"--{name.replace('_', '-')}",)),
        help=setting_help(one, default),
        metavar=metavar or value_name(one),
        autocompletion=(lambda: list(one.choices)) if one.choices else None,
        panel=panel,
    )


def setting_help(one: SettingInfo, default: str | None = None) -> str:
    """What a setting does, and its default."""
    return f"{one.help} (default: {one.default if default is None else default})"


def value_name(one: SettingInfo) -> str | None:
    """What a setting's value is called in the help; None for a switch."""
    return "|".join(one.choices) or {int: "N", float: "X", bool: None}.get(one.type, "TEXT")


def data_path(help: str) -> OptionInfo:
    """The option `--data-path`."""
    return option(metavar="PATH", autocompletion=complete.data, help=help, panel=DATA)


DataPath = Annotated[
    str | None,
    data_path(
        "folder in the RE-GCN text format, of TGB 2.0 or of `tirgn data map`, event table (parquet, CSV, TSV, "
        "NDJSON, Arrow, or a folder of such parts), or 'sim' for the simulated world, also with its options as "
        f"sim:seed=3 (default: {EVENTS_FILE} if it exists, else sim)"
    ),
]
NumDays = Annotated[
    int | None,
    option(
        min=0,
        metavar="DAYS",
        help="of an event table, keep the most recent days; 0 = all (default: 30); of sim, days to simulate",
        panel=DATA,
    ),
]
MaxEvents = Annotated[
    int | None,
    option(
        min=0,
        metavar="EVENTS",
        help="of an event table, thin every day in proportion to at most this many events in all; 0 = all (default: 0)",
        panel=DATA,
    ),
]
Granularity = Annotated[
    str | None,
    choice(
        choices=("15min", "hour", "day"), help="of an event table, length of one snapshot (default: day)", panel=DATA
    ),
]
TimeFormat = Annotated[
    str | None,
    option(
        metavar="FORM",
        help="of an event table, the form of its times: of strptime such as %d/%m/%Y, or one of unix-s, unix-ms, "
        "unix-us, unix-ns, unix-days, excel, steps, iso, datetime, YYYYMM, YYYYMMDD, YYYYMMDDHH, YYYYMMDDHHMM, "
        "YYYYMMDDHHMMSS (default: found from all rows)",
        panel=DATA,
    ),
]
Columns = Annotated[
    str | None,
    option(
        metavar="MAP",
        help="of an event table, the columns to take, as entity1=subject,relation=verb,entity2=object,timestamp=day; "
        "numbers for all four are positions in a CSV file without a header (default: well-known names)",
        panel=DATA,
    ),
]
SkipBadRows = Annotated[
    bool | None,
    option(
        "--skip-bad-rows",
        help="of an event table, leave out and count the rows that lack a name or a time (default: refuse the table)",
        panel=DATA,
    ),
]
StaticWords = Annotated[
    str | None,
    option(
        metavar="KINDS",
        help="of an event table, the words of a static graph: some of country, sector, name, as country,name; the "
        "first two are columns that `tirgn data ingest --attributes` writes (default: no static graph)",
        panel=DATA,
    ),
]

Checkpoint = Annotated[
    Path,
    typer.Argument(
        metavar="CKPT", help="checkpoint, such as models/tkg/tirgn_best.npz", autocompletion=complete.checkpoints
    ),
]
MapRelations = Annotated[
    str | None,
    choice(
        choices=MAPPINGS,
        help="of an evidence checkpoint without a background, which knows relations alone: data with entities of "
        "their own, and relations taken for those that their names mean, or for the parents of their CAMEO codes "
        "(default: match all names exactly)",
        panel=DATA,
    ),
]
Split = Annotated[str, choice(choices=HELD_OUT_SPLITS, help="facts to forecast (default: test)", panel=DATA)]
MultiStep = Annotated[
    bool,
    option(
        "--multi-step",
        help="forecast the whole split from the facts before it (default: single-step, where each snapshot enters the "
        "history once it was forecast)",
        panel=DATA,
    ),
]
FeedBack = Annotated[
    bool,
    option(
        "--feed-back",
        help="with --multi-step, extend the history by the model's own forecasts (default: the history stays as it is)",
        panel=DATA,
    ),
]

Filter = Annotated[
    str | None,
    choice(
        choices=FILTERS,
        help="which other answers are left out before an answer is ranked: time, those that are true at the same time; "
        "all, at any time, as many published systems do; none (default: time)",
        panel=DATA,
    ),
]

At = Annotated[
    str | None,
    option(
        metavar="DATE",
        help="time of the forecast, such as 2018-02-01 or 2018-02-01T06:00, or a number if the data has no dates; "
        "only facts before it are used (default: the step after the newest fact)",
        panel=QUERY,
    ),
]

Preset = Annotated[
    str | None,
    option(
        metavar="NAME",
        help=f"published settings of a data set: {', '.join(PRESETS)} (default: none; with sim, its own)",
        autocompletion=lambda: list(PRESETS),
        panel=TRAINING,
    ),
]
Recipe = Annotated[
    str | None,
    choice(
        choices=RECIPES,
        help="exact: every entity at every step, as published; fast: equal queries once, only the entities that a "
        "snapshot touches with a sample of the others, larger steps and averaged weights (default: exact)",
        panel=TRAINING,
    ),
]
ConfigFile = Annotated[
    Path | None,
    option(
        "--config",
        metavar="FILE",
        help="TOML or JSON file of settings, such as the config.toml of an earlier run (default: none)",
        panel=TRAINING,
    ),
]
Assignments = Annotated[
    list[str] | None,
    option(
        "--set",
        metavar="KEY=VALUE",
        help="any setting by name, repeatable, such as --set angle=10, or evidence.epochs=5 with --history evidence; "
        "`tirgn train --help` and docs/cli.md list them all (default: none)",
        panel=TRAINING,
    ),
]
Model = Annotated[
    str | None,
    choice(
        choices=("tirgn", "regcn", "evidence", "events"),
        help="the model to train: TiRGN, its predecessor RE-GCN, evidence, which sums intensities of past events, or "
        "events, which forecasts how often they come (default: the model of --preset, otherwise tirgn)",
        panel=MODEL,
    ),
]
TunedModel = Annotated[
    str | None,
    choice(
        choices=("tirgn", "regcn", "evidence"),
        help="the model to tune: TiRGN, its predecessor RE-GCN, or evidence, which sums intensities of past events "
        "(default: the model of --preset, otherwise tirgn)",
        panel=MODEL,
    ),
]
HistoryLen = Annotated[int | None, setting("history_len", panel=MODEL)]
History = Annotated[
    str | None,
    choice(
        choices=HISTORIES,
        help="how the past before the window is used: by the history mode as published, or evidence: by the evidence "
        "model too, with a gate that weighs both (default: mask)",
        panel=MODEL,
    ),
]
HistoryRate = Annotated[float | None, setting("history_rate", panel=MODEL)]
HistoryWindow = Annotated[int | None, setting("history_window", panel=MODEL)]
EmbeddingDim = Annotated[int | None, setting("embedding_dim", panel=MODEL)]
NumLayers = Annotated[int | None, setting("num_layers", panel=MODEL)]
Normalize = Annotated[
    bool | None, setting("l2_normalize", "--l2-normalize/--no-l2-normalize", panel=MODEL, default="normalise")
]
Epochs = Annotated[int | None, setting("epochs", panel=TRAINING)]
LearningRate = Annotated[float | None, setting("learning_rate", "--lr", panel=TRAINING)]
BatchSize = Annotated[int | None, setting("batch_size", panel=TRAINING)]
Precision = Annotated[str | None, setting("precision", panel=TRAINING)]
Remat = Annotated[str | None, setting("remat", panel=TRAINING)]
Seed = Annotated[int | None, setting("seed", panel=TRAINING)]
EvalInterval = Annotated[int | None, setting("eval_interval", panel=TRAINING)]
CheckpointInterval = Annotated[int | None, setting("checkpoint_interval", panel=OUTPUT)]
Patience = Annotated[int | None, setting("patience", panel=TRAINING)]
Monitor = Annotated[str | None, setting("monitor", panel=TRAINING)]
MaxSkippedSteps = Annotated[int | None, setting("max_skipped_steps", panel=TRAINING)]
MeshOption = Annotated[
    str | None,
    option(
        "--mesh",
        metavar="SHAPE",
        help="devices along each axis, as data=2,entity=2 (queries, entities), or auto for all devices along entity "
        "(default: one device)",
        panel=DEVICES,
    ),
]
Coordinator = Annotated[
    str | None,
    option(
        metavar="HOST:PORT",
        help="train with several processes: the address at which process 0 listens, or auto under SLURM or Open MPI "
        "(default: one process)",
        panel=DEVICES,
    ),
]
NumProcesses = Annotated[
    int | None,
    option(min=1, metavar="N", help="with --coordinator, the number of processes (default: none)", panel=DEVICES),
]
ProcessId = Annotated[
    int | None,
    option(
        min=0, metavar="I", help="with --coordinator, the number of this process, from 0 (default: none)", panel=DEVICES
    ),
]
SaveEvery = Annotated[
    str | None,
    option(
        metavar="N|Nmin",
        help="save the training state after this many steps or minutes, within epochs as well as after each "
        "(default: 10min)",
        panel=OUTPUT,
    ),
]
Keep = Annotated[int | None, setting("keep", panel=OUTPUT)]
LogDir = Annotated[str | None, setting("logdir", panel=OUTPUT, metavar="DIR")]
Tracker = Annotated[str | None, setting("tracker", panel=OUTPUT)]


def _switch(name: str) -> Callable[[CommandContext, bool], bool]:
    """A callback that tells the `Session` of a switch, whichever command the switch stands behind."""

    def callback(ctx: CommandContext, value: bool) -> bool:
        if value and isinstance(ctx.obj, Session):
            setattr(ctx.obj, name, True)
            ctx.obj.apply()
        return value

    return callback


Json = Annotated[
    bool, option("--json", help="print one JSON document on stdout and nothing else (default: a table)", panel=OUTPUT)
]
Quiet = Annotated[
    bool,
    option(
        *("--quiet", "-q"),
        callback=_switch("quiet"),
        help="print the result only, without progress and notes on stderr (default: progress)",
        panel=OUTPUT,
    ),
]
Verbose = Annotated[
    bool,
    option(
        *("--verbose", "-v"),
        callback=_switch("verbose"),
        help="print more on stderr: the library's notes, versions, the time taken (default: the essential)",
        panel=OUTPUT,
    ),
]
Debug = Annotated[
    bool,
    option(
        "--debug",
        envvar="TIRGN_DEBUG",
        callback=_switch("debug"),
        help="show the traceback of an error (default: one line)",
        panel=OUTPUT,
    ),
]
SWITCHES = {"quiet": Quiet, "verbose": Verbose, "debug": Debug}


@dataclass(frozen=True)
class ReadingFlags:
    """How facts are read. None stands for an option that was not given, so that the reader's default holds.

    A command with a parameter of this type gets an option for each field from `command`.
    """

    num_days: NumDays = None
    max_events: MaxEvents = None
    granularity: Granularity = None
    time_format: TimeFormat = None
    columns: Columns = None
    skip_bad_rows: SkipBadRows = None
    static_words: StaticWords = None

    # `Any`: the arguments of `load_graph` have types of their own.
    def given(self) -> dict[str, Any]:
        """The options that were given, as arguments of `load_graph`."""
        return given(**vars(self))


# The options of `ReadingFlags` by name.
READING: dict[str, object] = {field.name: field.type for field in fields(ReadingFlags)}


def command(*, compiles: bool = True, **help: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A decorator that turns a function into a command.

    It replaces a parameter of type `ReadingFlags` by the options of `READING`, and adds the `SWITCHES` that the
    function does not declare itself; these act through their callbacks. A parameter `ctx` receives the context of the
    call.

    **Arguments:** `compiles`: keep the programs that JAX compiles for the function, see `keep_programs`; `help`: of
    options of `READING` that mean something else to this command.
    """

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(function)
        parameters = list(signature.parameters.values())
        if "ctx" in signature.parameters:
            # By this class typer recognises the parameter.
            parameters[0] = parameters[0].replace(annotation=typer.Context)
        switches = {name: kind for name, kind in SWITCHES.items() if name not in signature.parameters}
        parameters += [_keyword(name, kind, False) for name, kind in switches.items()]
        reading = next((parameter for parameter in parameters if parameter.annotation is ReadingFlags), None)
        if reading is not None:
            place = parameters.index(reading)
            parameters[place : place + 1] = [
                _keyword(name, _with_help(kind, help[name]) if name in help else kind, None)
                for name, kind in READING.items()
            ]

        @functools.wraps(function)
        def run(**values: Any) -> None:  # typer has made each value the type of its option
            if reading is not None:
                values[reading.name] = ReadingFlags(**{name: values.pop(name) for name in READING})
            with keep_programs() if compiles else contextlib.nullcontext():
                function(**{name: value for name, value in values.items() if name not in switches})

        # Typer reads the options from signature and annotations.
        run.__signature__ = signature.replace(parameters=parameters)  # pyright: ignore
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return run

    return decorate


def _with_help(kind: object, help: str) -> object:
    """The annotation of an option, with another help."""
    value_type, info = get_args(kind)
    # A copy: the original is that of all other commands.
    other = copy.copy(info)
    other.help = help
    return Annotated[value_type, other]


def _keyword(name: str, kind: object, default: object) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
