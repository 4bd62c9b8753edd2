"""The lines of GDELT's raw files: 57, 58 or 61 columns without a header.

GDELT quotes nothing, so a quote is a character like any other.
"""

import datetime as dt
import functools
import math
import re
from collections.abc import Callable, Collection, Mapping

import numpy as np
import polars as pl
from polars.datatypes import DataTypeClass

from tirgn_eqx.ingest.clean import read_names, with_single_spaces
from tirgn_eqx.ingest.event_format import EventFormat
from tirgn_eqx.ingest.lines import Rows
from tirgn_eqx.ingest.options import IngestOptions

_CODE = re.compile(r"[0-9]{2,4}")
_EPOCH = dt.date(1970, 1, 1).toordinal()

_GEO = ("Type", "FullName", "CountryCode", "ADM1Code", "ADM2Code", "Lat", "Long", "FeatureID")
_PLACES = ("Actor1Geo", "Actor2Geo", "ActionGeo")
_ACTOR = (
    *("Code", "Name", "CountryCode", "KnownGroupCode", "EthnicCode"),
    *("Religion1Code", "Religion2Code", "Type1Code", "Type2Code", "Type3Code"),
)
_HEAD = (
    *("GlobalEventID", "Day", "MonthYear", "Year", "FractionDate"),
    *(f"Actor{number}{name}" for number in (1, 2) for name in _ACTOR),
    *("IsRootEvent", "EventCode", "EventBaseCode", "EventRootCode", "QuadClass", "GoldsteinScale"),
    *("NumMentions", "NumSources", "NumArticles", "AvgTone"),
)


def _columns(geo: tuple[str, ...]) -> tuple[str, ...]:
    return (*_HEAD, *(f"{place}_{name}" for place in _PLACES for name in geo), "DATEADDED", "SOURCEURL")


# The layouts by number of columns: GDELT 2.0 with a file each quarter hour, GDELT 1.0 with a file each day, and its
# files before April 2013, which lack the address.
QUARTERLY = 61
_DAILY = _columns(tuple(name for name in _GEO if name != "ADM2Code"))
LAYOUTS = {QUARTERLY: _columns(_GEO), 58: _DAILY, 57: _DAILY[:-1]}
WIDTHS = f"{', '.join(map(str, sorted(LAYOUTS)[:-1]))} or {max(LAYOUTS)}"

# Columns that are read as numbers; every other column is text.
NUMBERS = {
    **dict.fromkeys(("GlobalEventID", "Day", "DATEADDED"), pl.Int64),
    **dict.fromkeys(("IsRootEvent", "QuadClass", "NumMentions"), pl.Int32),
    "AvgTone": pl.Float64,
}


# The raw column of each choice; {} is the number of the actor.
ACTORS = {"name": "Actor{}Name", "code": "Actor{}Code", "country": "Actor{}CountryCode"}
RELATIONS = {"code_quad": "EventCode", "code": "EventCode", "base": "EventBaseCode", "root": "EventRootCode"}
_SECTORS = ("Type1Code", "Type2Code", "Type3Code")
_DAY = 86_400

# Names of actors that stand for a kind of person or body, which differs from report to report. GDELT writes POLICE for
# the police of any town, so a graph of names would connect events that have nothing in common. Names of countries,
# cities, peoples, religions and bodies that exist once (UNITED NATIONS, HAMAS) are not in the list. GDELT writes most
# names in the singular; where it uses both forms, both are listed.
GENERIC_ACTORS = read_names("generic_actors.txt")


def raw_columns(options: IngestOptions) -> dict[str, str]:
    """The raw columns of the actors and of the code of the relation."""
    actor = ACTORS[options.actor]
    return {"actor1": actor.format(1), "actor2": actor.format(2), "code": RELATIONS[options.relation]}


class GdeltLines:
    """How the lines of GDELT's files are read, see `LineForm`."""

    widths = WIDTHS

    def __init__(self, options: IngestOptions):
        self._options = options

    @property
    def layouts(self) -> Mapping[int, tuple[str, ...]]:
        """The names of the columns by their number."""
        return LAYOUTS

    @property
    def exact(self) -> Collection[int]:
        """All numbers of columns."""
        return LAYOUTS

    def read(self, data: bytes, width: int) -> Rows:
        """The rows of lines of `width` columns. Names of actors are written in capitals."""
        options = self._options
        frame = _parse(data, width, options)
        suffix = pl.format("_Q{}", "QuadClass") if options.relation == "code_quad" else pl.lit("")
        frame = frame.with_columns(
            with_single_spaces("actor1").str.to_uppercase(),
            with_single_spaces("actor2").str.to_uppercase(),
            (pl.col("code") + suffix).alias("relation"),
            pl.col("added" if options.time == "added" else "day").alias("time"),
            # Whole days, because DATEADDED has a time of day and the day of an event has none.
            (pl.col("added").floordiv(_DAY) - pl.col("day").floordiv(_DAY)).alias("late"),
        )
        bad = frame["bad"].to_numpy()
        return Rows(frame.drop("bad", "day", "code"), bad, lambda _, line: _find_fault(line, width, options), {})

    def times(self, frame: pl.DataFrame, width: int) -> tuple[np.ndarray, np.ndarray]:
        """The quarter hours that rows of GDELT 2.0 were added in, and the days of GDELT 1.0."""
        added, none = frame["added"].unique().to_numpy(), np.empty(0, np.int64)
        return (added // 900, none) if width == QUARTERLY else (none, added // _DAY)

    def repair(self, line: bytes) -> bytes | None:
        """None: a line of another number of columns is malformed."""
        return None


def _filters(options: IngestOptions) -> dict[str, pl.Expr]:
    return {
        "not_root": (pl.col("IsRootEvent") == 0) & options.root_only,
        "few_mentions": pl.col("NumMentions") < options.min_mentions,
    }


GDELT = EventFormat(
    source="gdelt",
    title="GDELT",
    names=re.compile(r"^(?!\.)(?!.*\.(mentions|gkg)\.).*(\.export\.|\.(csv|zip|gz)$)", re.IGNORECASE),
    examples="*.export.CSV, *.zip, *.gz",
    headed=False,
    lines=lambda options, header: GdeltLines(options),
    recognizes=lambda line: line.count(b"\t") + 1 in LAYOUTS and line.partition(b"\t")[0].isdigit(),
    columns=pl.Schema(
        {
            "EventCode": pl.String(),
            "QuadClass": pl.Int8(),
            "GoldsteinScale": pl.Float32(),
            "NumMentions": pl.Int32(),
            "AvgTone": pl.Float32(),
            "GlobalEventID": pl.Int64(),
        }
    ),
    filters=_filters,
    is_generic=lambda name: name.is_in(pl.Series(sorted(GENERIC_ACTORS)).implode()),
    identity=lambda frame: frame["GlobalEventID"].to_numpy(),
    file_days=lambda name: None,
)


def _parse(data: bytes, width: int, options: IngestOptions) -> pl.DataFrame:
    """The needed columns of lines of `width` columns; `bad` marks rows with an impossible value."""
    layout = LAYOUTS[width]
    names = raw_columns(options) | {column: column for column in (*NUMBERS, "GoldsteinScale", "EventCode")}
    if options.attributes:
        for number in (1, 2):
            names[f"entity{number}_country"] = f"Actor{number}CountryCode"
            names |= {f"sector{number}_{part}": f"Actor{number}{part}" for part in _SECTORS}
    # polars counts the columns of a file without a header from 1.
    raw = {column: f"column_{layout.index(column) + 1}" for column in names.values()}
    types = {raw[column]: NUMBERS.get(column, pl.String) for column in raw}
    table = pl.read_csv(
        data,
        separator="\t",
        has_header=False,
        quote_char=None,
        columns=sorted(layout.index(column) for column in raw),
        schema={f"column_{number + 1}": types.get(f"column_{number + 1}", pl.String) for number in range(width)},
        # A value of the wrong type becomes null, which `good` refuses.
        ignore_errors=True,
    )
    table = table.select(pl.col(raw[column]).alias(name) for name, column in names.items())
    digits = 14 if width == QUARTERLY else 8
    # GDELT has no score for some codes and leaves the field empty.
    score = pl.col("GoldsteinScale").cast(pl.Float64, strict=False)
    code, event_code = (_map_distinct(table[name], _is_code, pl.Boolean) for name in ("code", "EventCode"))
    good = (
        pl.col("GlobalEventID").ge(0)
        & pl.col("IsRootEvent").is_between(0, 1)
        & pl.col("QuadClass").is_between(1, 4)
        & pl.col("NumMentions").ge(0)
        & pl.col("AvgTone").is_finite()
        & (pl.col("GoldsteinScale").is_null() | score.is_finite())
        & pl.col("day").is_not_null()
        & pl.col("added").is_not_null()
        & pl.col("is_code")
    )
    # Two steps, because `good` uses the columns of the first.
    table = table.with_columns(
        _map_distinct(table["Day"], lambda value: parse_seconds(value, 8), pl.Int64).alias("day"),
        _map_distinct(table["DATEADDED"], lambda value: parse_seconds(value, digits), pl.Int64).alias("added"),
        (code & event_code).alias("is_code"),
    ).with_columns(score.alias("GoldsteinScale"), bad=~good.fill_null(False))
    if options.attributes:
        # `ignore_nulls`: most actors have fewer than three types.
        table = table.with_columns(
            pl.concat_str([f"sector{number}_{part}" for part in _SECTORS], separator=";", ignore_nulls=True).alias(
                f"entity{number}_sector"
            )
            for number in (1, 2)
        )
    return table.drop("Day", "DATEADDED", "is_code")


def _map_distinct(column: pl.Series, function: Callable[..., object], kind: DataTypeClass) -> pl.Series:
    """`function` of each value, called once for each distinct value; null stays null.

    **Arguments:** `kind`: polars type of the results.
    """
    values = column.drop_nulls().unique()
    results = pl.Series([function(value) for value in values], dtype=kind)
    return column.replace_strict(values, results, return_dtype=kind, default=None)


# The same few times recur in all rows of a block and in neighbouring blocks.
@functools.lru_cache(maxsize=1 << 14)
def parse_seconds(value: int, digits: int) -> int | None:
    """The seconds since 1970 of a time that GDELT writes with 8 digits (YYYYMMDD) or 14 (YYYYMMDDHHMMSS).

    **Returns:** None for a value that is no time of so many digits.
    """
    if len(str(value)) != digits or value < 0:
        return None
    date, clock = (value, 0) if digits == 8 else divmod(value, 1_000_000)
    hour, minute, second = clock // 10_000, clock // 100 % 100, clock % 100
    try:
        day = dt.date(date // 10_000, date // 100 % 100, date % 100).toordinal() - _EPOCH
    except ValueError:
        return None
    if hour > 23 or minute > 59 or second > 59:
        return None
    return 86_400 * day + 3600 * hour + 60 * minute + second


def _find_fault(line: bytes, width: int, options: IngestOptions) -> str:
    """What is wrong with a line of a known width: the first column whose value is not of its kind."""
    fields = dict(zip(LAYOUTS[width], line.decode("utf-8", "replace").rstrip("\r").split("\t")))
    checks: dict[str, Callable[[str], bool]] = {
        "GlobalEventID": lambda text: _whole(text) is not None,
        "Day": lambda text: _is_time(text, 8),
        "IsRootEvent": lambda text: _whole(text) in (0, 1),
        "EventCode": _is_code,
        raw_columns(options)["code"]: _is_code,
        "QuadClass": lambda text: _whole(text) in (1, 2, 3, 4),
        "GoldsteinScale": lambda text: text == "" or _is_finite(text),
        "NumMentions": lambda text: _whole(text) is not None,
        "AvgTone": _is_finite,
        "DATEADDED": lambda text: _is_time(text, 14 if width == QUARTERLY else 8),
    }
    wrong = next((column for column, check in checks.items() if not check(fields[column])), None)
    # The checks above allow up to 18 digits, which an int32 column cannot hold.
    if wrong is None:
        return "a number out of range"
    value = fields[wrong]
    return f"{wrong} {value[:40] + '...' if len(value) > 40 else value!r}" if value else f"{wrong} is empty"


def _is_code(text: str) -> bool:
    return _CODE.fullmatch(text) is not None


def _whole(text: str) -> int | None:
    return int(text) if re.fullmatch(r"\+?[0-9]{1,18}", text.strip()) else None


def _is_time(text: str, digits: int) -> bool:
    return (value := _whole(text)) is not None and parse_seconds(value, digits) is not None


def _is_finite(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
