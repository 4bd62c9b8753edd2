"""Numbers of rules, and back."""

import numpy as np

from tirgn_eqx.evaluate.rule_codes import EVENT, POPULAR_OBJECT, POPULAR_SUBJECT, RuleCodes


def test_codes_are_read_back():
    codes = RuleCodes(3)
    past, relation = (x.ravel() for x in np.meshgrid(np.arange(6), np.arange(6)))
    parts = codes.parts(codes.of_events(relation, past, np.full(36, 9)))
    assert (parts.relation == relation % 3).all() and (parts.kind == EVENT).all() and (parts.band == 2).all()
    assert (parts.past == np.where(relation < 3, past, (past + 3) % 6)).all()
    popular = codes.parts(codes.of_popular(np.arange(6), np.array([1, 2, 7, 8, 30, 31])))
    assert popular.kind.tolist() == [POPULAR_OBJECT] * 3 + [POPULAR_SUBJECT] * 3
    assert popular.band.tolist() == [0, 1, 1, 2, 2, 3]
