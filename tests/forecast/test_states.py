"""What a recurrent model at a target asks of the history vocabulary."""

from types import SimpleNamespace

import numpy as np
import pytest

from tests.helpers import make_graph
from tirgn_eqx.data.index.history import build_history_vocabulary
from tirgn_eqx.forecast.states import RecurrentState

# 0 did 0 to 1 at time 0, to 2 at time 3, and to 3 at time 5, which is not known.
FACTS = [(0, 0, 1, 0), (4, 0, 1, 1), (4, 0, 1, 2), (0, 0, 2, 3), (4, 0, 1, 4), (0, 0, 3, 5)]


@pytest.mark.parametrize(("window", "expected"), [(0, {1, 2}), (1, set()), (2, {2}), (4, {2}), (5, {1, 2})])
def test_only_the_history_window_before_what_is_known_is_remembered(window, expected):
    state, told = object.__new__(RecurrentState), []

    def program(shape, model, encoding, queries, time_index):
        told.append(queries)
        return np.zeros((shape[0], 5)), np.zeros((shape[0], 5))

    graph = make_graph(FACTS, num_entities=5, num_relations=1)
    fields = {"model": None, "encoding": None, "time_index": None, "known": 5, "history_window": window}
    vars(state).update(fields, vocabulary=build_history_vocabulary(graph), _programs={"entity": program})
    found, _ = state._run("entity", np.array([0, 3]), np.array([0, 1]))
    queries = SimpleNamespace(
        **{name: np.asarray(getattr(told[0], name)) for name in ("history_query", "history_candidate")}
    )
    assert found.shape == (2, 5)
    assert set(queries.history_candidate[queries.history_query == 0].tolist()) == expected
    assert not (queries.history_query == 1).any()
