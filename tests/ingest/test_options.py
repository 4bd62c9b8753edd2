"""The options of an ingest: what is refused, and the form in which a table keeps them."""

import json

import pytest

from tirgn_eqx.errors import ConfigError
from tirgn_eqx.ingest.gdelt_rows import LAYOUTS, raw_columns
from tirgn_eqx.ingest.options import CHOICES, IngestOptions


@pytest.mark.parametrize(
    "options", [{"actor": "x"}, {"relation": "x"}, {"time": "x"}, {"quad_class": ()}, {"quad_class": (0,)}]
)
def test_a_choice_that_does_not_exist_is_refused(options):
    with pytest.raises(ConfigError):
        IngestOptions(**options)


def test_a_near_miss_is_named_with_what_was_meant():
    with pytest.raises(ConfigError, match=r"actor 'nme' does not exist for gdelt; did you mean 'name'\?"):
        IngestOptions(actor="nme")


@pytest.mark.parametrize("options", [{"min_mentions": -1}, {"drop_generic_actors": True, "actor": "code"}])
def test_what_makes_no_sense_together_is_refused(options):
    with pytest.raises(ConfigError):
        IngestOptions(**options)


def test_classes_have_one_order_and_come_once():
    """Otherwise the same options, written in another order, would be refused by a table."""
    assert IngestOptions(quad_class=(3, 1, 3)) == IngestOptions(quad_class=(1, 3))
    assert IngestOptions(quad_class=(3, 1)).to_dict()["quad_class"] == [1, 3]


def test_the_options_are_as_a_file_of_json_gives_them_back():
    options = IngestOptions(relation="root", root_only=True)
    assert json.loads(json.dumps(options.to_dict())) == options.to_dict()


@pytest.mark.parametrize("actor", CHOICES["gdelt"].actor)
@pytest.mark.parametrize("relation", CHOICES["gdelt"].relation)
def test_every_choice_names_columns_of_every_layout(actor, relation):
    columns = raw_columns(IngestOptions(actor=actor, relation=relation))
    assert set(columns) == {"actor1", "actor2", "code"} and columns["actor1"] != columns["actor2"]
    for layout in LAYOUTS.values():
        assert {*columns.values(), "DATEADDED", "Day"} <= set(layout)
