"""Turn rows of raw event files into events of the table, without those that the options leave out."""

from pathlib import Path
from typing import NamedTuple

import polars as pl

from tirgn_eqx.ingest.options import IngestOptions

# The table: a fact, then what else is kept of its event.
SCHEMA: dict[str, pl.DataType] = {
    "entity1": pl.String(),
    "relation": pl.String(),
    "entity2": pl.String(),
    "timestamp": pl.Datetime("us"),
    "EventCode": pl.String(),
    "QuadClass": pl.Int8(),
    "GoldsteinScale": pl.Float32(),
    "NumMentions": pl.Int32(),
    "AvgTone": pl.Float32(),
    "GlobalEventID": pl.Int64(),
}
FACT = ("entity1", "relation", "entity2", "timestamp")
# Why a row is dropped. The conditions are tested in this order, and a row counts under the first that holds.
DROPPED = ("no_actor", "quad_class", "not_root", "few_mentions", "generic_actor")
_DAY = 86_400

# Names of actors that stand for a kind of person or body, which differs from report to report. GDELT writes POLICE for
# the police of any town, so a graph of names would connect events that have nothing in common. Names of countries,
# cities, peoples, religions and bodies that exist once (UNITED NATIONS, HAMAS) are not in the list. GDELT writes most
# names in the singular; where it uses both forms, both are listed.
GENERIC_ACTORS = frozenset(
    name
    for line in Path(__file__).with_name("generic_actors.txt").read_text(encoding="utf-8").splitlines()
    for name in line.split(", ")
)


class Events(NamedTuple):
    """Events in the table's columns, by how many days each became known late, and the rows dropped by reason."""

    frame: pl.DataFrame
    late: pl.Series
    dropped: dict[str, int]


def clean_rows(rows: pl.DataFrame, options: IngestOptions) -> Events:
    """The events among well-formed rows (see `ParsedLines.frame`), in their order.

    Names of actors are written in capitals, with single spaces inside and none around them. An event has two actors.
    """
    rows = rows.with_columns(_normalize_name("actor1"), _normalize_name("actor2"))
    conditions = {
        "no_actor": pl.col("actor1").eq("") | pl.col("actor2").eq(""),
        "quad_class": ~pl.col("QuadClass").is_in(options.quad_class),
        "not_root": (pl.col("IsRootEvent") == 0) & options.root_only,
        "few_mentions": pl.col("NumMentions") < options.min_mentions,
    }
    if options.drop_generic_actors:
        generic = pl.Series(sorted(GENERIC_ACTORS))
        conditions["generic_actor"] = pl.col("actor1").is_in(generic) | pl.col("actor2").is_in(generic)
    # The first condition that holds gives the reason; it is null where none holds.
    reason = pl.coalesce(pl.when(holds).then(DROPPED.index(name)) for name, holds in conditions.items())
    rows = rows.with_columns(reason=reason.cast(pl.Int8))
    counts = dict(rows["reason"].drop_nulls().value_counts().iter_rows())
    rows = rows.filter(pl.col("reason").is_null())
    # Whole days, because DATEADDED has a time of day and the day of an event has none.
    late = rows.select(pl.col("added").floordiv(_DAY) - pl.col("day").floordiv(_DAY)).to_series()
    suffix = pl.format("_Q{}", "QuadClass") if options.relation == "code_quad" else pl.lit("")
    time = pl.col("added" if options.time == "added" else "day")
    frame = rows.select(
        pl.col("actor1").alias("entity1"),
        (pl.col("code") + suffix).alias("relation"),
        pl.col("actor2").alias("entity2"),
        (time * 1_000_000).cast(SCHEMA["timestamp"]).alias("timestamp"),
        *(pl.col(name).cast(kind) for name, kind in list(SCHEMA.items())[len(FACT) :]),
    )
    return Events(frame, late, {DROPPED[number]: count for number, count in counts.items()})


def _normalize_name(column: str) -> pl.Expr:
    text = pl.col(column).fill_null("").str.replace_all(r"\s+", " ").str.strip_chars()
    return text.str.to_uppercase()
