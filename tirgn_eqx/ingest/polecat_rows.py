"""The lines of POLECAT: forty columns of text, separated by tabs, under a header.

The files are those of Harvard Dataverse (doi:10.7910/DVN/AJGVIT), one a week, a month or a year
(`ngecEvents.20230103111842.Release603.DV.txt`, `ngecEventsDV-2022.txt.zip`, `ngecEvents.DV.2018.txt`). What is missing
is written as `None`. Its events are those of the ontology PLOVER (doi:10.7910/DVN/LMFPIP).
"""

import re

import numpy as np
import polars as pl

from tirgn_eqx.ingest.clean import tidy
from tirgn_eqx.ingest.event_format import ATTRIBUTES, EventFormat
from tirgn_eqx.ingest.gdelt_rows import GENERIC_ACTORS
from tirgn_eqx.ingest.headed import Codebook, HeadedLines, TypedRows, is_number, parse_days
from tirgn_eqx.ingest.options import IngestOptions

BOOK = Codebook(
    "POLECAT",
    (
        *("Event ID", "Event Date", "Event Type", "Event Mode", "Intensity", "Quad Code", "Contexts"),
        *("Actor Name", "Actor Country", "Actor COW", "Primary Actor Sector", "Actor Sectors", "Actor Title"),
        *("Actor Name Raw", "Wikipedia Actor ID"),
        *("Recipient Name", "Recipient Country", "Recipient COW", "Primary Recipient Sector", "Recipient Sectors"),
        *("Recipient Title", "Recipient Name Raw", "Wikipedia Recipient ID"),
        *("Placename", "City", "District", "Province", "Country", "Latitude", "Longitude", "GeoNames ID"),
        *("Raw Placename", "Feature Type", "Source", "Publication Date"),
        *("Story People", "Story Organizations", "Story Locations", "Language", "Version"),
    ),
    {"Event Intensity": "Intensity"},
)
_NEEDED = (
    *("Event ID", "Event Date", "Event Type", "Event Mode", "Intensity", "Quad Code"),
    *("Actor Name", "Recipient Name", "Publication Date"),
)
_ABOUT_ACTORS = ("Actor Country", "Recipient Country", "Actor Sectors", "Recipient Sectors")
_PRIMARY = ("Primary Actor Sector", "Primary Recipient Sector")
QUAD_CODES = ("VERBAL COOPERATION", "MATERIAL COOPERATION", "VERBAL CONFLICT", "MATERIAL CONFLICT")
# The event types of PLOVER by their quad class.
TYPES = {
    1: ("AGREE", "CONSULT", "SUPPORT", "CONCEDE"),
    2: ("COOPERATE", "AID", "RETREAT"),
    3: ("REQUEST", "ACCUSE", "REJECT", "THREATEN"),
    4: ("PROTEST", "SANCTION", "MOBILIZE", "COERCE", "ASSAULT"),
}
_CLASS_OF_TYPE = {name: quad for quad, names in TYPES.items() for name in names}
_CLASS_OF_CODE = {name: number for number, name in enumerate(QUAD_CODES, 1)}
COLUMNS = pl.Schema(
    {
        "EventType": pl.String(),
        "EventMode": pl.String(),
        "QuadClass": pl.Int8(),
        "Intensity": pl.Float32(),
        "EventID": pl.String(),
    }
)
_DAY = 86_400


def _read_types(table: pl.DataFrame, options: IngestOptions) -> TypedRows:
    sides = (("Actor", 1), ("Recipient", 2))
    actor = "Name" if options.actor == "name" else "Country"
    table = table.with_columns(
        pl.col("Event ID").str.strip_chars().alias("EventID"),
        pl.col("Event Type").str.strip_chars().str.to_uppercase().alias("EventType"),
        pl.col("Event Mode").str.strip_chars().alias("EventMode"),
        parse_days("Event Date").alias("day"),
        parse_days("Publication Date").alias("published"),
        pl.col("Quad Code").str.strip_chars().str.to_uppercase().alias("code"),
        *(tidy(table[f"{side} {actor}"]).alias(f"actor{number}") for side, number in sides),
        *(pl.col(f"{side} Country").alias(f"entity{number}_country") for side, number in sides),
        *(
            pl.coalesce(f"{side} Sectors", f"Primary {side} Sector").alias(f"entity{number}_sector")
            for side, number in sides
        ),
    )
    of_code = pl.col("code").replace_strict(_CLASS_OF_CODE, default=None, return_dtype=pl.Int8)
    of_type = pl.col("EventType").replace_strict(_CLASS_OF_TYPE, default=None, return_dtype=pl.Int8)
    table = table.with_columns(
        # The ontology gives every type a class.
        pl.coalesce(of_code, of_type).alias("QuadClass"),
        pl.col("published" if options.time == "added" else "day").alias("time"),
        ((pl.col("published") - pl.col("day")) // _DAY).alias("late"),
        (
            pl.concat_str("EventType", "EventMode", separator="_", ignore_nulls=True)
            if options.relation == "type_mode"
            else pl.col("EventType")
        ).alias("relation"),
    )
    checks = {
        "Event ID": pl.col("EventID") != "",
        "Event Date": pl.col("day").is_not_null(),
        "Event Type": pl.col("EventType").is_in(list(_CLASS_OF_TYPE)),
        "Intensity": is_number("Intensity"),
        "Quad Code": pl.col("code").is_null() | of_code.is_not_null(),
        # Without it, only the time of the table is missing, unless that is the day of the event.
        "Publication Date": pl.col("published").is_not_null()
        | (pl.col("Publication Date").is_null() & (options.time == "day")),
    }
    noted = {
        "several_actors": _any_list("actor1", "actor2"),
        "several_countries": _any_list("entity1_country", "entity2_country"),
        "several_sectors": _any_list("entity1_sector", "entity2_sector"),
        "quad_code_missing": pl.col("code").is_null(),
    }
    kept = [*COLUMNS, "time", "actor1", "actor2", "relation", "late", *(ATTRIBUTES if options.attributes else ())]
    return TypedRows(table, checks, noted, kept)


def _any_list(*columns: str) -> pl.Expr:
    """Whether a value of one of the columns is a list of several, which POLECAT separates by semicolons."""
    return pl.any_horizontal(pl.col(name).str.contains(";", literal=True).fill_null(False) for name in columns)


def _lines(options: IngestOptions, header: bytes) -> HeadedLines:
    about = _ABOUT_ACTORS if options.attributes or options.actor == "country" else ()
    optional = (*(() if about else _ABOUT_ACTORS), *_PRIMARY)
    return HeadedLines(
        BOOK, header or BOOK.header, (*_NEEDED, *about), optional, lambda table: _read_types(table, options)
    )


def _identity(frame: pl.DataFrame) -> np.ndarray:
    # Ids are texts. Two of 20 million differ and still have one hash of 64 bits with a chance of 1 in 100,000.
    return frame["EventID"].hash().to_numpy().view(np.int64)


POLECAT = EventFormat(
    source="polecat",
    title="POLECAT",
    names=re.compile(r"^(?!\.)(?!.*\.rejects\.tsv$).*\.(txt|tsv|csv|zip|gz)$", re.IGNORECASE),
    examples="*.txt, *.zip, *.gz",
    headed=True,
    lines=_lines,
    recognizes=lambda line: {"Event ID", "Event Type", "Actor Name"} <= {*BOOK.read_header(line)},
    columns=COLUMNS,
    filters=lambda options: {},
    is_generic=lambda name: name.str.to_uppercase().is_in(sorted(GENERIC_ACTORS)),
    identity=_identity,
    file_days=lambda name: None,
)
