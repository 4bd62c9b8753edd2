"""Tables of 80 columns, and how durations and sizes are written."""

import pytest

from tirgn_cli import tables


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.0, "0.0 s"), (12.34, "12.3 s"), (59.97, "0:01:00"), (3725, "1:02:05"), (float("inf"), "-")]
)
def test_durations(seconds, text):
    assert tables.format_duration(seconds) == text


@pytest.mark.parametrize(("number", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 * 2**40, "5.0 TiB")])
def test_sizes(number, text):
    assert tables.format_size(number) == text


def test_tables_fit_80_columns_and_keep_brackets(capsys):
    rows = [["entity, [bold]raw", *[0.123456] * 5], ["with a long name " * 4, *[1234567] * 5]]
    tables.print_table(tables.make_table("title [x]", ["", *tables.METRICS.values()], rows, "caption [y]"))
    text = capsys.readouterr().out
    assert all(len(line) <= 80 for line in text.splitlines())
    assert "0.1235" in text and "[bold]raw" in text and "title [x]" in text and "caption [y]" in text
