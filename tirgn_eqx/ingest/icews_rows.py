"""The lines of the ICEWS Coded Event Data: twenty columns of text, separated by tabs, under a header.

The files are those of Harvard Dataverse, one a year (`events.2014.20160121105408.tab`, doi:10.7910/DVN/28075) or a day
(`20190309-icews-events.tab`, doi:10.7910/DVN/QI2T9A).

An Event ID occurs with more than one day; with its day, it is that of one event.
"""

import datetime as dt
import re

import numpy as np
import polars as pl

from tirgn_eqx.ingest.clean import read_names, tidy, with_single_spaces
from tirgn_eqx.ingest.event_format import ATTRIBUTES, EventFormat
from tirgn_eqx.ingest.headed import Codebook, HeadedLines, TypedRows, is_number, parse_days
from tirgn_eqx.ingest.options import IngestOptions

BOOK = Codebook(
    "ICEWS",
    (
        *("Event ID", "Event Date", "Source Name", "Source Sectors", "Source Country", "Event Text", "CAMEO Code"),
        *("Intensity", "Target Name", "Target Sectors", "Target Country", "Story ID", "Sentence Number", "Publisher"),
        *("City", "District", "Province", "Country", "Latitude", "Longitude"),
    ),
)
_NEEDED = ("Event ID", "Event Date", "Source Name", "Event Text", "CAMEO Code", "Intensity", "Target Name")
_ABOUT_ACTORS = ("Source Country", "Source Sectors", "Target Country", "Target Sectors")
# The texts of the codes 010 to 020. A code that lost its leading zero, as those that were read as numbers have, is then
# one of the root codes 10 to 20, and only its text tells them apart. No other code becomes that of another event.
_STATEMENTS = (
    *("make statement", "decline comment", "make pessimistic comment", "make optimistic comment"),
    *("consider policy option", "acknowledge or claim responsibility", "deny responsibility"),
    *("reject accusation, deny responsibility", "engage in symbolic act", "make empathetic comment", "express accord"),
    *("make an appeal or request", "appeal"),
)
COLUMNS = pl.Schema(
    {
        "CAMEOCode": pl.String(),
        "EventText": pl.String(),
        "QuadClass": pl.Int8(),
        "Intensity": pl.Float32(),
        "EventID": pl.Int64(),
    }
)
_MOST_ID = 1 << 39
_DAY_BITS = 24  # hold every day of the years 1 to 9999
_EARLIEST, _LATEST = -(1 << (_DAY_BITS - 1)), 1 << (_DAY_BITS - 1)
# Kinds of people whom ICEWS writes as `Citizen (India)`: who is meant differs from report to report. Bodies such as
# `Police (India)` are not in the list.
GENERIC_ACTORS = read_names("generic_icews.txt")


def _written_code() -> pl.Expr:
    """CAMEO codes as the file has them; a program that took them for numbers may have written `42.0`."""
    return pl.col("CAMEO Code").str.strip_chars().str.strip_suffix(".0")


def _read_code() -> pl.Expr:
    """CAMEO codes with the leading zero that some have lost."""
    code, text = _written_code(), pl.col("Event Text").str.strip_chars().str.to_lowercase()
    size = code.str.len_bytes()
    # Codes begin with 01 to 20, so that 42 can only be 042, and 1 the root code 01.
    beyond = code.str.slice(0, 2) > "20"
    of_text = code.is_between(pl.lit("10"), pl.lit("20")) & text.is_in(list(_STATEMENTS)).fill_null(False)
    lost = (size == 1) | ((size == 2) & (beyond | of_text)) | ((size == 3) & beyond)
    return pl.when(lost).then("0" + code).otherwise(code)


def _relation(options: IngestOptions) -> pl.Expr:
    code = pl.col("CAMEOCode")
    return {
        "text": pl.col("EventText"),
        "code": code,
        "code_quad": pl.format("{}_Q{}", code, pl.col("QuadClass")),
        "base": code.str.slice(0, 3),
        "root": pl.col("root"),
    }[options.relation]


def _read_codes(table: pl.DataFrame, options: IngestOptions) -> pl.DataFrame:
    """The table with what its codes and their texts stand for, which is found once for each of the few that recur."""
    codes = table.select("CAMEO Code", "Event Text").unique()
    codes = codes.with_columns(
        _read_code().alias("CAMEOCode"), with_single_spaces("Event Text").alias("EventText")
    ).with_columns(
        root=pl.col("CAMEOCode").str.slice(0, 2),
        # Files of 2017 have codes such as 13y.
        is_code=pl.col("CAMEOCode").str.contains(r"^(0[1-9]|1[0-9]|20)[0-9]{0,2}[a-z]?$"),
        code_without_zero=pl.col("CAMEOCode").str.len_bytes() > _written_code().str.len_bytes(),
        code_with_letter=pl.col("CAMEOCode").str.contains("[a-z]$"),
    )
    root = pl.col("root").cast(pl.Int8, strict=False)
    # The quad classes of CAMEO's root codes.
    quad = pl.when(root <= 5).then(1).when(root <= 8).then(2).when(root <= 13).then(3).otherwise(4)
    codes = codes.with_columns(quad.cast(pl.Int8).alias("QuadClass"))
    codes = codes.with_columns(_relation(options).alias("relation"))
    return table.join(
        codes, on=["CAMEO Code", "Event Text"], how="left", nulls_equal=True, maintain_order="left", coalesce=True
    )


def _read_types(table: pl.DataFrame, options: IngestOptions) -> TypedRows:
    sides = (("Source", 1), ("Target", 2))
    actor = "Name" if options.actor == "name" else "Country"
    table = _read_codes(table, options).with_columns(
        pl.col("Event ID").str.strip_chars().cast(pl.Int64, strict=False).alias("EventID"),
        parse_days("Event Date").alias("time"),
        # The files do not say when an event became known.
        pl.lit(None, pl.Int64).alias("late"),
        *(tidy(table[f"{side} {actor}"]).alias(f"actor{number}") for side, number in sides),
        *(pl.col(f"{side} Country").alias(f"entity{number}_country") for side, number in sides),
        *(pl.col(f"{side} Sectors").alias(f"entity{number}_sector") for side, number in sides),
    )
    checks = {
        "Event ID": pl.col("EventID").is_between(0, _MOST_ID, closed="left"),
        "Event Date": pl.col("time").is_not_null(),
        "CAMEO Code": pl.col("is_code"),
        "Intensity": is_number("Intensity"),
    }
    if options.relation == "text":
        checks["Event Text"] = pl.col("EventText") != ""
    noted = {name: pl.col(name) for name in ("code_without_zero", "code_with_letter")}
    kept = [*COLUMNS, "time", "actor1", "actor2", "relation", "late", *(ATTRIBUTES if options.attributes else ())]
    return TypedRows(table, checks, noted, kept)


def _lines(options: IngestOptions, header: bytes) -> HeadedLines:
    about = _ABOUT_ACTORS if options.attributes or options.actor == "country" else ()
    optional = () if about else _ABOUT_ACTORS
    return HeadedLines(
        BOOK, header or BOOK.header, (*_NEEDED, *about), optional, lambda table: _read_types(table, options)
    )


def _is_generic(name: pl.Expr) -> pl.Expr:
    kind = name.str.to_uppercase().str.extract(r"^(.+?) \(", 1)
    return kind.is_in(sorted(GENERIC_ACTORS)).fill_null(False)


def _identity(frame: pl.DataFrame) -> np.ndarray:
    day = frame["timestamp"].dt.epoch("d").cast(pl.Int64).to_numpy()
    return (frame["EventID"].to_numpy() << _DAY_BITS) + day - _EARLIEST


def _file_days(name: str) -> tuple[int, int] | None:
    """The year of a yearly file; of a daily one, all days up to its own."""
    base = re.split(r"[/\\:]", name)[-1]
    if daily := re.match(r"([0-9]{8})-icews-events", base, re.IGNORECASE):
        try:
            return _EARLIEST, (dt.datetime.strptime(daily[1], "%Y%m%d").date() - dt.date(1970, 1, 1)).days
        except ValueError:
            return None
    if (yearly := re.match(r"events\.([12][0-9]{3})\.", base, re.IGNORECASE)) is None:
        return None
    begin, end = (dt.date(int(yearly[1]) + more, 1, 1).toordinal() - dt.date(1970, 1, 1).toordinal() for more in (0, 1))
    return begin, end - 1


ICEWS = EventFormat(
    source="icews",
    title="ICEWS",
    names=re.compile(r"^(?!\.)(?!.*\.rejects\.tsv$).*\.(tab|tsv|csv|zip|gz)$", re.IGNORECASE),
    examples="*.tab, *.zip, *.gz",
    headed=True,
    lines=_lines,
    recognizes=lambda line: {"Event ID", "CAMEO Code", "Source Name"} <= {*BOOK.read_header(line)},
    columns=COLUMNS,
    filters=lambda options: {},
    is_generic=_is_generic,
    identity=_identity,
    file_days=_file_days,
)
