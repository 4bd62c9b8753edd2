"""The documents of an ingest: what a table records of itself, and the report."""

import datetime as dt
import re
from typing import Annotated

import pydantic
from pydantic import Field, StrictInt, StrictStr

TABLE_FORMAT = 1
Options = dict[str, str | bool | int | list[int]]  # see `IngestOptions.to_dict`
Count = Annotated[StrictInt, Field(ge=0, lt=2**62)]
Ranges = list[tuple[int, int]]  # first and last, both included
# Days and quarter hours since 1970, in the years 1 to 9999: a damaged record must not hold a time without a date.
_FIRST, _LAST = (day.toordinal() - dt.date(1970, 1, 1).toordinal() for day in (dt.date.min, dt.date.max))
Day = Annotated[StrictInt, Field(ge=_FIRST, le=_LAST)]
QuarterHour = Annotated[StrictInt, Field(ge=96 * _FIRST, le=96 * _LAST + 95)]


class TimesSeen(pydantic.BaseModel):
    """The times of the files in a table, as ascending ranges of quarter hours and days since 1970."""

    quarter_hours: list[tuple[QuarterHour, QuarterHour]] = []
    days: list[tuple[Day, Day]] = []

    @pydantic.field_validator("quarter_hours", "days")
    @classmethod
    def _check_order(cls, ranges: Ranges) -> Ranges:
        if any(first > last for first, last in ranges):
            raise ValueError("a range that ends before it begins")
        return ranges


class Totals(pydantic.BaseModel):
    """The counts of all ingests into a table: rows by what became of them, events by how late they became known, and
    what was repaired or noticed in rows that are well-formed."""

    rows: dict[str, Count] = {}
    late: dict[str, Count] = {}
    noted: dict[str, Count] = {}


class TableState(pydantic.BaseModel):
    """What a table records of itself.

    `sources`: name, size and sha256 of every file in it; `rejects_bytes`: the part of the rejects file that belongs to
    it; `ingests`: how many ingests wrote it since tables keep the ids of repeated facts; `seen`, `totals`: what its
    files brought.
    """

    format: int = TABLE_FORMAT
    options: Options
    sources: list[tuple[StrictStr, StrictInt, StrictStr]] = []
    rejects_bytes: Count = 0
    ingests: Count = 0
    seen: TimesSeen = TimesSeen()
    totals: Totals = Totals()


class UnreadableFile(pydantic.BaseModel):
    """A file that could not be read."""

    file: str
    reason: str


class FilesSummary(pydantic.BaseModel):
    """How many files were found, and what became of them."""

    found: int = 0
    read: int = 0
    empty: int = 0
    already_in_table: int = 0
    unreadable: list[UnreadableFile] = []


class RejectedLine(pydantic.BaseModel):
    """A malformed line: its file, its number from 1, and the reason."""

    file: str
    line: int
    reason: str


class CommonReason(RejectedLine):
    """The first line with the most common reason, and the number of all lines with it."""

    count: int


class MalformedSummary(pydantic.BaseModel):
    """Malformed lines: counts by reason, the first lines, the most common reason, and the file that holds all."""

    reasons: dict[str, int]
    first: list[RejectedLine]
    most: CommonReason | None
    file: str | None


class EventsSummary(pydantic.BaseModel):
    """What the table holds.

    `forgotten_repeats`: events left out as repeated facts whose ids are not kept, because an earlier version left them
    out or the file with the ids is gone; met in other files, they count again.
    """

    events: int
    repeated_facts: int
    forgotten_repeats: int = 0
    self_loops: int
    actors: int
    relations: int
    first: str | None
    last: str | None


class Gap(pydantic.BaseModel):
    """Times without a file, `first` and `last` included."""

    first: str
    last: str
    count: int


class Gaps(pydantic.BaseModel):
    """All times without a file between the first and the last time with one."""

    count: int
    ranges: list[Gap]


def split_reason(reason: str) -> tuple[str, str]:
    """The column and the value in the reason of a malformed line, such as `Event ID '2.0E+07'` or `Day is empty`."""
    column, *value = re.split(r" (?=['\"]|is empty$)", reason, maxsplit=1)
    return column, "".join(value)


class IngestReport(pydantic.BaseModel):
    """The report of an ingest, a document on disk beside the table.

    `rows`: lines by what became of them; `late`: events by how many days after they happened they became known;
    `noted`: well-formed rows by what was repaired or noticed in them; `missing`: gaps in the files of GDELT 2.0
    (`quarter_hours`) and in the days of other files (`days`); `totals`: `rows`, `late` and `noted` of all ingests into
    the table.
    """

    table: str
    written: bool
    options: Options
    files: FilesSummary
    rows: dict[str, int]
    malformed: MalformedSummary
    late: dict[str, int]
    noted: dict[str, int] = {}
    events: EventsSummary
    missing: dict[str, Gaps]
    totals: Totals

    def describe_malformed(self) -> str:
        """How many lines were malformed, the most common reason with its first line, and where all of them are."""
        most = self.malformed.most
        if most is None:
            return "no line is malformed"
        value, hint = split_reason(most.reason)[1], ""
        if value.startswith(("'\"", "\"'")):
            hint = "; GDELT puts nothing in quotes: write the file again without them"
        elif re.fullmatch(r"'[0-9]\.[0-9]+E\+?[0-9]+'", value, re.IGNORECASE):
            hint = "; a spreadsheet has rounded it: take the file as it was published"
        return (
            f"{self.rows['malformed']:,} of {self.rows['read']:,} lines malformed, most: {most.reason} "
            f"({most.file}:{most.line}){hint}; see {self.malformed.file}"
        )

    def explain_nothing(self) -> str:
        """Why the ingest found no events."""
        if self.files.unreadable:
            first = self.files.unreadable[0]
            count = f"{len(self.files.unreadable)} of {self.files.found} files"
            return f"{count} cannot be read, first {first.file}: {first.reason}"
        if self.rows["malformed"] and self.rows["malformed"] == self.rows["read"]:
            return self.describe_malformed()
        counts = [f"{count:,} {name.replace('_', ' ')}" for name, count in self.rows.items() if count]
        return f"{', '.join(counts) or 'all files are empty'}; give other files or fewer filters"
