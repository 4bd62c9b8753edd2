"""The sources of events by name."""

from tirgn_eqx.ingest.gdelt_rows import GDELT
from tirgn_eqx.ingest.icews_rows import ICEWS
from tirgn_eqx.ingest.polecat_rows import POLECAT

FORMATS = {source.source: source for source in (GDELT, ICEWS, POLECAT)}


def recognize(line: bytes) -> str:
    """Of which source the first line of a file is, with what to do, for a message; empty if it is of none."""
    found = next((source for source in FORMATS.values() if source.recognizes(line)), None)
    return "" if found is None else f"a file of {found.title}; give --source {found.source}"
