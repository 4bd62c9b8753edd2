"""Files of queries: read in every form that spreadsheets write, or refused with file, row and what to do."""

import csv
import io

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tirgn_eqx.data.graph import from_facts
from tirgn_eqx.errors import DataError
from tirgn_eqx.forecast.names import Names
from tirgn_eqx.forecast.queries import PARTS, asks_for_facts, check_names, read_queries

ROWS = [("China", "Consult", None), (None, "Make statement", "Côte d'Ivoire"), ('Ali "X" Khan', None, "Korea, South")]


def written(rows, separator=",", ends="\n", **options):
    """The text of a file of queries."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, delimiter=separator, lineterminator=ends, **options)
    writer.writerows([PARTS, *(["" if cell is None else cell for cell in row] for row in rows)])
    return buffer.getvalue()


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_the_same_queries_in_every_form(tmp_path, separator, ends, encoding):
    path = tmp_path / "q.csv"
    path.write_bytes(written(ROWS, separator, ends).encode(encoding))
    assert read_queries(path).rows() == ROWS
    path.write_bytes(written(ROWS, separator, ends, quoting=csv.QUOTE_ALL).rstrip().encode(encoding))
    assert read_queries(path).rows() == ROWS


def test_other_columns_other_orders_and_empty_lines_change_nothing(tmp_path):
    path = tmp_path / "q.txt"
    path.write_text("\n\t\n Object\tnote\tRELATION\t'subject'\n\n\t,\tConsult\tChina\n   \nKorea\tx\t\tIran\n")
    assert read_queries(path).rows() == [("China", "Consult", None), ("Iran", None, "Korea")]


def test_a_parquet_file_is_read(tmp_path):
    pl.DataFrame(ROWS, list(PARTS), orient="row").write_parquet(tmp_path / "q.parquet")
    assert read_queries(tmp_path / "q.parquet").rows() == ROWS


def test_whole_facts_are_told_from_queries(tmp_path):
    path = tmp_path / "q.csv"
    path.write_text("subject,relation,object\nA,r,B\nB,r,A\n")
    facts = read_queries(path)
    assert facts.rows() == [("A", "r", "B"), ("B", "r", "A")] and asks_for_facts(facts)
    path.write_text(written(ROWS))
    assert not asks_for_facts(read_queries(path))


NAME = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12)
NAME = NAME.filter(lambda name: name.strip())


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_what_is_written_is_read(tmp_path_factory, data):
    rows = data.draw(st.lists(st.tuples(NAME, NAME, st.sampled_from(PARTS)), min_size=1, max_size=5))
    rows = [tuple(None if part == asked else (a, b)[i % 2] for i, part in enumerate(PARTS)) for a, b, asked in rows]
    separator, ends = data.draw(st.sampled_from(",;\t|")), data.draw(st.sampled_from(["\n", "\r\n"]))
    path = tmp_path_factory.mktemp("q") / "q.csv"
    path.write_bytes(written(rows, separator, ends, quoting=csv.QUOTE_ALL).encode())
    assert read_queries(path).rows() == rows


FORM = "the first line names the columns subject, relation, object, which commas separate (also read: ; tab |)"
BAD = {
    "empty": (b"", f"the file is empty; {FORM}"),
    "blank": (b"\xef\xbb\xbf\r\n \r\n", f"the file is empty; {FORM}"),
    "header alone": (b"subject;relation;object\r\n", "no queries in the file; give one in every row"),
    "no header": (b"China,Consult,\n", f"the first line is 'China,Consult,', which names no column; {FORM}"),
    "spaces": (b"subject relation object\nA r \n", "the first line is 'subject relation object', which names no"),
    "column left out": (
        b"subject;object\nA;\n",
        f"missing columns relation in the first line, 'subject;object'; {FORM}",
    ),
    "twice": (b"subject,subject,relation,object\n", "two columns are called subject"),
    "short row": (b"subject;relation;object\nA;r;\nA;r\n", "row 2 has 2 cells, expected 3, which semicolons separate"),
    "long row": (b"subject\trelation\tobject\nA\tr\t\tx\n", "row 1 has 4 cells, expected 3, which tabs separate"),
    "quote left open": (b'subject,relation,object\n"A,r,\nB,r,\n', ":3: unexpected end of data; close quotes"),
    "quote in quotes": (b'subject,relation,object\n"A "X" B",r,\n', ":2: ',' expected after '\"'; close quotes"),
    "cp1252": ("subject,relation,object\nCôte,r,\n".encode("cp1252"), ":2: not UTF-8 text; save it as CSV in UTF-8"),
    "half a letter": (b"\xff\xfea\0b", ":1: not UTF-16 text; save it as CSV in UTF-8"),
    "a fact among queries": (
        b"subject,relation,object\nA,r,\nA,,B\nA,r,B\n",
        "row 3 has 0 empty cells, and row 1 has 1; queries, which leave one cell empty, and whole facts go in two",
    ),
    "a query among facts": (
        b"subject,relation,object\nA,r,B\nA,r,\n,r,B\n",
        "row 2 has 1 empty cells, and row 1 has 0; queries, which leave one cell empty, and whole facts go in two",
    ),
    "two asked": (b"subject,relation,object\nA,r,\nA, ,\n", "row 2 has 2 empty cells, expected one"),
    "a spreadsheet": (b"PK\x03\x04\x14", "no table that can be read (it is compressed; unpack it first)"),
}


@pytest.mark.parametrize("case", BAD)
def test_anything_else_is_refused_in_a_line_that_says_where(tmp_path, case):
    content, words = BAD[case]
    path = tmp_path / "q.csv"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_queries(path)
    separator = "" if words.startswith(":") else ": "
    assert str(caught.value).startswith(f"{path}{separator}{words}")


def test_a_name_that_is_not_known_is_told_with_file_and_row(tmp_path):
    facts, split = np.array([[0, 0, 1, t] for t in range(3)]), np.arange(3)
    named = {"entity_names": ("China", "Iran"), "relation_names": ("Consult",)}
    names = Names(from_facts("made", facts, split, 2, 1, **named))
    path = tmp_path / "q.csv"
    path.write_text("subject,relation,object\nchina,Consult,\n,Consult,IRAN\nIran,,Irak\nCuba,Consult,\n,Hits,Iran\n")
    with pytest.raises(DataError) as caught:
        check_names(path, read_queries(path), names)
    assert str(caught.value).startswith(f"{path}: row 3: entity 'Irak' is not known; did you mean 'Iran'?")
    assert str(caught.value).endswith("; 3 rows in all have such names")
    path.write_text("subject,relation,object\nChina,Consult,\n,Consult,Iran\n")
    check_names(path, read_queries(path), names)
