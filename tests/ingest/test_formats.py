"""The sources of events: each knows its own files, and no other's."""

import pytest

from tests.ingest.archive_files import ICEWS_HEADER, POLECAT_HEADER
from tests.ingest.raw_rows import raw
from tirgn_eqx.ingest.formats import FORMATS, recognize
from tirgn_eqx.ingest.options import CHOICES, IngestOptions

LINES = {"gdelt": raw(1), "icews": ICEWS_HEADER, "polecat": POLECAT_HEADER}


def test_every_source_of_the_options_has_a_format():
    assert list(FORMATS) == list(CHOICES)


@pytest.mark.parametrize("source", FORMATS)
def test_a_source_recognizes_its_own_files_alone(source):
    assert {name for name, line in LINES.items() if FORMATS[source].recognizes(line)} == {source}
    assert recognize(LINES[source]).endswith(f"give --source {source}")


def test_what_is_of_no_source_is_not_recognized():
    assert recognize(b"a,b,c\n") == recognize(b"") == ""


@pytest.mark.parametrize(
    ("source", "name", "taken"),
    [
        *(("gdelt", name, True) for name in ("20200101001500.export.CSV", "20200101.export.CSV.zip", "a.csv")),
        *(("gdelt", name, False) for name in ("20200101001500.mentions.CSV.zip", ".a.csv", "a.tab")),
        *(("icews", name, True) for name in ("events.2014.20160121105408.tab", "20190309-icews-events.zip", "a.gz")),
        *(("icews", name, False) for name in ("codebook.pdf", "README.txt", ".a.tab")),
        *(("polecat", name, True) for name in ("ngecEvents.DV.2018.txt", "ngecEventsDV-2022.txt.zip")),
        *(("polecat", name, False) for name in ("manual.pdf", ".ngecEvents.txt")),
    ],
)
def test_files_of_a_folder_that_are_taken(source, name, taken):
    assert bool(FORMATS[source].names.search(name)) is taken


@pytest.mark.parametrize("source", FORMATS)
def test_the_last_column_is_the_id_by_which_a_table_is_sorted(source):
    kept = FORMATS[source]
    schema = kept.schema(IngestOptions(source, attributes=True))
    assert list(schema)[:4] == ["entity1", "relation", "entity2", "timestamp"] and list(schema)[-1] == kept.id_column
    assert kept.sort_key == ("timestamp", kept.id_column)
    assert len(schema) == 4 + len(kept.schema(IngestOptions(source)))
