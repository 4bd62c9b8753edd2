"""Event tables that hypothesis makes: facts read are facts written, or an error; never fewer in silence."""

import csv
import datetime as dt
import io
import string
import tempfile
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.data.readers.table_helpers import (
    CSV,
    EPOCH,
    LAYOUTS,
    ROLES,
    dated,
    read,
    split_up,
    write,
)
from tirgn_eqx.errors import DataError, DataWarning
from tirgn_eqx.storage.table_probe import kept


@pytest.fixture(autouse=True, scope="module")
def helper():
    with kept():
        yield


# --- tables that hypothesis makes -------------------------------------------------------------------------------------
LETTERS = string.ascii_letters + string.digits + "éЖ中😀 ,;\"'\t|._-()#\\/="
name = st.text(LETTERS, min_size=1, max_size=8).filter(lambda text: text.strip() != "" and text == text.strip())
SECOND, MINUTE, HOUR, DAY = 1, 60, 3600, 86_400


def unix(t):
    return int((t - EPOCH).total_seconds())


TIMES = {
    "datetime": (SECOND, lambda t: t),
    "date": (DAY, lambda t: t.date()),
    "iso": (SECOND, lambda t: t.isoformat()),
    "iso day": (DAY, lambda t: t.date().isoformat()),
    "BigQuery": (SECOND, lambda t: f"{t} UTC"),
    "zulu": (SECOND, lambda t: f"{t.isoformat()}Z"),
    "offset": (SECOND, lambda t: f"{t + dt.timedelta(hours=5, minutes=30)}+05:30"),
    "slashes": (MINUTE, lambda t: f"{t:%Y/%m/%d %H:%M}"),
    "s": (SECOND, unix),
    "ms": (SECOND, lambda t: 1000 * unix(t) + 7),
    "us": (SECOND, lambda t: 10**6 * unix(t) + 7),
    "ns": (SECOND, lambda t: 10**9 * unix(t) + 7),
    "text s": (SECOND, lambda t: str(unix(t))),
    "float s": (SECOND, lambda t: float(unix(t))),
    "YYYYMMDD": (DAY, lambda t: int(f"{t:%Y%m%d}")),
    "text YYYYMMDD": (DAY, lambda t: f"{t:%Y%m%d}"),
    "YYYYMMDDHH": (HOUR, lambda t: int(f"{t:%Y%m%d%H}")),
    "YYYYMMDDHHMM": (MINUTE, lambda t: int(f"{t:%Y%m%d%H%M}")),
    "YYYYMMDDHHMMSS": (SECOND, lambda t: int(f"{t:%Y%m%d%H%M%S}")),
}
FILES = ["a.parquet", "a.arrow", "a.arrows", "a.csv", "a.csv.gz", "a.csv.zst", "a.tsv", "a.ndjson", "a.ndjson.gz"]
FILES += ["a/*.parquet", "a/*.csv", "a/part-*.ndjson.zst", "a/year=2021/*.arrow"]


@st.composite
def tables(draw):
    """Facts as they were meant, and a table of them: (facts or None for missing, frame, name of the file)."""
    file = draw(st.sampled_from(FILES))
    text = ".parquet" not in file and ".arrow" not in file
    form = draw(st.sampled_from(list(TIMES)))
    size, encode = TIMES[form]
    entities = draw(st.lists(name, min_size=2, max_size=6, unique=True))
    relations = draw(st.lists(name, min_size=1, max_size=4, unique=True))
    days = draw(st.lists(st.integers(3_300, 20_000), min_size=3, max_size=12, unique=True))
    facts: list[Any] = []
    for day in days + draw(st.lists(st.sampled_from(days), max_size=25)):
        second = (day * DAY + draw(st.integers(0, DAY - 1))) // size * size
        facts.append(
            [draw(st.sampled_from(entities)), draw(st.sampled_from(relations)), draw(st.sampled_from(entities)), second]
        )
    cells = {role: [fact[i] for fact in facts] for i, role in enumerate(ROLES)}
    cells["timestamp"] = [encode(EPOCH + dt.timedelta(seconds=second)) for second in cells["timestamp"]]
    for place in draw(st.lists(st.tuples(st.integers(0, len(facts) - 1), st.sampled_from(ROLES)), max_size=2)):
        if draw(st.booleans()):
            cells[place[1]][place[0]] = draw(st.sampled_from([None, ""])) if place[1] != "timestamp" else None
            facts[place[0]] = None
    frame = pl.DataFrame({role: pl.Series(values, strict=True) for role, values in cells.items()})
    if not text:
        kinds = [pl.String, pl.Categorical, pl.Binary]
        frame = frame.cast({role: draw(st.sampled_from(kinds)) for role in ROLES[:3]})
    layout = draw(st.sampled_from([ROLES, *LAYOUTS[:3], LAYOUTS[6]]))
    frame = frame.rename(dict(zip(ROLES, layout)))
    for number in range(draw(st.integers(0, 2))):
        frame = frame.with_columns(pl.lit(draw(name)).alias(f"extra {number}"))
    return facts, frame.select(draw(st.permutations(frame.columns))), file


def spread(place: Path, table: pl.DataFrame, file: str) -> Path:
    """The table as one file, or as the parts of a folder."""
    if "*" not in file:
        return write(place, table, file)
    split_up(place, [file.replace("*", str(number)) for number in range(min(3, table.height))], table)
    return place / "a"


def check_table(case) -> None:
    facts, table, file = case
    expected = Counter((second // 900 * 900, s, r, o) for s, r, o, second in filter(None, facts))
    with tempfile.TemporaryDirectory() as work, warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)  # of dates before 1979
        path = spread(Path(work), table, file)
        if None in facts:
            with pytest.raises(DataError, match="null values|empty values"):
                read(path)
        if len({key[0] for key in expected}) < 3:
            with pytest.raises(DataError, match="distinct times|lack a name|null values"):
                read(path, skip_bad_rows=True)
            return
        graph = read(path, skip_bad_rows=None in facts)
    assert graph.read is not None
    assert (graph.read.lines - graph.read.blank, graph.read.facts) == (len(facts), sum(expected.values()))
    assert graph.read.bad == facts.count(None)
    assert dated(graph) == expected


def run(examples: int) -> None:
    given(tables())(
        settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))(check_table)
    )()


def test_facts_read_are_facts_written():
    run(150)


@pytest.mark.slow
def test_facts_read_are_facts_written_in_thousands_of_tables():
    run(2500)


def damaged_csv(draw, text: str) -> str:
    """A CSV file with a few characters that matter put in, taken out, or doubled."""
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(text) - 1))
        kind = draw(st.sampled_from(["delete", "double", "insert"]))
        mark = draw(st.sampled_from(list(',"\n\r;\t\0\x1a x')))
        text = text[:at] + {"delete": "", "double": text[at] * 2, "insert": mark + text[at]}[kind] + text[at + 1 :]
    return text


@st.composite
def damages(draw):
    return damaged_csv(draw, CSV)


def check_damaged(text: str) -> None:
    """A damaged file is refused, or each of its records is a fact, as Python's own reader of CSV counts them."""
    with tempfile.TemporaryDirectory() as work, warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        (Path(work) / "a.csv").write_bytes(text.encode())
        try:
            graph = read(Path(work) / "a.csv")
        except DataError:
            return
    # A carriage return is a part of the line end, or of what pads a field.
    records = [record for record in csv.reader(io.StringIO(text.replace("\r", ""), newline="")) if record]
    assert graph.read is not None
    assert graph.num_facts == graph.read.lines - graph.read.blank == len(records) - 1


def test_damaged_csv_loses_nothing_in_silence():
    given(damages())(settings(max_examples=100, deadline=None)(check_damaged))()


@pytest.mark.slow
def test_thousands_of_damaged_csv_files():
    given(damages())(settings(max_examples=3000, deadline=None)(check_damaged))()
