"""The files of a range of time, fetched several at once; what is there already is not fetched again."""

import datetime as dt
import errno
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tirgn_eqx.errors import ConfigError, DataError
from tirgn_eqx.gdelt import feed as feeds
from tirgn_eqx.gdelt.feed import BASE_URL, Feed, Listed, Listing, iso
from tirgn_eqx.gdelt.verified import Verified
from tirgn_eqx.storage.download import NotFound, Patience, Server, Stopped, Tell, Unobtainable, zip_trouble
from tirgn_eqx.storage.locks import exclusive_lock

RECORD = "collected.json"
LOCK = ".collect.lock"
PATIENCE = Patience()


def collect(
    directory: str | Path,
    start: dt.datetime,
    end: dt.datetime,
    *,
    feed: str = "v2",
    base_url: str = BASE_URL,
    workers: int = 6,
    patience: Patience = PATIENCE,
    on_record: Callable[[dict[str, Any]], None] | None = None,
) -> dict[str, Any]:
    """Fetch the event files of a feed from `start` to `end` into a folder.

    A file gets its name only when its size and md5 are as listed and its zip is sound; until then it is a `.part`
    file, which another call goes on with. One file that cannot be had does not keep the others back. Interrupted at
    any point, another call goes on from there.

    **Arguments:** `start`, `end`: with a time zone, both included; `feed`: `v2` (each quarter hour) or `v1` (each
    day); `base_url`: GDELT's server or a mirror with the same paths; `workers`: files fetched at a time;
    `on_record`: takes what happens as it does, in the calling thread: events `list`, `check`, `start`, `bytes`,
    `retry` and `file`.

    **Returns:** what is there and what is not. `status` is `complete` when every file that is listed is there, apart
    from a few that the server does not have; those and the ones absent from the list are `missing`. It is
    `incomplete` when files could not be had, `failed`, or when the server has none of the files that it lists.

    **Raises:** ConfigError for a range without files or an impossible setting; DataError when the lists cannot be had
    or are none, when the folder cannot be written, or when another call is at work in it.
    """
    known = feeds.named_feed(feed)
    if workers < 1:
        raise ConfigError(f"workers = {workers}: must be at least 1")
    span = feeds.time_range(known, start, end, dt.datetime.now(dt.UTC))
    tell, began, place = on_record or (lambda record: None), time.monotonic(), Path(directory)
    messages: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    stop = threading.Event()
    server = Server(base_url, workers, patience, stop, messages.put)
    ends: list[dict[str, Any]] = []

    def heard(record: dict[str, Any]) -> None:
        if record["event"] == "file":
            ends.append(record)
        tell(record)

    busy = DataError(f"{place}: another collection is at work here; wait for it, or use another folder")
    with _in_words(place), exclusive_lock(place / LOCK, busy):
        verified = Verified(place / RECORD)
        crew = Crew(messages, stop)
        try:
            listing = _lists(known, server, place, span, crew, tell)
            wanted = _wanted(known, listing, place, verified, tell)
            totals = {"files": len(wanted), "bytes": sum(listed.size or 0 for listed in wanted)}
            tell({"event": "start", "listed": len(listing.files), "directory": str(place)} | totals)
            crew.run([_job(server, known, place, listed, messages.put) for listed in wanted], workers, heard)
        finally:
            stop.set()
            server.close()
            with suppress(OSError):  # without a record, files are only read once more
                verified.save()
    result = {"feed": feed, "directory": str(place), "from": iso(span[0]), "to": iso(span[1])}
    return result | _outcome(known, server, listing, span, ends) | {"seconds": time.monotonic() - began}


class Crew:
    """Threads that do jobs and put records of them into `messages`, and end when `stop` is set."""

    def __init__(self, messages: "queue.SimpleQueue[dict[str, Any]]", stop: threading.Event):
        self._messages, self._stop = messages, stop

    def run(self, jobs: list[Callable[[], None]], workers: int, tell: Tell) -> None:
        """Do the jobs, `workers` at a time, and hand their records to `tell`; the first error ends all and is raised.

        An interruption is raised at once: a thread that waits for a server is left behind, and does nothing more
        when its wait is over.
        """
        tasks: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        for job in jobs:
            tasks.put(job)
        count = min(workers, len(jobs))
        threads = [threading.Thread(target=self._work, args=(tasks,), daemon=True) for _ in range(count)]
        for thread in threads:
            thread.start()
        error, busy = None, len(threads)
        try:
            while busy:
                record = self._messages.get()
                busy -= record["event"] == "idle"
                if record["event"] == "error":
                    error = error or record["error"]
                elif record["event"] != "idle":
                    tell(record)
        finally:
            if busy:
                self._stop.set()
            until = time.monotonic() + 1.0
            for thread in threads:
                thread.join(max(until - time.monotonic(), 0.0))
        if error is not None:
            raise error

    def _work(self, tasks: "queue.SimpleQueue[Callable[[], None]]") -> None:
        try:
            while not self._stop.is_set():
                tasks.get_nowait()()
        except (queue.Empty, Stopped):
            pass
        except BaseException as error:
            self._stop.set()
            self._messages.put({"event": "error", "error": error})
        finally:
            self._messages.put({"event": "idle"})


def _lists(
    feed: Feed, server: Server, place: Path, span: tuple[dt.datetime, dt.datetime], crew: Crew, tell: Tell
) -> Listing:
    """What the feed's lists say about the range, from copies that are kept beside the files."""
    copies = [place / path.rpartition("/")[2] for path in feed.lists]

    def job(path: str, copy: Path) -> Callable[[], None]:
        def follow() -> None:
            try:
                server.follow(path, copy)
            except Unobtainable as error:
                url = server.base_url + path
                raise DataError(f"{url}: {error}; try again later, or another --base-url") from error

        return follow

    def heard(record: dict[str, Any]) -> None:
        tell(record | {"event": "list"} if record["event"] == "bytes" else record)

    crew.run([job(path, copy) for path, copy in zip(feed.lists, copies)], len(copies), heard)
    files = [copy.open("rb") for copy in copies]
    try:
        listing = feeds.read_lists(feed, [feeds.lines_of(file) for file in files], *span)
    finally:
        for file in files:
            file.close()
    if not listing.exports:
        raise DataError(
            f"{server.base_url + feed.lists[0]}: none of its {listing.lines} lines is about an event file of feed "
            f"{feed.name}; is {server.base_url} GDELT or a mirror of it?"
        )
    listing.files = dict(sorted(listing.files.items()))
    return listing


def _job(server: Server, feed: Feed, place: Path, listed: Listed, tell: Tell) -> Callable[[], None]:
    """The fetching of one file; its end is told as a record."""
    target = place / feed.file_name(listed.moment)

    def fetch() -> None:
        record = {"event": "file", "name": target.name, "moment": listed.moment, "status": "fetched", "why": ""}
        try:
            server.fetch(feed.path(listed.moment), target, listed.size, f"md5:{listed.md5}", zip_trouble)
            record["bytes"] = target.stat().st_size
        except NotFound as error:
            record |= {"status": "not found", "why": str(error), "bytes": 0}
        except Unobtainable as error:
            record |= {"status": "failed", "why": str(error), "bytes": 0}
        tell(record)

    return fetch


def _wanted(feed: Feed, listing: Listing, place: Path, verified: Verified, tell: Tell) -> list[Listed]:
    """The listed files that are not there yet; what bears the name of one and is not it, loses the name."""
    wanted = []
    for count, listed in enumerate(listing.files.values(), 1):
        target = place / feed.file_name(listed.moment)
        if not verified.holds(target, listed):
            if target.is_dir():
                raise IsADirectoryError(errno.EISDIR, "is a folder, where a file should be", str(target))
            if target.is_symlink():
                target.unlink()
            elif target.exists():
                # Perhaps the beginning of it, with which the download then goes on.
                os.replace(target, target.with_name(target.name + ".part"))
            wanted.append(listed)
        tell({"event": "check", "checked": count, "files": len(listing.files)})
    return wanted


def _outcome(
    feed: Feed,
    server: Server,
    listing: Listing,
    span: tuple[dt.datetime, dt.datetime],
    ends: list[dict[str, Any]],
) -> dict[str, Any]:
    """The counts of a collection, what is missing and what failed."""
    newest = listing.newest or span[1]
    absent = [moment for moment in feed.moments(*span) if moment not in listing.files]
    by_status = {
        status: [end for end in ends if end["status"] == status] for status in ("fetched", "not found", "failed")
    }
    not_found = sorted(end["moment"] for end in by_status["not found"])
    gaps = {"not in the list": [moment for moment in absent if moment <= newest], "not on the server": not_found}
    missing: list[dict[str, Any]] = [
        run | {"why": why} for why, moments in gaps.items() for run in feeds.ranges(moments, feed.step)
    ]
    failed = [
        {"name": end["name"], "url": server.base_url + feed.path(end["moment"]), "why": end["why"]}
        for end in sorted(by_status["failed"], key=lambda end: end["moment"])
    ]
    nothing = bool(not_found) and len(not_found) == len(listing.files)
    return {
        "status": "incomplete" if failed or nothing else "complete",
        "listed": len(listing.files),
        "present": len(listing.files) - len(ends),
        "fetched": len(by_status["fetched"]),
        "bytes_fetched": sum(end["bytes"] for end in by_status["fetched"]),
        "failed": failed,
        "missing": {
            "count": sum(run["count"] for run in missing),
            "ranges": sorted(missing, key=lambda run: run["from"]),
        },
        "list": {
            "url": server.base_url + feed.lists[0],
            "lines": listing.lines,
            "newest": iso(newest),
            "files_after_newest": sum(moment > newest for moment in absent),
            "duplicates": listing.duplicates,
            "malformed": {"count": listing.malformed, "first": listing.shown},
        },
    }


@contextmanager
def _in_words(place: Path) -> Iterator[None]:
    """Failures of the file system as errors of one line."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DataError(
                f"{place}: no space left; free some, then run the same again: what is there is kept"
            ) from error
        name = error.filename if error.filename is not None else place
        raise DataError(f"{name}: {error.strerror or error}; choose a folder that can be written") from error
