"""The entities of the simulated world, and the names of its relations."""

import numpy as np

from tirgn_eqx.data.synthetic.cast import MAX_ENTITIES, make_cast, relation_names


def test_names_are_all_different():
    cast = make_cast(MAX_ENTITIES, np.random.default_rng(0))
    assert len(set(cast.names)) == MAX_ENTITIES
    assert len(set(relation_names(300))) == 300
