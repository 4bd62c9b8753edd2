"""Take the first line off files whose columns it names."""

from collections.abc import Iterator

from tirgn_eqx.ingest.event_format import EventFormat
from tirgn_eqx.ingest.formats import recognize
from tirgn_eqx.ingest.lines import LineForm
from tirgn_eqx.ingest.options import IngestOptions
from tirgn_eqx.ingest.sources import Block, Source, Unreadable, read_first_lines


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

        Of an archive with several files, those that are no tables, such as a list of its contents, are left out.

        **Raises:** Unreadable for a table of another source, or without a column, and where there is no table.
        """
        if not self._source.headed:
            yield from blocks
            return
        part, header, usable = None, b"", True
        for block in blocks:
            data = block.data
            if block.part != part:
                if part is None:
                    # All of them before the first block: a file that cannot be read contributes nothing.
                    self._check(source, block)
                part = block.part
                header, _, data = data.partition(b"\n")
                usable = self._find_fault(header) == ""
            if usable:
                yield Block(block.part, data, header)

    def _check(self, source: Source, first: Block) -> None:
        """**Raises:** Unreadable for a file of which a part, or of which no part, can be read."""
        alone = first.part == source.name
        headers = [first.data.partition(b"\n")[0]] if alone else list(read_first_lines(source))
        faults = [(header, fault) for header in headers if (fault := self._find_fault(header))]
        for header, fault in faults:
            if alone or b"\t" in header or len(faults) == len(headers):
                raise Unreadable(fault)

    def _find_fault(self, header: bytes) -> str:
        """Why lines under a first line cannot be read, or an empty text."""
        try:
            self.form(header)
        except Unreadable as error:
            # A first line of this source may lack a column.
            return ("" if self._source.recognizes(header) else recognize(header)) or str(error)
        return ""
