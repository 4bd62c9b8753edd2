"""Lines of several widths: order, repairs, and what is noted of them."""

from tests.ingest.archive_files import ICEWS_HEADER, icews
from tirgn_eqx.ingest.formats import FORMATS
from tirgn_eqx.ingest.lines import parse_lines
from tirgn_eqx.ingest.options import IngestOptions

FORM = FORMATS["icews"].lines(IngestOptions("icews"), ICEWS_HEADER)


def test_rows_and_rejects_of_all_widths_are_in_the_order_of_the_lines():
    wide = icews(2).replace(b"\n", b"\t\n")
    found = parse_lines(icews(1) + wide + b"bad\n\n" + icews(3) + wide.replace(b"Reuters", b'"a\tb"') + b"\n", FORM)
    assert found.frame.select("EventID", "line").rows() == [(1, 0), (2, 1), (3, 4), (2, 5)]
    assert [reject.line for reject in found.rejects] == [2]
    assert found.filled.tolist() == [True, True, True, False, True, True, False]
    assert found.fitting.tolist() == [True, True, False, False, True, True, False]
    assert found.noted["trailing_tabs"] == 1 and found.noted["quoted"] == 1
    assert found.days.tolist() == [16_071] and found.quarters.tolist() == []


def test_lines_without_rows_have_the_columns_of_others():
    empty, full = parse_lines(b"", FORM), parse_lines(icews(1), FORM)
    assert empty.frame.schema == full.frame.schema and len(empty.frame) == 0 and len(full.frame) == 1


def test_a_repaired_line_keeps_letters_that_are_not_ascii():
    # In Latin-1, the second byte of a grave is a space.
    for name, latin1 in ((b"Jos\xc3\xa9 \xc3\xa0", 0), (b"Jos\xe9 \xe0", 1)):
        found = parse_lines(icews(1, Publisher='"a\tb"', Source_Name="NAME").replace(b"NAME", name), FORM)
        assert found.frame["actor1"].to_list() == ["José à"] and found.latin1 == latin1
