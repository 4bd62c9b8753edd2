"""The tables of the documentation are what the records say."""

import pytest

from tools.docs import tables, tables_readme


def test_the_results_page_is_what_the_records_say():
    assert tables.PAGE.read_text() == tables.page(), "run: python -m tools.docs.tables"
    assert tables.tables_readme.README.read_text() == tables.readme(), "run: python -m tools.docs.tables"


def test_tables_are_put_between_their_marks_alone():
    text = "before\n<!-- speed: tools/docs/tables.py -->\nold\n<!-- end of speed -->\nafter\n"
    made = tables_readme.put("speed", "| new |\n", text)
    assert made == text.replace("old\n", "| new |\n")
    with pytest.raises(AssertionError, match="no marks of accuracy"):
        tables_readme.put("accuracy", "", text)


def test_a_table_has_a_line_for_each_row():
    assert tables_readme.rows_table(["a", "b"], [[1, "x"]]) == "| a | b |\n| --- | --- |\n| 1 | x |\n"
