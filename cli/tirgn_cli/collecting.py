"""The records of a collection as a live display on a terminal, and as plain lines anywhere else."""

from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tirgn_cli import show
from tirgn_cli.view import Record, View

SECONDS_BETWEEN_LINES = 30.0


class CollectingView(View):
    """Shows the records of `collect(on_record=...)`."""

    def __init__(self, **options: Any):
        super().__init__(**options)
        self._files = self._total = self._ended = self._bytes_ended = self._came = 0
        self._parts: dict[str, int] = {}
        self._started: float | None = None
        self._doing = "reading the list"

    def _line(self, *parts: str) -> None:
        self._last_line = self._clock()
        super()._line(*parts)

    def _sometimes(self, *parts: str) -> None:
        if self._live is None and self._clock() - self._last_line >= SECONDS_BETWEEN_LINES:
            self._line(*parts)

    def _on_list(self, record: Record) -> None:
        self._doing = f"reading {record['name']}: {show.size(record['held'])}"
        self._sometimes(self._doing)

    def _on_check(self, record: Record) -> None:
        self._doing = f"checking what is there: {record['checked']:,} of {record['files']:,} files"
        self._sometimes(self._doing)

    def _on_start(self, record: Record) -> None:
        self._files, self._total, self._started = record["files"], record["bytes"], self._clock()
        there = record["listed"] - record["files"]
        self._line(
            f"{record['listed']:,} files listed, {there:,} there already, {self._files:,} to fetch "
            f"({show.size(self._total)}) into {record['directory']}"
        )

    def _on_bytes(self, record: Record) -> None:
        self._came += record["bytes"]
        self._parts[record["name"]] = record["held"]
        self._sometimes(*self._figures())

    def _on_retry(self, record: Record) -> None:
        self._parts.pop(f"{record['name']}.part", None)
        if self._live is not None or self._started is None:
            self._line(f"{record['name']}: {record['why']}; again in {show.duration(record['wait'])}")

    def _on_file(self, record: Record) -> None:
        self._parts.pop(f"{record['name']}.part", None)
        self._ended += 1
        self._bytes_ended += record["bytes"]
        if record["status"] != "fetched":
            self._line(f"{record['name']}: {record['why']}")
        self._sometimes(*self._figures())

    def _figures(self) -> list[str]:
        """Files and bytes that are there, bytes per second, and the time to go."""
        held = self._bytes_ended + sum(self._parts.values())
        seconds = self._clock() - self._started if self._started is not None else 0.0
        parts = [f"{self._ended:,} of {self._files:,} files", f"{show.size(held)} of {show.size(self._total)}"]
        if seconds > 0 and self._came:
            rate = self._came / seconds
            parts += [f"{show.size(rate)}/s", f"ETA {show.duration(max(self._total - held, 0) / rate)}"]
        return parts

    def _render(self) -> RenderableType:
        """The live display: a bar and the running figures."""
        if self._started is None:
            return Text(self._doing)
        bar = Table.grid(padding=(0, 1), expand=True)
        bar.add_column(ratio=1)
        bar.add_column(no_wrap=True, justify="right")
        share = self._ended / self._files if self._files else 1.0
        bar.add_row(show.bar(self._files, self._ended), f"{share:.0%}")
        return Group(bar, Text("  ".join(self._figures())))
