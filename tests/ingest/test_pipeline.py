"""Files, blocks and runs of any size: known ids, and an ingest beside a reference in plain Python."""

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.ingest.ingest_helpers import facts, ingest, rejects, write
from tests.ingest.raw_rows import expected, raw
from tirgn_eqx.ingest.options import IngestOptions
from tirgn_eqx.ingest.pipeline import KnownIds


@given(st.lists(st.lists(st.integers(0, 30), max_size=12), max_size=12))
def test_known_ids_are_a_set(batches):
    known, reference = KnownIds([np.array([5, 3])]), {3, 5}
    for batch in batches:
        new = known.add(np.array(batch, np.int64))
        for number, is_new in zip(batch, new.tolist()):
            assert is_new == (number not in reference)
            reference.add(number)
    assert len(known) == len(reference)


NAMES = st.sampled_from(["", " ", "france", "FRANCE", " United  States", "POLICE", "Córdoba", 'A "B"', "\xa0x\u2003y"])
FIELDS = st.fixed_dictionaries(
    {
        "GlobalEventID": st.sampled_from(["1", "2", "3", "40", "41", "42", "43", "", "x"]),
        "Day": st.sampled_from(["20200101", "20191230", "20180101", "20200103", "2020011"]),
        "DATEADDED": st.sampled_from(["20200101001500", "20200101003000", "20200102000000", "20200101"]),
        "Actor1Name": NAMES,
        "Actor2Name": NAMES,
        "Actor2CountryCode": st.sampled_from(["DEU", ""]),
        "IsRootEvent": st.sampled_from("0111"),
        "EventCode": st.sampled_from(["010", "0211", "0211", "-"]),
        "QuadClass": st.sampled_from("12345"),
        "NumMentions": st.sampled_from(["1", "5", "5", "10", "many"]),
        "GoldsteinScale": st.sampled_from(["", "1.5", "-10.0", "?"]),
    }
)
LINES = st.one_of(
    st.tuples(FIELDS, st.sampled_from([61, 61, 61, 58, 57]), st.sampled_from([b"\n", b"\r\n"])).map(
        lambda made: raw(0, made[1], **made[0])[:-1] + made[2]
    ),
    st.sampled_from(
        [b"\n", b"\r\n", b"x\n", b"\t\n", raw(50).replace(b"FRANCE", b"\xc3\x28"), raw(51, SOURCEURL="\0")]
    ),
)
OPTIONS = st.fixed_dictionaries(
    {
        "actor": st.sampled_from(["name", "country"]),
        "relation": st.sampled_from(["code_quad", "code", "base", "root"]),
        "time": st.sampled_from(["added", "day"]),
        "quad_class": st.sampled_from([(1, 2, 3, 4), (1, 3)]),
        "root_only": st.booleans(),
        "min_mentions": st.sampled_from([0, 3]),
        "keep_duplicates": st.booleans(),
    }
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lines=st.lists(LINES, min_size=1, max_size=25).map(lambda lines: [raw(60), *lines]),
    cuts=st.lists(st.integers(1, 25), max_size=3),
    size=st.sampled_from([100, 1000, 1 << 24]),
    rows=st.sampled_from([1, 4, 1000]),
    runs=st.booleans(),
    options=OPTIONS,
    last=st.booleans(),
)
def test_the_result_is_that_of_the_plainest_program(tmp_path_factory, lines, cuts, size, rows, runs, options, last):
    """However the lines are cut into files, blocks, runs and calls."""
    place, options = tmp_path_factory.mktemp("random"), IngestOptions(**options)
    bounds = sorted({0, *(cut for cut in cuts if cut < len(lines)), len(lines)})
    files = []
    for number, (begin, end) in enumerate(zip(bounds, bounds[1:])):
        # Every file begins with a row that fits, as one without is a file of another kind.
        data = raw(60) + b"".join(lines[begin:end])
        files.append((f"{number}.csv", data[:-1] if last and end == len(lines) else data))
    reference = expected(files, options)
    paths = [write(place, data, name) for name, data in files]
    out = place / "events.parquet"
    report = {}
    for some in [[path] for path in paths] if runs else [paths]:
        report = ingest(some, out, options, block_bytes=size, run_rows=rows)
    assert facts(out) == reference["table"]
    assert [(name, line) for name, line, *_ in rejects(out)] == reference["rejects"]
    totals = report["totals"]["rows"]
    dropped = {"no_actor", "quad_class", "not_root", "few_mentions", "generic_actor"}
    assert sum(totals[name] for name in dropped) == reference["counts"].pop("dropped")
    assert {name: totals[name] for name in reference["counts"]} == reference["counts"]
    late = [days for days in reference["late"] if days > 0]
    assert sum(report["totals"]["late"].values()) == len(late) + sum(days < 0 for days in reference["late"])
    assert report["totals"]["late"]["more"] == sum(days > 365 for days in late)
    assert report["events"]["repeated_facts"] == totals["accepted"] - reference["facts"]
