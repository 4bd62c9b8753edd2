"""The documents of collections and ingests: the bounds of what they hold, and their sentences about an ingest."""

import datetime as dt

import pydantic
import pytest

from tirgn_eqx.ingest.counts import DAY, QUARTER_HOUR, find_gaps
from tirgn_eqx.ingest.documents import (
    CommonReason,
    EventsSummary,
    FilesSummary,
    Gaps,
    IngestReport,
    MalformedSummary,
    TimesSeen,
    Totals,
    UnreadableFile,
)

EVENTS = EventsSummary(events=0, repeated_facts=0, self_loops=0, actors=0, relations=0, first=None, last=None)
NO_GAPS = Gaps(count=0, ranges=[])


def report(rows, *, most=None, unreadable=()):
    """A report of an ingest of two files, without events."""
    malformed = MalformedSummary(reasons={}, first=[], most=most, file="events.rejects.tsv")
    return IngestReport(
        table="events.parquet",
        written=False,
        options={},
        files=FilesSummary(found=2, unreadable=list(unreadable)),
        rows=rows,
        malformed=malformed,
        late={},
        events=EVENTS,
        missing={"quarter_hours": NO_GAPS, "days": NO_GAPS},
        totals=Totals(),
    )


def common(reason: str) -> CommonReason:
    return CommonReason(file="a.csv", line=3, reason=reason, count=2)


@pytest.mark.parametrize(
    ("reason", "hint"),
    [
        ("Day '2020'", "(a.csv:3); see events.rejects.tsv"),
        ("Day '\"20200101\"'", "write the file again without them; see"),
        ("GlobalEventID '1.0E+09'", "a spreadsheet has rounded it"),
    ],
)
def test_the_most_common_reason_comes_with_what_to_do(reason, hint):
    text = report({"read": 4, "malformed": 2}, most=common(reason)).describe_malformed()
    assert text.startswith(f"2 of 4 lines malformed, most: {reason} (a.csv:3)") and hint in text


def test_nothing_found_is_explained_by_the_nearest_cause():
    bad = UnreadableFile(file="b.zip", reason="broken zip file")
    rows = {"read": 1, "malformed": 1, "no_actor": 0}
    unread = "1 of 2 files cannot be read, first b.zip: broken zip file"
    assert report(rows, unreadable=[bad]).explain_nothing() == unread
    assert report(rows, most=common("3 columns")).explain_nothing().startswith("1 of 1 lines malformed")
    assert report({"read": 2, "malformed": 0, "no_actor": 2}).explain_nothing() == (
        "2 read, 2 no actor; give other files or fewer filters"
    )
    assert (
        report({"read": 0, "malformed": 0}).explain_nothing()
        == "all files are empty; give other files or fewer filters"
    )


@pytest.mark.parametrize("field, unit", [("days", DAY), ("quarter_hours", QUARTER_HOUR)])
def test_times_are_those_that_have_a_date(field, unit):
    epoch = dt.datetime(1970, 1, 1)
    first, last = ((time - epoch) // dt.timedelta(seconds=unit) for time in (dt.datetime.min, dt.datetime.max))
    (gap,) = find_gaps(getattr(TimesSeen(**{field: [(first, first), (last, last)]}), field), unit).ranges
    assert gap.last.startswith("9999-12-3") and gap.count == last - first - 1
    for number in (first - 1, last + 1):
        with pytest.raises(pydantic.ValidationError):
            TimesSeen(**{field: [(number, number)]})
