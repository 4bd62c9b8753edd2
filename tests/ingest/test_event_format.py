"""The columns of a source's table."""

import polars as pl

from tirgn_eqx.ingest.event_format import ATTRIBUTES
from tirgn_eqx.ingest.gdelt_rows import GDELT
from tirgn_eqx.ingest.options import IngestOptions


def test_attributes_stand_between_the_fact_and_the_rest():
    plain, more = (GDELT.schema(IngestOptions(attributes=wanted)) for wanted in (False, True))
    assert list(more) == [*list(plain)[:4], *ATTRIBUTES, *list(plain)[4:]]
    assert plain["timestamp"] == pl.Datetime("us") and set(plain) | set(ATTRIBUTES) == set(more)
    assert GDELT.id_column == "GlobalEventID" and GDELT.sort_key == ("timestamp", "GlobalEventID")
