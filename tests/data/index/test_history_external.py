"""The history vocabulary built part by part on the disk is the one that is built at once."""

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers import facts_of_a_graph, make_graph, random_graph
from tirgn_eqx.data import build_history_vocabulary
from tirgn_eqx.data.batches.loader import KINDS
from tirgn_eqx.data.index.history_external import FIELDS, _bounds, index_in_parts


@settings(max_examples=80, deadline=None)
@given(
    facts=facts_of_a_graph(),
    rows=st.sampled_from([1, 2, 3, 5, 8, 13, 1000]),
    part=st.sampled_from([None, (0, 1), (0, 2), (1, 2), (2, 3), (6, 7)]),
)
def test_parts_give_what_is_built_at_once(facts, rows, part):
    graph = make_graph(**facts)
    expected = build_history_vocabulary(graph, part=part)
    with tempfile.TemporaryDirectory() as work:
        out, spill = Path(work) / "out", Path(work) / "spill"
        out.mkdir()
        spill.mkdir()
        built = index_in_parts(graph, out, spill, rows=rows, part=part)
        for kind in KINDS:
            for field in FIELDS:
                found = np.load(out / f"{kind}-{field}.npy", allow_pickle=False)
                wanted = getattr(getattr(expected, kind), field)
                assert found.dtype == wanted.dtype and np.array_equal(found, wanted), (kind, field)
                assert built.columns[f"{kind}-{field}"]["length"] == len(wanted)
        kept = graph.num_facts * 2 if part is None else sum(int((x % part[1] == part[0]).sum()) for x in ends(graph))
        assert built.spilt == 16 * kept == sum(file.stat().st_size for file in spill.iterdir())


def ends(graph):
    return graph.subject, graph.object


def test_bounds_hold_as_many_rows_as_allowed_or_one_id():
    assert _bounds(np.array([2, 1, 9, 1, 1]), 3).tolist() == [0, 2, 3, 5]
    assert _bounds(np.array([1, 1, 1]), 100).tolist() == [0, 3]
    assert _bounds(np.zeros(0, np.int64), 3).tolist() == [0]


def test_more_rows_at_once_make_fewer_parts(tmp_path):
    graph, numbers = random_graph(2, num_entities=12, facts=20), []
    for rows in (1, 40, 10_000):
        out, spill = tmp_path / f"out-{rows}", tmp_path / f"spill-{rows}"
        out.mkdir()
        spill.mkdir()
        numbers.append(index_in_parts(graph, out, spill, rows=rows).parts)
    assert numbers[0] == 12 > numbers[1] > numbers[2] == 1
