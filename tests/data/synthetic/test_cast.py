"""The entities of the simulated world, and the names of its relations."""

import numpy as np

from tirgn_eqx.data.synthetic.cast import MAX_ENTITIES, REGIONS, make_cast, relation_names


def test_names_are_all_different():
    cast = make_cast(MAX_ENTITIES, np.random.default_rng(0))
    assert len(set(cast.names)) == MAX_ENTITIES
    assert len(set(relation_names(300))) == 300


def test_organisations_share_the_region_of_their_country():
    cast = make_cast(60, np.random.default_rng(3))
    kinds = np.array(cast.kinds)[cast.kind]
    assert (kinds == "Country").sum() == 24 and (kinds == "Alliance").sum() == 5
    for entity, (kind, home) in enumerate(zip(kinds, cast.home)):
        if kind == "Alliance":
            assert home == -1 and cast.names[entity] == f"{REGIONS[cast.region[entity]]} Alliance"
        else:
            assert cast.region[entity] == cast.region[home] and kinds[home] == "Country"
            assert (home == entity) == (kind == "Country")
            assert kind == "Country" or cast.names[entity] == f"{kind} ({cast.names[home]})"


def test_few_entities_leave_no_room_for_alliances():
    cast = make_cast(3, np.random.default_rng(0))
    assert np.array(cast.kinds)[cast.kind].tolist()[:2] == ["Country"] * 2 and 1 not in cast.kind


def test_relations_beyond_the_twenty_are_numbered_forms():
    names = relation_names(41)
    assert names[20] == f"{names[0]}, form 2" and names[40] == f"{names[0]}, form 3"
