"""Files over HTTP: downloads resume where they broke off, are retried and checked, and appear whole or not at all."""

import hashlib
import math
import os
import random
import re
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tirgn_eqx.errors import ConfigError, DataError, shown
from tirgn_eqx.storage.atomic_write import flush
from tirgn_eqx.storage.untrusted import BROKEN, PACKED, room_for, told

if TYPE_CHECKING:
    import urllib3

CHUNK = 2**16
OVERLAP = 4096  # bytes at the end of a local list that must equal the server's to append to it
LONGEST_FILE = 2**32  # bytes; the longest known file, a list of all files, has a tenth of a GiB
PROGRESS = 2**20  # bytes; an attempt that gets this much further does not count as failed
SLOWEST = 1024  # bytes that must arrive within a timeout
_GONE = (404, 410)
# Timeout, too early, too many requests, and errors of the server or a gateway, all of which may pass.
_AGAIN = (408, 425, 429, 500, 502, 503, 504)

Tell = Callable[[dict[str, object]], None]


@dataclass(frozen=True)
class Patience:
    """How long to try when a server fails.

    - `tries`: attempts for each file; `timeout`: seconds without an answer.
    - `backoff`: seconds before the second attempt, doubled before each further one up to `longest`, and shortened by
      up to half at random.
    - `longest_asked`: a file is given up when the server asks to wait for more seconds.
    """

    tries: int = 5
    timeout: float = 30.0
    backoff: float = 1.0
    longest: float = 60.0
    longest_asked: float = 300.0

    def __post_init__(self) -> None:
        for name, low in (("tries", 1), ("timeout", 0.001), ("backoff", 0.0)):
            # Written so that NaN is refused as well.
            if not low <= getattr(self, name) < math.inf:
                raise ConfigError(f"{name} = {getattr(self, name)}: must be a number of at least {low}")


class Unobtainable(DataError):
    """A file that could not be fetched; the message says why."""


class NotFound(Unobtainable):
    """A file that the server does not have."""


class Stopped(Exception):
    """The download was told to stop; what has arrived is kept."""


class _Again(Exception):
    """An attempt failed, but another one may succeed."""

    def __init__(self, why: str, asked: float = 0.0):
        super().__init__(why)
        self.asked = asked


class Server:
    """Fetches files below `base_url`, from several threads at once.

    **Arguments:** `tell`: takes a record of every piece that arrived (`bytes`) and of every failed attempt (`retry`);
    `stop`: when set, all downloads under way end with `Stopped`.

    **Raises:** ConfigError when `base_url` is not the address of a server.
    """

    def __init__(self, base_url: str, connections: int, patience: Patience, stop: threading.Event, tell: Tell):
        self.base_url = checked_url(base_url)
        self._patience, self._stop, self._tell = patience, stop, tell
        self._pool = _pool(self.base_url, connections)
        self._not_before = 0.0

    def close(self) -> None:
        self._pool.clear()

    def fetch(
        self,
        path: str,
        place: Path,
        size: int | None,
        digest: str | None,
        trouble_of: Callable[[Path], str] = lambda part: "",
    ) -> None:
        """Fetch a file to `place`; `place` + `.part` keeps what has arrived when the download breaks off.

        **Arguments:** `path`: below the server; `size` in bytes, and `digest`, see `digest_of`: None if not known;
        `trouble_of`: what is wrong with the content of the complete file, empty for nothing.

        **Raises:** Unobtainable, NotFound, Stopped; OSError when it cannot be written.
        """
        part = place.with_name(place.name + ".part")
        if size is not None and size > LONGEST_FILE:
            raise Unobtainable(f"listed with {size:,} bytes, more than any file here may have")

        def attempt() -> None:
            self._receive(path, part, size)
            if digest is not None:
                _check(part, digest)
            if trouble := trouble_of(part):
                # It is as listed and still bad, so the server's own file is: another attempt would fetch the same
                # bytes.
                part.unlink()
                kind = "size" if digest is None else digest.partition(":")[0]
                raise Unobtainable(f"its {kind} is as listed, but {trouble}")
            publish(part, place)

        self._persist(place.name, part, attempt)

    def follow(self, path: str, place: Path) -> None:
        """Update a copy of a list that only grows, fetching only what is new where the server supports ranges.

        **Raises:** as `fetch`.
        """
        self._persist(place.name, place, lambda: self._receive(path, place, None, OVERLAP))

    def _persist(self, name: str, place: Path, attempt: Callable[[], None]) -> None:
        patience, failures, furthest = self._patience, 0, _size(place)
        while True:
            try:
                return attempt()
            except _Again as trouble:
                held = _size(place)
                if held >= furthest + PROGRESS:
                    failures, furthest = 0, held
                failures += 1
                if trouble.asked > patience.longest_asked:
                    raise Unobtainable(f"{trouble}, which asks to wait for {trouble.asked:.0f} s") from trouble
                if failures >= patience.tries:
                    raise Unobtainable(f"{trouble}, after {failures} tries") from trouble
                pause = min(patience.backoff * 2 ** (failures - 1), patience.longest)
                # Jitter: connections that failed together must not all return at the same moment.
                pause *= random.uniform(0.5, 1.0)
                self._tell({"event": "retry", "name": name, "why": str(trouble), "wait": max(pause, trouble.asked)})
                # The server asks the whole program to wait, not only the connection that it answers.
                self._not_before = max(self._not_before, time.monotonic() + trouble.asked)
                self._wait(pause)

    def _wait(self, seconds: float) -> None:
        if self._stop.wait(max(seconds, 0.0)):
            raise Stopped

    def _receive(self, path: str, place: Path, size: int | None, overlap: int = 0) -> None:
        """Fetch the rest of the file at `path` to `place`, or all of it if the server does not support ranges."""
        held = _size(place)
        if size is not None and held == size:
            return
        if held and size is not None and held > size:
            place.unlink()
            held = 0
        # For example, 10,000 bytes are here and `overlap` is 4096: ask from byte 5904 on, compare the first 4096 bytes
        # that come with the end of the file, and append the rest.
        start = max(held - overlap, 0)
        self._wait(self._not_before - time.monotonic())
        with closing(self._get(path, start if held else None)) as response:
            resumed = response.status == 206 and held > 0
            if resumed and _range_start(response) != start:
                place.unlink()
                raise _Again("the server answered with another part of it than was asked for")
            if not resumed and response.status != 200:
                raise _refused(response, place)
            # A server without ranges answers 200 with the whole file, which is then written from the beginning.
            with place.open("r+b" if resumed else "w+b") as file:
                file.seek(start if resumed else 0)
                # The overlap, empty for a file that is written anew. Reading it moves to the end, where new bytes are
                # appended.
                known = file.read()
                at = file.tell()
                for chunk in self._chunks(response):
                    # The overlap may take several chunks, and its last chunk may also hold new bytes.
                    same, chunk = chunk[: len(known)], chunk[len(known) :]
                    if not known.startswith(same):
                        place.unlink()
                        raise _Again("it is no longer what it was")
                    known = known[len(same) :]
                    file.write(chunk)
                    file.flush()
                    at += len(chunk)
                    if size is not None and at > size:
                        place.unlink()
                        raise _Again(f"it is longer than the {size} bytes that are listed")
                    if at > LONGEST_FILE:
                        place.unlink()
                        raise Unobtainable(f"it is longer than {LONGEST_FILE:,} bytes, as no file here may be")
                    self._tell({"event": "bytes", "name": place.name, "bytes": len(chunk), "held": at})
        if known or (size is not None and at < size):
            # With a Content-Length, urllib3 raises for a connection that broke off. So the server's whole file is
            # shorter than listed, and cannot be continued.
            if known or "Content-Length" in response.headers:
                place.unlink()
            raise _Again("it is shorter than it was" if known else f"it ended after {at} of the {size} bytes listed")

    def _get(self, path: str, start: int | None) -> "urllib3.BaseHTTPResponse":
        """Request the file at `path` from byte `start` on; the body of the answer is not read yet."""
        from urllib3 import Retry
        from urllib3.exceptions import HTTPError

        # urllib3 follows redirects only, because its retries would not resume where an attempt broke off.
        redirects = Retry(
            total=None, connect=0, read=0, redirect=5, status=0, other=0, respect_retry_after_header=False
        )
        # The body is not decoded: sizes, ranges and digests are those of the file as the server stores it.
        try:
            return self._pool.request(
                "GET",
                self.base_url + path,
                headers={} if start is None else {"Range": f"bytes={start}-"},
                preload_content=False,
                decode_content=False,
                retries=redirects,
                timeout=self._patience.timeout,
            )
        except HTTPError as error:
            raise _Again(_plain(error)) from error

    def _chunks(self, response: "urllib3.BaseHTTPResponse") -> Iterator[bytes]:
        from urllib3.exceptions import HTTPError

        # The timeout holds for a single read: a server that sends a byte now and then would never run into it. So at
        # least SLOWEST bytes must come within each timeout.
        since, came = time.monotonic(), 0
        while True:
            try:
                # read1 returns what has arrived, so that `stop` and the rate are checked often.
                chunk = response.read1(CHUNK, decode_content=False)
            except HTTPError as error:
                raise _Again(_plain(error)) from error
            if self._stop.is_set():
                raise Stopped
            if not chunk:
                return
            came += len(chunk)
            if (now := time.monotonic()) - since > self._patience.timeout:
                if came < SLOWEST:
                    raise _Again(f"only {came} bytes came in {self._patience.timeout:g} s")
                since, came = now, 0
            yield chunk


def checked_url(url: str) -> str:
    """The address of a server, without a slash at its end. **Raises:** ConfigError for anything else."""
    try:
        parts = urlsplit(url)
        # `parts.port` raises ValueError for a port that is no number below 2**16.
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        usable = False
    else:
        usable = usable and url.isascii() and url.isprintable() and not (parts.query or parts.fragment or " " in url)
    if not usable:
        raise ConfigError(
            f"base URL {shown(url)}: not the address of a server; write it like http://data.gdeltproject.org"
        )
    return url.rstrip("/")


def _pool(url: str, connections: int) -> "urllib3.PoolManager":
    """Connections to the server of `url`, through the proxy that the environment names, if any."""
    from urllib.request import getproxies, proxy_bypass

    import urllib3

    parts = urlsplit(url)
    headers = {"User-Agent": "tirgn-eqx"}
    # urllib3 takes no proxies from the environment by itself.
    proxy = getproxies().get(parts.scheme)
    if proxy is None or proxy_bypass(parts.hostname or ""):
        return urllib3.PoolManager(maxsize=connections, headers=headers)
    # The variables often hold HOST:PORT without a scheme.
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    return urllib3.ProxyManager(proxy, maxsize=connections, headers=headers)


def _size(place: Path) -> int:
    """Bytes of a file, 0 where there is none; a link is removed, because it may lead elsewhere."""
    if place.is_symlink():
        place.unlink()
    try:
        return place.stat().st_size
    except FileNotFoundError:
        return 0


def _range_start(response: "urllib3.BaseHTTPResponse") -> int | None:
    match = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""), re.ASCII)
    return int(match[1]) if match else None


def _refused(response: "urllib3.BaseHTTPResponse", place: Path) -> Exception:
    """The error that an answer without the file means."""
    status = response.status
    if status in _GONE:
        return NotFound(f"not found (HTTP {status})")
    # The part is at least as long as the server's file, so it is not a beginning of it: start again.
    if status == 416:
        place.unlink(missing_ok=True)
        return _Again("the server's file is no longer than the part that is here (HTTP 416)")
    if status not in _AGAIN:
        return Unobtainable(f"refused (HTTP {status})")
    return _Again(f"HTTP {status}", _asked(response))


def _asked(response: "urllib3.BaseHTTPResponse") -> float:
    """Seconds that the server asks to wait; 0 when it does not ask."""
    from urllib3 import Retry
    from urllib3.exceptions import InvalidHeader

    # The header holds either seconds or a date; urllib3 reads both.
    try:
        return float(Retry().get_retry_after(response) or 0.0)
    except (InvalidHeader, ValueError, OverflowError):
        return 0.0


def _plain(error: Exception) -> str:
    """An error of the connection in a few words."""
    from urllib3 import exceptions as known

    if isinstance(error, known.MaxRetryError) and error.reason is not None:
        error = error.reason
    for kinds, words in (
        ((known.NameResolutionError,), "the name of the server is not known"),
        ((known.NewConnectionError, known.ProxyError), "no connection"),  # urllib3 counts the first as a timeout
        ((known.TimeoutError,), "no answer in time"),
        ((known.IncompleteRead, known.ProtocolError), "the connection broke off"),
        ((known.ResponseError,), "too many redirects"),
    ):
        if isinstance(error, kinds):
            return words
    return f"{type(error).__name__}: {error}"


def digest_of(path: Path, kind: str) -> str:
    """`md5:...`, `sha256:...`, or `git:...` (the id of a git blob of this content), in hexadecimal digits."""
    with path.open("rb") as file:
        if kind != "git":
            # `usedforsecurity=False`: systems in FIPS mode refuse MD5 and SHA-1 otherwise.
            make = (lambda: hashlib.md5(usedforsecurity=False)) if kind == "md5" else hashlib.sha256
            return f"{kind}:{hashlib.file_digest(file, make).hexdigest()}"
        # Git hashes `blob SIZE`, a zero byte, then the content.
        found = hashlib.sha1(b"blob %d\0" % os.fstat(file.fileno()).st_size, usedforsecurity=False)
        while chunk := file.read(1 << 20):
            found.update(chunk)
    return f"git:{found.hexdigest()}"


def _check(part: Path, digest: str) -> None:
    """Compare a file with its expected digest. **Raises:** _Again when it differs; the file is then removed."""
    kind, _, wanted = digest.partition(":")
    found = digest_of(part, kind).partition(":")[2]
    if found != wanted:
        part.unlink()
        raise _Again(f"its {kind} is {found}, listed is {wanted}")


def zip_trouble(path: Path) -> str:
    """What is wrong with a zip file that should contain one sound file; empty when nothing is."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if len(members) != 1:
                return f"the zip holds {len(members)} files instead of one"
            most = room_for(path.stat().st_size)
            if members[0].compress_type not in PACKED or members[0].file_size > most:
                return f"the file in the zip is not deflated text of at most {most:,} bytes"
            return "the file in the zip is damaged" if archive.testzip() else ""
    except BROKEN as error:
        return f"it is no sound zip ({told(error)})"


def publish(part: Path, place: Path) -> None:
    """Rename a checked file to its final name, after flushing it to the disk."""
    flush(part)
    os.replace(part, place)
    flush(place.parent)
