"""Turn rows of raw event files into events of the table, without those that the options leave out."""

from pathlib import Path
from typing import NamedTuple

import polars as pl

from tirgn_eqx.ingest.event_format import ATTRIBUTES, EventFormat
from tirgn_eqx.ingest.options import IngestOptions

# Why a row is dropped. The conditions are tested in this order, and a row counts under the first that holds.
DROPPED = ("no_actor", "quad_class", "not_root", "few_mentions", "generic_actor")


class Events(NamedTuple):
    """Events in the table's columns, by how many days each became known late (null where that is not known), the rows
    dropped by reason, and how many events have a generic actor."""

    frame: pl.DataFrame
    late: pl.Series
    dropped: dict[str, int]
    generic: int = 0


def clean_rows(rows: pl.DataFrame, options: IngestOptions, source: EventFormat) -> Events:
    """The events among well-formed rows (see `EventFormat`), in their order. An event has two actors."""
    actors = pl.col("actor1"), pl.col("actor2")
    names = pl.concat([rows["actor1"], rows["actor2"]]).unique().alias("name").to_frame()
    # Each name once: the same ones recur in all rows.
    generic = names.filter(source.is_generic(pl.col("name")) & (options.actor == "name")).to_series().implode()
    rows = rows.with_columns(generic=pl.any_horizontal(actor.is_in(generic) for actor in actors))
    conditions = {
        "no_actor": pl.any_horizontal(actor == "" for actor in actors),
        "quad_class": ~pl.col("QuadClass").is_in(options.quad_class),
        **source.filters(options),
    }
    if options.drop_generic_actors:
        conditions["generic_actor"] = pl.col("generic")
    # The first condition that holds gives the reason; it is null where none holds.
    reason = pl.coalesce(pl.when(holds).then(DROPPED.index(name)) for name, holds in conditions.items())
    rows = rows.with_columns(reason=reason.cast(pl.Int8))
    counts = dict(rows["reason"].drop_nulls().value_counts().iter_rows())
    rows = rows.filter(pl.col("reason").is_null())
    frame = rows.select(
        pl.col("actor1").alias("entity1"),
        pl.col("relation"),
        pl.col("actor2").alias("entity2"),
        (pl.col("time") * 1_000_000).cast(pl.Datetime("us")).alias("timestamp"),
        *(pl.col(name) for name in (ATTRIBUTES if options.attributes else ())),
        *(pl.col(name).cast(kind) for name, kind in source.columns.items()),
    )
    dropped = {DROPPED[number]: count for number, count in counts.items()}
    return Events(frame, rows["late"], dropped, int(rows["generic"].sum()))


def read_names(file: str) -> frozenset[str]:
    """The names in a text file of this package, which has several in a line."""
    text = Path(__file__).with_name(file).read_text(encoding="utf-8")
    return frozenset(name for line in text.splitlines() for name in line.split(", "))


def with_single_spaces(column: str) -> pl.Expr:
    """Text with single spaces inside and none around it; empty where it is missing."""
    return pl.col(column).fill_null("").str.replace_all(r"\s+", " ").str.strip_chars()


def tidy(column: pl.Series) -> pl.Series:
    """As `with_single_spaces`, for texts that recur and seldom need it."""
    column = column.fill_null("")
    distinct = column.unique()
    clean = distinct.to_frame().select(with_single_spaces(column.name)).to_series()
    changed = distinct != clean
    return column.replace(distinct.filter(changed), clean.filter(changed)) if changed.any() else column
