"""The report of a collection, a document on disk."""

from typing import Literal

import pydantic

from tirgn_eqx.gdelt.feed import MalformedLine


class FailedFile(pydantic.BaseModel):
    """A file that could not be fetched."""

    name: str
    url: str
    why: str


class MissingRange(pydantic.BaseModel):
    """Times without a file, `first` and `last` included, and why: they are not in the list, or not on the server."""

    first: str
    last: str
    count: int
    why: str


class MissingFiles(pydantic.BaseModel):
    """All gaps of a collection."""

    count: int
    ranges: list[MissingRange]


class MalformedLines(pydantic.BaseModel):
    """How many lines of the lists were malformed, and the first of them."""

    count: int
    first: list[MalformedLine]


class ListSummary(pydantic.BaseModel):
    """What the lists of a feed hold: `files_after_newest` counts times in the range after the newest listed one."""

    url: str
    lines: int
    newest: str
    files_after_newest: int
    duplicates: int
    malformed: MalformedLines


class CollectReport(pydantic.BaseModel):
    """What a collection found and fetched.

    `status` is `complete` when every listed file is there, apart from a few that the server does not have. Those, and
    the files that the list lacks, are `missing`. It is `incomplete` when files have `failed`, or when the server has
    none of the files that it lists.
    """

    feed: str
    directory: str
    first: str
    last: str
    status: Literal["complete", "incomplete"]
    listed: int
    present: int
    fetched: int
    bytes_fetched: int
    failed: list[FailedFile]
    missing: MissingFiles
    list: ListSummary
    seconds: float = 0.0
