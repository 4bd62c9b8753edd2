"""GDELT's feeds: how their files are named, what their lists say of them, and the times that are asked for."""

import datetime as dt
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from io import BufferedIOBase
from typing import Any

from tirgn_eqx.errors import ConfigError, nearest

BASE_URL = "http://data.gdeltproject.org"
LONGEST_LINE = 4096  # bytes; a real line has 110
SHOWN_LINES = 10  # malformed lines that are kept to be shown
_SUFFIX = ".export.CSV.zip"
_SIZE = re.compile(rb"[1-9][0-9]{0,14}")
_MD5 = re.compile(rb"[0-9a-fA-F]{32}")
_SPAN = re.compile(r"\s*([0-9]{1,6})\s*([dh])\s*")
_DAY = dt.timedelta(days=1)
_MICROSECOND = dt.timedelta(microseconds=1)


@dataclass(frozen=True)
class Feed:
    """One of GDELT's feeds of events: a file each `step`, named by its time (UTC), from `first` on.

    `folder` is the path of the files below the server; `lists` are the paths of what lists them all.
    """

    name: str
    folder: str
    lists: tuple[str, ...]
    form: str
    step: dt.timedelta
    first: dt.datetime

    def file_name(self, moment: dt.datetime) -> str:
        """Name of the file of a time, such as `20150218230000.export.CSV.zip`."""
        return moment.strftime(self.form) + _SUFFIX

    def path(self, moment: dt.datetime) -> str:
        """Path of the file of a time below the server."""
        return self.folder + self.file_name(moment)

    def moment(self, name: str) -> dt.datetime | None:
        """The time in a file's name; None for anything but the exact name of a file of this feed."""
        digits = name.removesuffix(_SUFFIX)
        if digits == name or len(digits) != len(self.first.strftime(self.form)):
            return None
        moment = _from_digits(digits)
        if moment is None or moment < self.first or (moment - self.first) % self.step:
            return None
        return moment

    def moments(self, start: dt.datetime, end: dt.datetime) -> Iterator[dt.datetime]:
        """The times of all files from `start` to `end`, both included, whether they exist or not."""
        moment = self.first + max(-(-(start - self.first) // self.step), 0) * self.step
        while moment <= end:
            yield moment
            moment += self.step


FEEDS = {
    "v2": Feed(
        "v2",
        "/gdeltv2/",
        ("/gdeltv2/masterfilelist.txt",),
        "%Y%m%d%H%M%S",
        dt.timedelta(minutes=15),
        dt.datetime(2015, 2, 18, 23, tzinfo=dt.UTC),
    ),
    "v1": Feed(
        "v1",
        "/events/",
        ("/events/md5sums", "/events/filesizes"),
        "%Y%m%d",
        _DAY,
        dt.datetime(2013, 4, 1, tzinfo=dt.UTC),
    ),
}


def named_feed(name: str) -> Feed:
    """The feed `v2` or `v1`. **Raises:** ConfigError for any other name."""
    if name not in FEEDS:
        raise ConfigError(f"feed {name!r} does not exist{nearest(name, FEEDS)}; known: {', '.join(FEEDS)}")
    return FEEDS[name]


@dataclass(frozen=True)
class Listed:
    """A file as its list describes it; `size` in bytes, None where the list does not say."""

    moment: dt.datetime
    size: int | None
    md5: str


@dataclass
class Listing:
    """What the lists of a feed say about a range of time.

    `files`: by their time; `exports`: event files of all times, `newest` the last of them; `malformed`: lines that
    were skipped, of which `shown` keeps the first few; `duplicates`: lines about a file that was listed before, where
    the later line counts.
    """

    files: dict[dt.datetime, Listed] = field(default_factory=dict)
    newest: dt.datetime | None = None
    lines: int = 0
    exports: int = 0
    duplicates: int = 0
    malformed: int = 0
    shown: list[dict[str, Any]] = field(default_factory=list)

    def skip(self, name: str, number: int, line: bytes, why: str) -> None:
        """Count a malformed line of the list `name`."""
        self.malformed += 1
        if len(self.shown) < SHOWN_LINES:
            text = line[:200].decode("utf-8", "replace").strip()
            self.shown.append({"list": name, "line": number, "text": text, "why": why})

    def take(self, entry: Listed, start: dt.datetime, end: dt.datetime) -> None:
        """Count an event file, and keep it if its time is in the range."""
        self.exports += 1
        self.newest = entry.moment if self.newest is None else max(self.newest, entry.moment)
        if start <= entry.moment <= end:
            self.duplicates += entry.moment in self.files
            self.files[entry.moment] = entry


def lines_of(file: BufferedIOBase) -> Iterator[bytes]:
    """The lines of a file, of each at most the first `LONGEST_LINE` bytes."""
    while line := file.readline(LONGEST_LINE):
        yield line
        while len(line) == LONGEST_LINE and not line.endswith(b"\n"):
            line = file.readline(LONGEST_LINE)


def read_lists(feed: Feed, lists: Sequence[Iterable[bytes]], start: dt.datetime, end: dt.datetime) -> Listing:
    """What the lists of `feed` say about its files from `start` to `end`, both included.

    **Arguments:** `lists`: the lines of each of `feed.lists`, in their order; nothing in them raises an error.
    """
    listing = Listing()
    if feed.name == "v2":
        _read_master_list(feed, lists[0], start, end, listing)
    else:
        _read_daily_lists(feed, lists, start, end, listing)
    return listing


def _read_master_list(
    feed: Feed, lines: Iterable[bytes], start: dt.datetime, end: dt.datetime, listing: Listing
) -> None:
    name = feed.lists[0].rpartition("/")[2]
    for number, line in enumerate(lines, 1):
        listing.lines += 1
        words = line.split()
        if not words:
            continue
        if len(words) != 3 or not _SIZE.fullmatch(words[0]) or not _MD5.fullmatch(words[1]):
            listing.skip(name, number, line, "not `size md5 url`")
        elif words[2].endswith(_SUFFIX.encode()):
            moment = _moment_of_url(feed, words[2])
            if moment is None:
                listing.skip(name, number, line, "not the address of a quarter hour's events")
            else:
                listing.take(Listed(moment, int(words[0]), words[1].decode().lower()), start, end)


def _read_daily_lists(
    feed: Feed, lists: Sequence[Iterable[bytes]], start: dt.datetime, end: dt.datetime, listing: Listing
) -> None:
    names = [path.rpartition("/")[2] for path in feed.lists]
    sizes = {moment: int(value) for moment, value in _pairs(feed, names[1], lists[1], _SIZE, listing)}
    for moment, value in _pairs(feed, names[0], lists[0], _MD5, listing):
        listing.take(Listed(moment, sizes.get(moment), value.decode().lower()), start, end)


def _pairs(
    feed: Feed, name: str, lines: Iterable[bytes], form: re.Pattern[bytes], listing: Listing
) -> Iterator[tuple[dt.datetime, bytes]]:
    """(time, value) of the lines `value file` that are about a file of the feed."""
    for number, line in enumerate(lines, 1):
        listing.lines += 1
        words = line.split()
        if not words:
            continue
        if len(words) != 2 or not form.fullmatch(words[0]):
            listing.skip(name, number, line, "not `md5 file`" if form is _MD5 else "not `size file`")
        elif words[1].endswith(_SUFFIX.encode()):
            moment = feed.moment(words[1].decode("ascii", "replace"))
            if moment is None:
                listing.skip(name, number, line, "not the name of a day's events")
            else:
                yield moment, words[0]


def _moment_of_url(feed: Feed, url: bytes) -> dt.datetime | None:
    """The time of the file at `url`; None for any address but a plain one in the feed's folder."""
    head, folder, name = url.decode("ascii", "replace").rpartition(feed.folder)
    plain = folder and re.fullmatch(r"https?://[\w.:-]+(/[\w~-][\w.~-]*)*", head, re.ASCII)
    return feed.moment(name) if plain else None


def _from_digits(text: str) -> dt.datetime | None:
    """`YYYYMMDD` or `YYYYMMDDHHMMSS` as a time."""
    if not (text.isascii() and text.isdecimal() and len(text) in (8, 14)):
        return None
    try:
        return dt.datetime(
            int(text[:4]), int(text[4:6]), int(text[6:8]), *(int(text[at : at + 2]) for at in range(8, len(text), 2)),
            tzinfo=dt.UTC,
        )  # fmt: skip
    except ValueError:
        return None


def parse_time(text: str, *, end: bool = False) -> dt.datetime:
    """A UTC day or an ISO 8601 time; one without a zone is UTC. Digits alone are read as GDELT writes them.

    **Arguments:** `end`: let a day mean its last moment instead of its first.

    **Raises:** ConfigError for anything else.
    """
    text = text.strip()
    moment = _from_digits(text)
    day = len(text) == (10 if moment is None else 8)
    try:
        if moment is None:
            # Python would read more than is meant, such as weeks and odd runs of digits.
            moment = dt.datetime.fromisoformat(text if re.match(r"\d{4}-\d\d-\d\d", text) else "")
        moment = moment.replace(tzinfo=moment.tzinfo or dt.UTC).astimezone(dt.UTC)
        return moment + (_DAY - _MICROSECOND) if day and end else moment
    except (ValueError, OverflowError) as error:
        raise ConfigError(
            f"{text!r}: not a time; write a UTC day like 2024-01-31 or a time like 2024-01-31T06:15"
        ) from error


def parse_span(text: str) -> dt.timedelta:
    """`30d` or `36h` as a length of time. **Raises:** ConfigError for anything else, or no time at all."""
    match = _SPAN.fullmatch(text.lower())
    if match is None or int(match[1]) == 0:
        raise ConfigError(f"{text!r}: not a length of time; write days or hours, like 30d or 36h")
    return dt.timedelta(**{"days" if match[2] == "d" else "hours": int(match[1])})


def time_range(feed: Feed, start: dt.datetime, end: dt.datetime, now: dt.datetime) -> tuple[dt.datetime, dt.datetime]:
    """The first and the last file of `feed` from `start` to `end`, as far as there can be one by `now`.

    A day's file stands for its whole day, so it counts when any of the day does.

    **Raises:** ConfigError when no file can be in the range.
    """
    if end < start:
        raise ConfigError(f"the range ends at {iso(end)}, before it starts at {iso(start)}; give a later end")
    if end < feed.first:
        other = "; v1 reaches back to 2013-04-01" if feed.name == "v2" else ""
        raise ConfigError(
            f"the range ends at {iso(end)}, before the first file of {feed.name}, {iso(feed.first)}{other}"
        )
    if start > now:
        raise ConfigError(f"the range starts at {iso(start)}, in the future; give an earlier start")
    if feed.step == _DAY:
        start = start.replace(hour=0, minute=0, second=0, microsecond=0)
    end = min(end, now)
    first = next(feed.moments(start, end), None)
    if first is None:
        raise ConfigError(f"no file of {feed.name} lies between {iso(start)} and {iso(end)}; give a longer range")
    return first, first + (end - first) // feed.step * feed.step


def ranges(moments: Iterable[dt.datetime], step: dt.timedelta) -> list[dict[str, Any]]:
    """Ascending times as runs without a gap: their first and last time, and how many they are."""
    runs: list[list[dt.datetime]] = []
    for moment in moments:
        if runs and moment - runs[-1][1] == step:
            runs[-1][1] = moment
        else:
            runs.append([moment, moment])
    return [{"from": iso(a), "to": iso(b), "count": (b - a) // step + 1} for a, b in runs]


def iso(moment: dt.datetime) -> str:
    """A time as `2015-02-18T23:00:00Z`."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
