"""Rows of raw event files as events of the table: facts, without what the options leave out."""

from typing import NamedTuple

import polars as pl

from tirgn_eqx.gdelt.columns import TABLE
from tirgn_eqx.gdelt.generic import GENERIC_ACTORS
from tirgn_eqx.gdelt.options import IngestOptions

# Why a row is dropped, in the order in which it is asked: a row counts under the first that holds.
DROPPED = ("no_actor", "quad_class", "not_root", "few_mentions", "generic_actor")
_DAY = 86_400
SCHEMA = {name: pl.Datetime("us") if kind == "Datetime" else getattr(pl, kind)() for name, kind in TABLE.items()}


class Events(NamedTuple):
    """Events in the table's columns, the days by which each became known late, and rows dropped by reason."""

    frame: pl.DataFrame
    late: pl.Series
    dropped: dict[str, int]


def clean_rows(rows: pl.DataFrame, options: IngestOptions) -> Events:
    """The events among well-formed rows (see `Rows`), in their order.

    A name is an actor's without the white space around it, white space inside made one space, in capitals. An
    event has two actors.
    """
    rows = rows.with_columns(_name("actor1"), _name("actor2"))
    conditions = {
        "no_actor": pl.col("actor1").eq("") | pl.col("actor2").eq(""),
        "quad_class": ~pl.col("QuadClass").is_in(options.quad_class),
        "not_root": (pl.col("IsRootEvent") == 0) & options.root_only,
        "few_mentions": pl.col("NumMentions") < options.min_mentions,
    }
    if options.drop_generic_actors:
        generic = pl.Series(sorted(GENERIC_ACTORS))
        conditions["generic_actor"] = pl.col("actor1").is_in(generic) | pl.col("actor2").is_in(generic)
    reason = pl.coalesce(pl.when(holds).then(DROPPED.index(name)) for name, holds in conditions.items())
    rows = rows.with_columns(reason=reason.cast(pl.Int8))
    counts = dict(rows["reason"].drop_nulls().value_counts().iter_rows())
    rows = rows.filter(pl.col("reason").is_null())
    late = rows.select(pl.col("added").floordiv(_DAY) - pl.col("day").floordiv(_DAY)).to_series()
    suffix = pl.format("_Q{}", "QuadClass") if options.relation == "code_quad" else pl.lit("")
    time = pl.col("added" if options.time == "added" else "day")
    frame = rows.select(
        pl.col("actor1").alias("entity1"),
        (pl.col("code") + suffix).alias("relation"),
        pl.col("actor2").alias("entity2"),
        (time * 1_000_000).cast(SCHEMA["timestamp"]).alias("timestamp"),
        *(pl.col(name).cast(kind) for name, kind in list(SCHEMA.items())[4:]),
    )
    return Events(frame, late, {DROPPED[number]: count for number, count in counts.items()})


def _name(column: str) -> pl.Expr:
    text = pl.col(column).fill_null("").str.replace_all(r"\s+", " ").str.strip_chars()
    return text.str.to_uppercase()
