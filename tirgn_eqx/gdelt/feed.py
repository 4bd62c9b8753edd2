"""GDELT's feeds: the names of their files, the lists of them, and the times that a caller asks for."""

import datetime as dt
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from io import BufferedIOBase

from tirgn_eqx.errors import ConfigError, nearest

BASE_URL = "http://data.gdeltproject.org"
LONGEST_LINE = 4096  # bytes; a real line has 110
MALFORMED_SHOWN = 10
_SUFFIX = ".export.CSV.zip"
# No file is empty, and fifteen digits are more than any has.
_SIZE = re.compile(rb"[1-9][0-9]{0,14}")
_MD5 = re.compile(rb"[0-9a-fA-F]{32}")
_SPAN = re.compile(r"\s*([0-9]{1,6})\s*([dh])\s*")
_DAY = dt.timedelta(days=1)
_MICROSECOND = dt.timedelta(microseconds=1)


@dataclass(frozen=True)
class Feed:
    """One of GDELT's feeds of events: a file each `step`, named by its time (UTC), from `first` on.

    **Arguments:** `folder`: path of the files on the server; `lists`: paths of the lists of all files; `form`: how
    `strftime` writes the time in a file's name.
    """

    name: str
    folder: str
    lists: tuple[str, ...]
    form: str
    step: dt.timedelta
    first: dt.datetime

    def file_name(self, time: dt.datetime) -> str:
        """Name of the file of a time, such as `20150218230000.export.CSV.zip`."""
        return time.strftime(self.form) + _SUFFIX

    def path(self, time: dt.datetime) -> str:
        """Path on the server of the file of a time."""
        return self.folder + self.file_name(time)

    def parse_name(self, name: str) -> dt.datetime | None:
        """The time in a file's name; None for anything but the exact name of a file of this feed."""
        digits = name.removesuffix(_SUFFIX)
        if digits == name or len(digits) != len(self.first.strftime(self.form)):
            return None
        time = _parse_digits(digits)
        # In a feed of quarter hours, 23:07 is not the time of a file.
        if time is None or time < self.first or (time - self.first) % self.step:
            return None
        return time

    def times(self, start: dt.datetime, end: dt.datetime) -> Iterator[dt.datetime]:
        """The times of all files from `start` to `end`, both included, whether they exist or not."""
        # -(-a // b) rounds up: the first file at or after `start`.
        time = self.first + max(-(-(start - self.first) // self.step), 0) * self.step
        while time <= end:
            yield time
            time += self.step


FEEDS = {
    "v2": Feed(
        name="v2",
        folder="/gdeltv2/",
        lists=("/gdeltv2/masterfilelist.txt",),
        form="%Y%m%d%H%M%S",
        step=dt.timedelta(minutes=15),
        first=dt.datetime(2015, 2, 18, 23, tzinfo=dt.UTC),
    ),
    "v1": Feed(
        name="v1",
        folder="/events/",
        lists=("/events/md5sums", "/events/filesizes"),
        form="%Y%m%d",
        step=_DAY,
        first=dt.datetime(2013, 4, 1, tzinfo=dt.UTC),
    ),
}


def find_feed(name: str) -> Feed:
    """The feed `v2` or `v1`. **Raises:** ConfigError for any other name."""
    if name not in FEEDS:
        raise ConfigError(f"feed {name!r} does not exist{nearest(name, FEEDS)}; known: {', '.join(FEEDS)}")
    return FEEDS[name]


@dataclass(frozen=True)
class ListedFile:
    """A file as its list describes it: time, size in bytes (None if the list does not say), md5."""

    time: dt.datetime
    size: int | None
    md5: str


@dataclass(frozen=True)
class MalformedLine:
    """A line of a list that was skipped: the list's name, the line's number from 1, its text, and why."""

    list: str
    line: int
    text: str
    why: str


@dataclass
class Listing:
    """What the lists of a feed say about a range of time.

    `files`: the files in the range, by time; `exports`: event files of all times, and `newest` the last time of them;
    `malformed`: lines that were skipped, the first of them in `shown`; `duplicates`: lines about a file that an
    earlier line lists too, where the later line counts.
    """

    files: dict[dt.datetime, ListedFile] = field(default_factory=dict)
    newest: dt.datetime | None = None
    lines: int = 0
    exports: int = 0
    duplicates: int = 0
    malformed: int = 0
    shown: list[MalformedLine] = field(default_factory=list)

    def add_malformed(self, name: str, number: int, line: bytes, why: str) -> None:
        """Count a malformed line of the list `name`."""
        self.malformed += 1
        if len(self.shown) < MALFORMED_SHOWN:
            text = line[:200].decode("utf-8", "replace").strip()
            self.shown.append(MalformedLine(name, number, text, why))

    def add_file(self, entry: ListedFile, start: dt.datetime, end: dt.datetime) -> None:
        """Count an event file, and keep it if its time is in the range."""
        self.exports += 1
        self.newest = entry.time if self.newest is None else max(self.newest, entry.time)
        if start <= entry.time <= end:
            self.duplicates += entry.time in self.files
            self.files[entry.time] = entry


def iterate_lines(file: BufferedIOBase) -> Iterator[bytes]:
    """The lines of a file, each cut after `LONGEST_LINE` bytes."""
    while line := file.readline(LONGEST_LINE):
        yield line
        # Skip the rest of a line that was cut.
        while len(line) == LONGEST_LINE and not line.endswith(b"\n"):
            line = file.readline(LONGEST_LINE)


def read_lists(feed: Feed, lists: Sequence[Iterable[bytes]], start: dt.datetime, end: dt.datetime) -> Listing:
    """What the lists of `feed` say about its files from `start` to `end`, both included.

    **Arguments:** `lists`: the lines of each of `feed.lists`, in the same order; no line of them raises an error.
    """
    listing = Listing()
    names = [path.rpartition("/")[2] for path in feed.lists]

    def read(index: int, forms: Sequence[re.Pattern[bytes]], words: str, file: str) -> Iterator[tuple]:
        parse = feed.parse_name if feed.name == "v1" else lambda url: _parse_url(feed, url)
        return _read_list(names[index], lists[index], forms, parse, (f"not `{words}`", f"not the {file}"), listing)

    if feed.name == "v2":
        for time, size, md5 in read(0, (_SIZE, _MD5), "size md5 url", "address of a quarter hour's events"):
            listing.add_file(ListedFile(time, int(size), md5.decode().lower()), start, end)
        return listing
    # The daily feed lists checksums and sizes apart. A file that has no size there is listed all the same.
    sizes = {time: int(size) for time, size in read(1, (_SIZE,), "size file", "name of a day's events")}
    for time, md5 in read(0, (_MD5,), "md5 file", "name of a day's events"):
        listing.add_file(ListedFile(time, sizes.get(time), md5.decode().lower()), start, end)
    return listing


def _read_list(
    name: str,
    lines: Iterable[bytes],
    forms: Sequence[re.Pattern[bytes]],
    parse: Callable[[str], dt.datetime | None],
    faults: tuple[str, str],
    listing: Listing,
) -> Iterator[tuple]:
    """(time, *values) of the lines about event files, each of which holds a value of every form and then a file."""
    for number, line in enumerate(lines, 1):
        listing.lines += 1
        words = line.split()
        if not words:
            continue
        *values, file = words
        if len(values) != len(forms) or not all(form.fullmatch(value) for form, value in zip(forms, values)):
            listing.add_malformed(name, number, line, faults[0])
        # The lists name files of mentions and of the knowledge graph too, which are passed over.
        elif file.endswith(_SUFFIX.encode()):
            time = parse(file.decode("ascii", "replace"))
            if time is None:
                listing.add_malformed(name, number, line, faults[1])
            else:
                yield time, *values


def _parse_url(feed: Feed, url: str) -> dt.datetime | None:
    """The time of the file at `url`; None for any address but a plain one in the feed's folder."""
    # The host does not matter, because files are fetched from the `base_url`, whatever address the list gives.
    head, folder, name = url.rpartition(feed.folder)
    plain = folder and re.fullmatch(r"https?://[\w.:-]+(/[\w~-][\w.~-]*)*", head, re.ASCII)
    return feed.parse_name(name) if plain else None


def _parse_digits(text: str) -> dt.datetime | None:
    """`YYYYMMDD` or `YYYYMMDDHHMMSS` as a time."""
    if not (text.isascii() and text.isdecimal() and len(text) in (8, 14)):
        return None
    clock = (int(text[at : at + 2]) for at in range(8, len(text), 2))
    try:
        return dt.datetime(int(text[:4]), int(text[4:6]), int(text[6:8]), *clock, tzinfo=dt.UTC)
    except ValueError:
        return None


def parse_time(text: str, *, end: bool = False) -> dt.datetime:
    """The time that a UTC day or an ISO 8601 time stands for; a time without a zone is UTC. Text of digits alone is
    read as GDELT writes times.

    **Arguments:** `end`: take the last microsecond of a day instead of its first.

    **Raises:** ConfigError for anything else.
    """
    text = text.strip()
    time = _parse_digits(text)
    # YYYY-MM-DD has 10 characters, YYYYMMDD has 8.
    is_day = len(text) == (10 if time is None else 8)
    try:
        if time is None:
            # Python reads more forms than are meant here, such as weeks and odd runs of digits.
            time = dt.datetime.fromisoformat(text if re.match(r"\d{4}-\d\d-\d\d", text) else "")
        time = time.replace(tzinfo=time.tzinfo or dt.UTC).astimezone(dt.UTC)
        return time + (_DAY - _MICROSECOND) if is_day and end else time
    except (ValueError, OverflowError) as error:
        raise ConfigError(
            f"{text!r}: not a time; write a UTC day like 2024-01-31 or a time like 2024-01-31T06:15"
        ) from error


def parse_span(text: str) -> dt.timedelta:
    """The length of time that `30d` or `36h` stands for. **Raises:** ConfigError for anything else, or no time."""
    match = _SPAN.fullmatch(text.lower())
    if match is None or int(match[1]) == 0:
        raise ConfigError(f"{text!r}: not a length of time; write days or hours, like 30d or 36h")
    return dt.timedelta(**{"days" if match[2] == "d" else "hours": int(match[1])})


def clip_range(feed: Feed, start: dt.datetime, end: dt.datetime, now: dt.datetime) -> tuple[dt.datetime, dt.datetime]:
    """The times of the first and the last file of `feed` from `start` to `end` that can exist by `now`.

    A day's file is in the range if any part of the day is.

    **Raises:** ConfigError when no file can be in the range.
    """
    if end < start:
        raise ConfigError(
            f"the range ends at {format_time(end)}, before it starts at {format_time(start)}; give a later end"
        )
    if end < feed.first:
        other = "; v1 reaches back to 2013-04-01" if feed.name == "v2" else ""
        raise ConfigError(
            f"the range ends at {format_time(end)}, before the first file of {feed.name}, "
            f"{format_time(feed.first)}{other}"
        )
    if start > now:
        raise ConfigError(f"the range starts at {format_time(start)}, in the future; give an earlier start")
    if feed.step == _DAY:
        start = start.replace(hour=0, minute=0, second=0, microsecond=0)
    end = min(end, now)
    first = next(feed.times(start, end), None)
    if first is None:
        raise ConfigError(
            f"no file of {feed.name} lies between {format_time(start)} and {format_time(end)}; give a longer range"
        )
    # Rounded down to the last file that begins by `end`.
    return first, first + (end - first) // feed.step * feed.step


def group_times(times: Iterable[dt.datetime], step: dt.timedelta) -> list[tuple[dt.datetime, dt.datetime]]:
    """The first and last time of each run without a gap among ascending times."""
    runs: list[tuple[dt.datetime, dt.datetime]] = []
    for time in times:
        if runs and time - runs[-1][1] == step:
            runs[-1] = runs[-1][0], time
        else:
            runs.append((time, time))
    return runs


def format_time(time: dt.datetime) -> str:
    """A time as `2015-02-18T23:00:00Z`."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")
