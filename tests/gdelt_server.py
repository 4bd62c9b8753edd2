"""A GDELT server on this machine that misbehaves as told."""

import datetime as dt
import hashlib
import io
import re
import sys
import threading
import zipfile
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.helpers import DATASETS
from tirgn_eqx.gdelt.feed import FEEDS, Feed

FIRST = dt.datetime(2020, 11, 15, 7, tzinfo=dt.UTC)
ORIGIN = "http://data.gdeltproject.org"


def rows(index: int) -> bytes:
    """Real rows where they are at hand, else rows of the same 61 columns."""
    files = sorted((DATASETS / "gdelt_raw" / "v2").glob("*.export.CSV"))
    if files:
        with files[index % len(files)].open("rb") as file:
            return b"".join(file.readline() for _ in range(20))
    return b"".join(b"\t".join(b"%d" % (index * row * column) for column in range(61)) + b"\n" for row in range(20))


def zipped(name: str, content: bytes, members: int = 1) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for index in range(members):
            archive.writestr(zipfile.ZipInfo(name.removesuffix(".zip") + str(index or "")), content)
    return file.getvalue()


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        """A client that hangs up between two requests is no error; all else is printed."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class GDELT:
    """Serves `files` (path -> bytes); `tricks` (path -> list) say how the next requests of a path go wrong.

    A trick is a status, (status, headers), ("cut", n): the connection ends after n bytes of the body, ("lie", n): the
    length given is n more, ("hold", event): the second half waits for the event, ("trickle", seconds): between every
    20 bytes, or "whole": Range is not heeded.
    `requests` are (path, Range) as they came.
    """

    def __init__(self):
        self.files: dict[str, bytes] = {}
        self.tricks: dict[str, list] = {}
        self.requests: list[tuple[str, str | None]] = []
        self.ranges = True
        self.end = threading.Event()
        self.reached = threading.Event()
        gdelt = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format, *args):
                pass

            def do_GET(self):
                with suppress(OSError):
                    gdelt.answer(self)

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self.thread.start()

    def close(self):
        self.end.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def add(self, count: int, feed: str = "v2") -> list[str]:
        """Puts the first `count` files of a feed on the server and in its list; returns their names."""
        known = FEEDS[feed]
        start = FIRST if feed == "v2" else FIRST.replace(hour=0)
        moments = [start + index * known.step for index in range(count)]
        for index, moment in enumerate(moments):
            self.files[known.path(moment)] = zipped(known.file_name(moment), rows(index))
        self.write_lists(known)
        return [known.file_name(moment) for moment in moments]

    def write_lists(self, feed: Feed, *more: str) -> None:
        """The list of what is there, and further lines as they are given."""
        files = {path: content for path, content in self.files.items() if path.endswith(".export.CSV.zip")}
        if feed.name == "v2":
            lines = [f"{len(content)} {md5(content)} {ORIGIN}{path}" for path, content in files.items()]
            self.files[feed.lists[0]] = "".join(f"{line}\n" for line in (*lines, *more)).encode()
        else:
            names = {path.rpartition("/")[2]: content for path, content in files.items()}
            self.files[feed.lists[0]] = "".join(f"{md5(c)}  {n}\n" for n, c in names.items()).encode()
            self.files[feed.lists[1]] = "".join(f"{len(c)} {n}\n" for n, c in names.items()).encode()

    def count(self, name: str) -> int:
        return sum(path.endswith(f"/{name}") for path, _ in self.requests)

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        asked = handler.headers.get("Range")
        self.requests.append((handler.path, asked))
        tricks = self.tricks.get(handler.path)
        trick = tricks.pop(0) if tricks else None
        if isinstance(trick, int):
            trick = (trick, {})
        if isinstance(trick, tuple) and isinstance(trick[0], int):
            return self.send(handler, trick[0], trick[1], b"")
        content = self.files.get(handler.path)
        if content is None:
            return self.send(handler, 404, {}, b"not here")
        headers, status, body = {}, 200, content
        match = re.fullmatch(r"bytes=(\d+)-", asked or "")
        if match and self.ranges and trick != "whole":
            start = int(match[1])
            if start >= len(content):
                return self.send(handler, 416, {"Content-Range": f"bytes */{len(content)}"}, b"")
            status, body = 206, content[start:]
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        self.send(handler, status, headers, body, trick if isinstance(trick, tuple) else None)

    def send(self, handler, status, headers, body, trick=None):
        kind, value = trick or ("", None)
        handler.send_response(status)
        for name, text in headers.items():
            handler.send_header(name, text)
        handler.send_header("Content-Length", str(len(body) + (value if kind == "lie" else 0)))
        handler.end_headers()
        if kind == "cut":
            body = body[:value]
        if kind == "hold":
            handler.wfile.write(body[: len(body) // 2])
            handler.wfile.flush()
            self.reached.set()
            while not (value.wait(0.02) or self.end.is_set()):
                pass
            body = body[len(body) // 2 :]
        if kind == "trickle":
            for at in range(0, len(body), 20):
                handler.wfile.write(body[at : at + 20])
                self.end.wait(value)
            return
        handler.wfile.write(body)
        if kind in ("cut", "lie"):
            handler.close_connection = True
