"""Negatives of TGB: each query gets those that were written for it, and no file of other facts is taken."""

import pickle

import numpy as np
import pytest

from tests import tgb_files
from tests.data.readers.test_pickled_arrays import Evil
from tirgn_eqx.data import load_graph
from tirgn_eqx.data.readers.pickled_arrays import read_entries
from tirgn_eqx.data.readers.tgb_negatives import TGBNegatives
from tirgn_eqx.errors import DataError


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_negatives_are_read_as_they_were_written(tmp_path, protocol):
    folder = tgb_files.write(tmp_path, "tkgl-wikidata", protocol=protocol)
    file = folder / "tkgl-wikidata_test_ns.pkl"
    written = pickle.loads(file.read_bytes())
    found = dict(read_entries(file))
    assert {key: value.tolist() for key, value in found.items()} == {k: v.tolist() for k, v in written.items()}
    graph = load_graph(folder)
    negatives = TGBNegatives(graph, "test")
    for snapshot in graph.split_snapshots("test").tolist():
        asked = {}
        for subject, relation, candidate in zip(*negatives(snapshot)):
            asked.setdefault((int(graph.times[snapshot]), int(subject), int(relation)), []).append(candidate)
        here = {key: value.tolist() for key, value in written.items() if key[0] == graph.times[snapshot]}
        assert asked == here and here
    assert negatives.sizes == (6, 6)


def test_negatives_of_other_facts_are_refused(tmp_path):
    folder = tgb_files.write(tmp_path, "tkgl-wikidata")
    graph, file = load_graph(folder), folder / "tkgl-wikidata_test_ns.pkl"
    negatives_by_query = pickle.loads(file.read_bytes())
    key = next(iter(negatives_by_query))

    def refused(match, content):
        file.write_bytes(pickle.dumps(content))
        with pytest.raises(DataError, match=match):
            negatives = TGBNegatives(graph, "test")
            for snapshot in graph.split_snapshots("test").tolist():
                negatives(snapshot)

    refused("no candidates for the query", {k: v for k, v in negatives_by_query.items() if k != key})
    refused("no candidates for the query", {})
    refused(r"\(5, 0, 0\) is no query", negatives_by_query | {(5, 0, 0): negatives_by_query[key].copy()})
    refused(r"is no query", negatives_by_query | {(*map(int, key[:2]), 99): negatives_by_query[key].copy()})
    refused(r"is no query", negatives_by_query | {(2**80, 0, 0): negatives_by_query[key].copy()})
    refused(r"is no query", negatives_by_query | {(1, 2): negatives_by_query[key].copy()})
    refused("is none of the 9 entities", negatives_by_query | {key: np.array([1, 9])})
    refused("is none of the 9 entities", negatives_by_query | {key: np.array([-1])})
    refused("posix.system|nt.system", negatives_by_query | {key: Evil()})
    file.unlink()
    with pytest.raises(DataError, match="test_ns.pkl: file is missing; the negatives of tkgl-wikidata come with"):
        TGBNegatives(graph, "test")
