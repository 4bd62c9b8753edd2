"""Options that several commands share, and how they become load options, bytes and shapes."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from tirgn_cli import complete
from tirgn_eqx.config import HISTORIES, PRESETS, RECIPES, SettingInfo, all_settings
from tirgn_eqx.errors import ConfigError, nearest, shown

EVENTS_FILE = Path("data/gdelt/processed/events.parquet")
HELD_OUT = ("valid", "test")
VARIANTS = ("combined", "strict", "relaxed")  # of the recurrency baseline
DATA, MODEL, QUESTION, TRAINING, OUTPUT = "Data", "Model", "Question", "Training", "Output"
DEVICES = "Devices"


def option(*flags: str, help: str, panel: str, **more: Any) -> Any:
    """An option under the heading `panel`; the help itself says the default, also where it depends."""
    return typer.Option(*flags, help=help, rich_help_panel=panel, show_default=False, **more)


def setting(name: str, *flags: str, panel: str, metavar: str | None = None, default: str | None = None) -> Any:
    """The option of one setting; help, default and choices are those of `tirgn_eqx.config`.

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


DataPath = Annotated[
    str | None,
    option(
        metavar="PATH",
        help="folder in the RE-GCN text format, of TGB 2.0 or of `tirgn data map`, event table (parquet, CSV, TSV, "
        "NDJSON, Arrow, or a folder of such parts), or 'sim' for the simulated world, also with its options as "
        f"sim:seed=3 (default: {EVENTS_FILE} if it exists, else sim)",
        autocompletion=complete.data,
        panel=DATA,
    ),
]
NumDays = Annotated[
    int | None,
    option(
        min=0,
        metavar="DAYS",
        help="of an event table, keep the most recent; 0 = all (default: 30); of sim, days to simulate",
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
    option(
        metavar="15min|hour|day",
        help="of an event table, length of one snapshot (default: day)",
        autocompletion=lambda: ["15min", "hour", "day"],
        panel=DATA,
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
        help="of an event table, which columns to take, as entity1=subject,relation=verb,entity2=object,timestamp=day; "
        "numbers for all four are places in a CSV file without a header (default: well-known names)",
        panel=DATA,
    ),
]
SkipBadRows = Annotated[
    bool | None,
    option(
        "--skip-bad-rows",
        help="of an event table, set rows aside that lack a name or a time, and count them (default: refuse the table)",
        panel=DATA,
    ),
]

Split = Annotated[
    str,
    option(
        metavar="valid|test",
        help="facts to forecast (default: test)",
        panel=DATA,
        autocompletion=lambda: list(HELD_OUT),
    ),
]
MultiStep = Annotated[
    bool,
    option(
        "--multi-step",
        help="forecast the whole split from what is known before it (default: single-step, where each snapshot is "
        "known once it was forecast)",
        panel=DATA,
    ),
]
FeedBack = Annotated[
    bool,
    option(
        "--feed-back",
        help="with --multi-step, let the window go on with what the model forecasts for itself (default: frozen)",
        panel=DATA,
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
    option(
        metavar="|".join(RECIPES),
        help="exact: every entity at every step, as published; fast: equal queries once, only the entities that a "
        "snapshot touches with a sample of the others, larger steps and averaged weights (default: exact)",
        autocompletion=lambda: list(RECIPES),
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
    option(
        "--model",
        metavar="tirgn|regcn|evidence",
        help="what is trained: TiRGN, RE-GCN that it grew out of, or evidence: intensities of past events, summed "
        "(default: tirgn, or what --preset is of)",
        autocompletion=lambda: ["tirgn", "regcn", "evidence"],
        panel=MODEL,
    ),
]
HistoryLen = Annotated[int | None, setting("history_len", panel=MODEL)]
History = Annotated[
    str | None,
    option(
        "--history",
        metavar="|".join(HISTORIES),
        help="what is made of the past beside the window: the history mode as published, or evidence: the evidence "
        "model as well, and a gate that weighs both (default: mask)",
        autocompletion=lambda: list(HISTORIES),
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
MaxBadSteps = Annotated[int | None, setting("max_bad_steps", panel=TRAINING)]
MeshOption = Annotated[
    str | None,
    option(
        "--mesh",
        metavar="SHAPE",
        help="devices along each axis, as data=2,entity=2 (questions, entities), or auto for all along entity "
        "(default: one device)",
        panel=DEVICES,
    ),
]
Coordinator = Annotated[
    str | None,
    option(
        metavar="HOST:PORT",
        help="train with several processes; where process 0 listens, or auto under SLURM or Open MPI "
        "(default: one process)",
        panel=DEVICES,
    ),
]
NumProcesses = Annotated[
    int | None,
    option(min=1, metavar="N", help="how many processes there are, with --coordinator (default: none)", panel=DEVICES),
]
ProcessId = Annotated[
    int | None,
    option(min=0, metavar="I", help="which of them this is, from 0 (default: none)", panel=DEVICES),
]
SaveEvery = Annotated[
    str | None,
    option(
        metavar="N|Nmin",
        help="save the training's state after so many steps, or minutes, inside epochs as well as after each "
        "(default: 10min)",
        panel=OUTPUT,
    ),
]
Keep = Annotated[int | None, setting("keep", panel=OUTPUT)]
LogDir = Annotated[str | None, setting("logdir", panel=OUTPUT, metavar="DIR")]


def _remember(name: str) -> Any:
    """Keeps a switch where all of the command finds it."""

    def callback(ctx: Any, value: bool) -> bool:
        if value and ctx.obj is not None:
            setattr(ctx.obj, name, True)
            ctx.obj.heed()
        return value

    return callback


Quiet = Annotated[
    bool,
    option(
        "--quiet",
        "-q",
        callback=_remember("quiet"),
        help="no progress and no notes on stderr, the result alone (default: progress)",
        panel=OUTPUT,
    ),
]
Verbose = Annotated[
    bool,
    option(
        "--verbose",
        "-v",
        callback=_remember("verbose"),
        help="say more on stderr: what the library notes, versions, the time taken (default: the essential)",
        panel=OUTPUT,
    ),
]
Json = Annotated[
    bool,
    option(
        "--json",
        help="one JSON document on stdout and nothing else (default: a table)",
        panel=OUTPUT,
    ),
]


def _remember_debug(ctx: Any, value: bool) -> bool:
    if value and ctx.obj is not None:
        ctx.obj.debug = True
    return value


Debug = Annotated[
    bool,
    option(
        "--debug",
        envvar="TIRGN_DEBUG",
        callback=_remember_debug,
        help="show the traceback of an error (default: one line)",
        panel=OUTPUT,
    ),
]


def given(**options: Any) -> dict[str, Any]:
    """The options that were given: those that are not None."""
    return {name: value for name, value in options.items() if value is not None}


def default_data_path() -> str:
    """What `--data-path` is when not given: the processed GDELT events if they exist, else the simulation."""
    return str(EVENTS_FILE) if EVENTS_FILE.exists() else "sim"


def default_preset(data_path: str) -> str | None:
    """The preset where `--preset` is not given: the simulated world has one of its own."""
    return "sim" if data_path.partition(":")[0] == "sim" else None


_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_BINARY = {"k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}


def parse_bytes(text: str, option: str = "--budget") -> int:
    """`12GiB`, `8G` (both powers of 1024), `500MB` (powers of 1000) or plain bytes as a number of bytes."""
    match = re.fullmatch(r"\s*([0-9]{1,15}(?:\.[0-9]{1,15})?)\s*([kmgt]?)(ib|b)?\s*", text.lower())
    if match is None:
        raise ConfigError(f"{option} {shown(text)}: not a size; write it like 12GiB, 8G or 500MB")
    number, unit, suffix = match.groups()
    scale = _UNITS[unit] if suffix == "b" or not unit else _BINARY[unit]
    size = int(float(number) * scale)
    if size < 1:
        raise ConfigError(f"{option} {text!r}: must be at least one byte")
    return size


def setting_options(params: Mapping[str, Any]) -> dict[str, Any]:
    """Of the options of a command by name, those that are settings and were given, for `GivenSettings`."""
    known = {**all_settings(), "history": None}
    found = {name: value for name, value in given(**params).items() if name in known and name != "save_every"}
    return given(family=params.get("model")) | found | save_every(params.get("save_every"))


SHAPE_KEYS = ("entities", "relations", "edges", "queries", "static_edges", "words", "history")


def parse_shape(text: str) -> dict[str, int]:
    """`entities=7128,relations=230,edges=400,queries=800` as numbers; the further keys may be left out."""
    shape = {}
    for part in text.split(","):
        key, equals, value = (word.strip() for word in part.partition("="))
        if not equals:
            raise ConfigError(f"--shape: {shown(part)} is not name=number; names: {', '.join(SHAPE_KEYS)}")
        if key not in SHAPE_KEYS:
            raise ConfigError(
                f"--shape: {shown(key)} does not exist{nearest(key, SHAPE_KEYS)}; names: {', '.join(SHAPE_KEYS)}"
            )
        if not re.fullmatch("[0-9]{1,9}", value) or (int(value) == 0 and key in SHAPE_KEYS[:4]):
            raise ConfigError(f"--shape: {key} = {shown(value)} must be a whole number above 0, of at most 9 digits")
        shape[key] = int(value)
    missing = [key for key in SHAPE_KEYS[:4] if key not in shape]
    if missing:
        raise ConfigError(f"--shape {shown(text)}: {', '.join(missing)} missing; add {missing[0]}=NUMBER")
    return shape


def save_every(text: str | None) -> dict[str, Any]:
    """The settings that `--save-every` stands for."""
    if text is None:
        return {}
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,6})?)\s*(min)?", text.strip())
    if match is None or (match[2] is None and "." in match[1]):
        raise ConfigError(f"--save-every {text!r}: write steps like 200, or minutes like 10min")
    return {"save_minutes": float(match[1])} if match[2] else {"save_every": int(match[1])}


def check_split(split: str) -> None:
    """**Raises:** ConfigError for a split that holds no facts to forecast."""
    if split not in HELD_OUT:
        raise ConfigError(f"--split {split!r}: must be one of {', '.join(HELD_OUT)}")


def evaluation_setting(multi_step: bool, feed_back: bool = False) -> str:
    """The setting that the options name. **Raises:** ConfigError for a feedback into single-step windows."""
    if feed_back and not multi_step:
        raise ConfigError("--feed-back: only with --multi-step; single-step windows hold what happened")
    return "single-step" if not multi_step else "multi-step, fed back" if feed_back else "multi-step"
