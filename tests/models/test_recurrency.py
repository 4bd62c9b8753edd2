"""The parameters of the recurrency baseline, and its two parts."""

import numpy as np
import pytest

from tests.helpers import make_graph
from tirgn_eqx.data.index.recurrence import build_recurrence_index
from tirgn_eqx.errors import ConfigError, DataError
from tirgn_eqx.models.recurrency import Recurrency, RelaxedPart, StrictPart


def test_parts():
    model = Recurrency(np.array([0.1, 0.2]), np.array([0.5, 0.9]))
    assert model.variant("strict").share.tolist() == [1, 1]
    assert model.variant("relaxed").share.tolist() == [0, 0]
    assert model.variant("combined").to_dict() == {"decay": [0.1, 0.2], "share": [0.5, 0.9]}
    assert Recurrency.constant(3, 0.1, 0.5).to_dict() == {"decay": 0.1, "share": 0.5}


@pytest.mark.parametrize(
    "decay,share,message",
    [
        (-1.0, 0.5, "decay = -1.0"),
        (np.nan, 0.5, "decay = nan"),
        (0.1, 1.5, "share = 1.5"),
        (0.1, np.nan, "share = nan"),
    ],
)
def test_bad_parameters(decay, share, message):
    with pytest.raises(ConfigError, match=message):
        Recurrency.constant(1, decay, share)


def test_more_counts_than_fit():
    with pytest.raises(DataError, match="1,226,440 entities and 596 relations: too many"):
        RelaxedPart(2 * 596, 1_226_440)
    with pytest.raises(ConfigError, match="variant 'loose'"):
        Recurrency.constant(1, 0.1, 0.5).variant("loose")


def test_the_strict_part_is_the_faded_share_of_the_snapshots():
    facts = [(0, 0, 1, 0), (0, 0, 1, 2), (0, 0, 2, 3), (1, 1, 0, 3), (0, 0, 1, 4)]
    index = build_recurrence_index(make_graph(facts, num_entities=3, num_relations=2))
    decay = np.array([0.5, 0.0, 0.0, 0.0])
    # At time 4, which is snapshot 3: the snapshots before it are 4, 2 and 1 steps old.
    pairs = index.history(index.keys(np.array([0, 1]), np.array([0, 1])), 3)
    found = StrictPart(index, decay)(pairs, 4.0, 3)
    total = sum(2 ** (-0.5 * age) for age in (4, 2, 1))
    expected = {(0, 1): (2**-2.0 + 2**-1.0) / total, (0, 2): 2**-0.5 / total, (1, 0): 1 / 3}
    assert dict(zip(zip(pairs.query.tolist(), pairs.candidate.tolist()), found.tolist())) == pytest.approx(expected)


def test_the_relaxed_part_counts_objects_of_relations():
    part = RelaxedPart(2, 4)
    part.update(np.array([0, 0, 0, 1]), np.array([2, 2, 3, 0]))
    part.update(np.array([0]), np.array([3]))
    assert part(np.array([0, 0, 0, 1, 1]), np.array([2, 3, 1, 0, 1])).tolist() == [0.5, 0.5, 0, 1, 0]
    row, value, number = part.distribution([1, 0])
    # Three entities never followed relation 1, and two never followed relation 0.
    assert list(zip(row.tolist(), value.tolist(), number.tolist())) == [(0, 0, 3), (0, 1, 1), (1, 0, 2), (1, 0.5, 2)]


def test_a_relation_that_never_happened_is_the_same_for_all():
    row, value, number = RelaxedPart(2, 4).distribution([0, 1])
    assert (row.tolist(), value.tolist(), number.tolist()) == ([0, 1], [0, 0], [4, 4])
