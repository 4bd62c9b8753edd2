"""Take the first line off files whose columns it names."""

from collections.abc import Iterator

from tirgn_eqx.ingest.event_format import EventFormat
from tirgn_eqx.ingest.formats import recognize
from tirgn_eqx.ingest.lines import LineForm
from tirgn_eqx.ingest.options import IngestOptions
from tirgn_eqx.ingest.sources import Block, Source, Unreadable


class HeaderReader:
    """Takes the first line off files, and knows how lines under it are read. Other sources' files stay as they are."""

    def __init__(self, source: EventFormat, options: IngestOptions):
        self._source, self._options = source, options
        self._forms: dict[bytes, LineForm] = {}

    def form(self, header: bytes) -> LineForm:
        """How the lines under a first line are read. **Raises:** Unreadable for one of another source."""
        if header not in self._forms:
            self._forms[header] = self._source.lines(self._options, header)
        return self._forms[header]

    def split(self, source: Source, blocks: Iterator[Block]) -> Iterator[Block]:
        """The blocks of a file with their header.

        Of an archive with several files, those that are not of this source, such as a list of its contents, are left
        out.

        **Raises:** Unreadable where no file is of this source.
        """
        if not self._source.headed:
            yield from blocks
            return
        part, header, usable = None, b"", False
        fault: Unreadable | None = None
        for block in blocks:
            data = block.data
            if block.part != part:
                part, usable = block.part, True
                header, _, data = data.partition(b"\n")
                try:
                    self.form(header)
                except Unreadable as error:
                    usable = False
                    fault = fault or Unreadable(f"{error}{recognize(header)}")
                    if part == source.name:
                        raise fault from error
            if usable:
                fault = None
                yield Block(block.part, data, header)
        if fault is not None:
            raise fault
