"""Retraining event models: when it is due, and the old rates with a new vocabulary."""

import jax
import jax.random as jr
import numpy as np

from tests.helpers import make_graph
from tests.journal_lines import forecast
from tirgn_eqx.config import EventTrainingConfig
from tirgn_eqx.data.forecast_journal import append_forecasts
from tirgn_eqx.evaluate.track_record import score_journal
from tirgn_eqx.models import EventRates
from tirgn_eqx.train.retrain_events import find_reason
from tirgn_eqx.train.warm_start import NameMap, leading_axes, warm_start


def test_it_is_due_where_the_skill_is_known_and_too_low(tmp_path):
    graph = make_graph([(0, 0, 1, time) for time in range(9)], num_entities=2, num_relations=1)
    append_forecasts(tmp_path, [forecast(target=target, probability=0.9, usual=1.0) for target in (2, 3, 8)])
    record = score_journal(tmp_path, graph)
    skill = 1 - 0.1**2 / float(np.exp(-1.0)) ** 2
    due = find_reason(record, skill + 0.01)
    assert due["due"] and not find_reason(record, skill - 0.01)["due"]
    assert (due["scored"], due["waiting"], due["min_skill"]) == (2, 1, skill + 0.01)
    assert abs((due["skill"] or 0) - skill) < 1e-12 and due["journal"] == str(tmp_path)
    unknown = find_reason(score_journal(tmp_path, graph, model_sha256="another"), 1.0)
    assert not unknown["due"] and (unknown["scored"], unknown["skill"]) == (0, None)


def test_rates_of_relations_are_matched_by_name_and_new_ones_begin_fresh():
    config = EventTrainingConfig(rate_hidden=3, periods="7")
    old = EventRates(4, 2, config, key=jr.key(0))
    # Arrays of relations begin at 0; these are told apart.
    leaves = {name: jr.normal(jr.key(i), leaf.shape) for i, (name, (_, leaf)) in enumerate(leading_axes(old).items())}
    old = jax.tree.unflatten(jax.tree.structure(old), list(leaves.values()))
    fresh = EventRates(5, 3, config, key=jr.key(9))
    names = NameMap(np.array([3, -1, 0, 1, 2]), np.array([1, -1, 0]), 4, 2)
    found, rest = leading_axes(warm_start(fresh, old, names)), leading_axes(fresh)
    by_relation = [name for name, (axis, _) in found.items() if axis == "rel"]
    assert sorted(by_relation) == [
        *("known.inner_bias", "known.relation_level", "novel.inner_bias", "novel.relation_level"),
        *("relation_level", "season"),
    ]
    for name, (_, leaf) in found.items():
        if name not in by_relation:
            assert np.array_equal(leaf, leaves[name])
            continue
        assert np.array_equal(leaf[0], leaves[name][1]) and np.array_equal(leaf[2], leaves[name][0])
        assert np.array_equal(leaf[1], rest[name][1][1])
