"""What `tirgn data collect` shows while it works."""

import datetime as dt
import io

from rich.console import Console

from tirgn_cli.collect_view import CollectView
from tirgn_eqx.gdelt.collect import BytesFetched, FetchEnded, FetchRetried, FetchStarted, ListRead


def test_the_display():
    def view(terminal):
        console = Console(file=io.StringIO(), force_terminal=terminal, width=100, color_system=None)
        now = [0.0]
        shown = CollectView(console=console, clock=lambda: now[0])
        time = dt.datetime(2020, 11, 15)
        with shown:
            shown(ListRead("masterfilelist.txt", 2048))
            assert "2.0 KiB" in shown._status
            shown(FetchStarted(listed=3, files=2, bytes=4096, directory="raw"))
            now[0] = 31.0
            shown(BytesFetched("a.zip.part", bytes=1024, held=1024))
            shown(FetchRetried("a.zip", "HTTP 500", 2.0))
            shown(BytesFetched("a.zip.part", bytes=2048, held=2048))
            console.print(shown._render())
            shown(FetchEnded("a.zip", time, "fetched", 2048))
            shown(FetchEnded("b.zip", time, "failed", why="HTTP 500"))
        return console.file.getvalue()

    lines = view(False)
    assert "3 files listed, 1 there already, 2 to fetch (4.0 KiB) into raw" in lines
    assert "0 of 2 files  1.0 KiB of 4.0 KiB  33 B/s  ETA 0:01:33" in lines
    assert "0 of 2 files  2.0 KiB of 4.0 KiB  99 B/s  ETA 20.7 s" in lines
    assert "b.zip: HTTP 500" in lines and "again in" not in lines
    assert "a.zip: HTTP 500; again in 2.0 s" in view(True)
