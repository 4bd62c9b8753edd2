"""Collect GDELT's event files of a range of time, several at once; files that are already complete are kept."""

import datetime as dt
import errno
import os
import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any, Literal

from tirgn_eqx.errors import ConfigError, DataError
from tirgn_eqx.gdelt.documents import CollectReport, FailedFile, ListSummary, MalformedLines, MissingFiles, MissingRange
from tirgn_eqx.gdelt.feed import (
    BASE_URL,
    Feed,
    ListedFile,
    Listing,
    clip_range,
    find_feed,
    format_time,
    group_times,
    iterate_lines,
    read_lists,
)
from tirgn_eqx.gdelt.verified import VerifiedFiles
from tirgn_eqx.storage.download import NotFound, Patience, Server, Stopped, Unobtainable, zip_trouble
from tirgn_eqx.storage.locks import exclusive_lock

RECORD = "collected.json"
LOCK = ".collect.lock"
PATIENCE = Patience()


@dataclass(frozen=True)
class ListRead:
    """More of the list `name` was read; `held`: bytes of it that are there."""

    name: str
    held: int


@dataclass(frozen=True)
class FilesChecked:
    """So many of the listed files were compared with those in the folder."""

    checked: int
    files: int


@dataclass(frozen=True)
class FetchStarted:
    """Of `listed` files, `files` with `bytes` in all are to be fetched into `directory`."""

    listed: int
    files: int
    bytes: int
    directory: str


@dataclass(frozen=True)
class BytesFetched:
    """More `bytes` of a file arrived; `name` ends in `.part`, and `held` bytes of it are there."""

    name: str
    bytes: int
    held: int


@dataclass(frozen=True)
class FetchRetried:
    """An attempt failed because of `why`; the next one follows after `wait` seconds."""

    name: str
    why: str
    wait: float


@dataclass(frozen=True)
class FetchEnded:
    """A file of `bytes` was fetched, or could not be, because of `why`."""

    name: str
    time: dt.datetime
    status: Literal["fetched", "not found", "failed"]
    bytes: int = 0
    why: str = ""


CollectEvent = ListRead | FilesChecked | FetchStarted | BytesFetched | FetchRetried | FetchEnded


def collect(
    directory: str | Path,
    start: dt.datetime,
    end: dt.datetime,
    *,
    feed: str = "v2",
    base_url: str = BASE_URL,
    workers: int = 6,
    patience: Patience = PATIENCE,
    on_record: Callable[[CollectEvent], None] | None = None,
) -> CollectReport:
    """Fetch the event files of a feed from `start` to `end` into a folder.

    A file gets its name only when its size and md5 are as listed and its zip is sound. Until then it is a `.part`
    file, from which another call continues. A file that cannot be fetched does not stop the others. After an
    interruption at any point, another call continues.

    **Arguments:** `start`, `end`: with a time zone, both included; `feed`: `v2` (a file each quarter hour) or `v1` (a
    file each day); `base_url`: GDELT's server or a mirror with the same paths; `workers`: files to fetch at a time;
    `on_record`: called in the calling thread with each event.

    **Raises:** ConfigError for a range without files or an impossible setting; DataError when the lists cannot be
    fetched or are not GDELT's, when the folder cannot be written, or when another call works in it.
    """
    known = find_feed(feed)
    if workers < 1:
        raise ConfigError(f"workers = {workers}: must be at least 1")
    span = clip_range(known, start, end, dt.datetime.now(dt.UTC))
    began, place = monotonic(), Path(directory)
    pool = WorkerPool(on_record or (lambda event: None))
    server = Server(base_url, workers, patience, pool.stop, pool.put_record)
    busy = DataError(f"{place}: another collection is at work here; wait for it, or use another folder")
    with _explain_failures(place), exclusive_lock(place / LOCK, busy):
        verified = VerifiedFiles.load(place / RECORD)
        try:
            listing = _fetch_lists(known, server, place, span, pool)
            wanted = _find_wanted(known, listing, place, verified, pool.on_event)
            size = sum(listed.size or 0 for listed in wanted)
            pool.on_event(FetchStarted(len(listing.files), len(wanted), size, str(place)))
            fetch = partial(_fetch_file, server, known, place, pool.put)
            pool.run([partial(fetch, listed) for listed in wanted], workers)
        finally:
            # Workers that an interruption left behind end at their next chunk.
            pool.stop.set()
            server.close()
            with suppress(OSError):  # without the record, the next call only reads the files again
                verified.save(place / RECORD)
    report = _make_report(known, server, place, span, listing, pool.ended)
    return report.model_copy(update={"seconds": monotonic() - began})


class WorkerPool:
    """Threads that do jobs until `stop` is set; their events reach the calling thread.

    **Arguments:** `on_event`: called with every event in the thread that calls `run`.
    """

    def __init__(self, on_event: Callable[[CollectEvent], None]):
        self.on_event = on_event
        self.stop = threading.Event()
        self.ended: list[FetchEnded] = []
        # The calling thread alone reports and counts, so that `on_event` need not be safe for threads.
        # An exception ends all jobs, None stands for the end of a thread.
        self._messages: queue.SimpleQueue[CollectEvent | BaseException | None] = queue.SimpleQueue()

    def put(self, event: CollectEvent) -> None:
        """Hand an event of a job to the calling thread."""
        self._messages.put(event)

    def put_record(self, record: Mapping[str, Any]) -> None:
        """Hand over a record of a `Server`."""
        name = record["name"]
        # A list is followed under its own name; a file grows as `.part` until it is complete.
        if record["event"] == "retry":
            self.put(FetchRetried(name, record["why"], record["wait"]))
        elif name.endswith(".part"):
            self.put(BytesFetched(name, record["bytes"], record["held"]))
        else:
            self.put(ListRead(name, record["held"]))

    def run(self, jobs: list[Callable[[], None]], workers: int) -> None:
        """Do the jobs, `workers` at a time. The first error ends all jobs and is raised.

        An interruption is raised at once: a thread that waits for a server is left behind, and does nothing more when
        its wait is over.
        """
        tasks: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        for job in jobs:
            tasks.put(job)
        count = min(workers, len(jobs))
        # Daemon threads: after an interruption, one that waits for a server must not keep the process alive.
        threads = [threading.Thread(target=self._work, args=(tasks,), daemon=True) for _ in range(count)]
        for thread in threads:
            thread.start()
        error, busy = None, len(threads)
        try:
            while busy:
                message = self._messages.get()
                if message is None:
                    busy -= 1
                elif isinstance(message, BaseException):
                    error = error or message
                else:
                    if isinstance(message, FetchEnded):
                        self.ended.append(message)
                    self.on_event(message)
        finally:
            # Threads still run only when this thread was interrupted, or `on_event` raised an error.
            if busy:
                self.stop.set()
            # One second for all threads together.
            until = monotonic() + 1.0
            for thread in threads:
                thread.join(max(until - monotonic(), 0.0))
        if error is not None:
            raise error

    def _work(self, tasks: "queue.SimpleQueue[Callable[[], None]]") -> None:
        try:
            while not self.stop.is_set():
                tasks.get_nowait()()
        except (queue.Empty, Stopped):
            pass
        except BaseException as error:
            self.stop.set()
            self._messages.put(error)
        finally:
            self._messages.put(None)


def _fetch_lists(
    feed: Feed, server: Server, place: Path, span: tuple[dt.datetime, dt.datetime], pool: WorkerPool
) -> Listing:
    """What the feed's lists say about the range, from copies that are kept beside the files."""
    copies = {path: place / path.rpartition("/")[2] for path in feed.lists}
    pool.run([partial(_fetch_list, server, path, copy) for path, copy in copies.items()], len(copies))
    # The copies are read line by line: the list of the quarter hours has over a million lines.
    with ExitStack() as stack:
        files = [stack.enter_context(copy.open("rb")) for copy in copies.values()]
        listing = read_lists(feed, [iterate_lines(file) for file in files], *span)
    if not listing.exports:
        raise DataError(
            f"{server.base_url + feed.lists[0]}: none of its {listing.lines} lines is about an event file of feed "
            f"{feed.name}; is {server.base_url} GDELT or a mirror of it?"
        )
    # Oldest first, so that an interrupted collection leaves a range without gaps.
    listing.files = dict(sorted(listing.files.items()))
    return listing


def _fetch_list(server: Server, path: str, copy: Path) -> None:
    try:
        server.follow(path, copy)
    except Unobtainable as error:
        raise DataError(f"{server.base_url}{path}: {error}; try again later, or another --base-url") from error


def _fetch_file(
    server: Server, feed: Feed, place: Path, put: Callable[[CollectEvent], None], listed: ListedFile
) -> None:
    target = place / feed.file_name(listed.time)
    try:
        server.fetch(feed.path(listed.time), target, listed.size, f"md5:{listed.md5}", zip_trouble)
    except Unobtainable as error:
        status = "not found" if isinstance(error, NotFound) else "failed"
        put(FetchEnded(target.name, listed.time, status, why=str(error)))
    else:
        put(FetchEnded(target.name, listed.time, "fetched", target.stat().st_size))


def _find_wanted(
    feed: Feed, listing: Listing, place: Path, verified: VerifiedFiles, on_event: Callable[[CollectEvent], None]
) -> list[ListedFile]:
    """The listed files that are not there yet. A file that differs from what is listed loses its name."""
    wanted = []
    for count, listed in enumerate(listing.files.values(), 1):
        target = place / feed.file_name(listed.time)
        if not verified.matches(target, listed):
            if target.is_dir():
                raise IsADirectoryError(errno.EISDIR, "is a folder, where a file should be", str(target))
            # As a `.part`, a link would let the download write to a file elsewhere.
            if target.is_symlink():
                target.unlink()
            elif target.exists():
                # It may be the beginning of the listed file, from which the download then continues.
                os.replace(target, target.with_name(target.name + ".part"))
            wanted.append(listed)
        on_event(FilesChecked(count, len(listing.files)))
    return wanted


def _make_report(
    feed: Feed,
    server: Server,
    place: Path,
    span: tuple[dt.datetime, dt.datetime],
    listing: Listing,
    ended: list[FetchEnded],
) -> CollectReport:
    newest = listing.newest or span[1]
    absent = [time for time in feed.times(*span) if time not in listing.files]
    not_found = sorted(end.time for end in ended if end.status == "not found")
    # Times after the newest listed file are not missing: GDELT has yet to list them.
    gaps = {"not in the list": [time for time in absent if time <= newest], "not on the server": not_found}
    ranges = [
        MissingRange(first=format_time(a), last=format_time(b), count=(b - a) // feed.step + 1, why=why)
        for why, times in gaps.items()
        for a, b in group_times(times, feed.step)
    ]
    failed = [
        FailedFile(name=end.name, url=server.base_url + feed.path(end.time), why=end.why)
        for end in sorted(ended, key=lambda end: end.time)
        if end.status == "failed"
    ]
    # Single files are missing on GDELT's server too; a server that has none of its files is not a mirror.
    nothing = bool(not_found) and len(not_found) == len(listing.files)
    return CollectReport(
        feed=feed.name,
        directory=str(place),
        first=format_time(span[0]),
        last=format_time(span[1]),
        status="incomplete" if failed or nothing else "complete",
        listed=len(listing.files),
        present=len(listing.files) - len(ended),
        fetched=sum(end.status == "fetched" for end in ended),
        bytes_fetched=sum(end.bytes for end in ended),
        failed=failed,
        missing=MissingFiles(count=sum(gap.count for gap in ranges), ranges=sorted(ranges, key=lambda gap: gap.first)),
        list=ListSummary(
            url=server.base_url + feed.lists[0],
            lines=listing.lines,
            newest=format_time(newest),
            files_after_newest=sum(time > newest for time in absent),
            duplicates=listing.duplicates,
            malformed=MalformedLines(count=listing.malformed, first=listing.shown),
        ),
    )


@contextmanager
def _explain_failures(place: Path) -> Iterator[None]:
    """Turn failures of the file system into errors of one line."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DataError(
                f"{place}: no space left; free some, then run the same again: what is there is kept"
            ) from error
        name = error.filename if error.filename is not None else place
        raise DataError(f"{name}: {error.strerror or error}; choose a folder that can be written") from error
