import numpy as np
import pytest

from tests.helpers import facts_of, make_graph, random_graph, with_facts
from tirgn_eqx.errors import ConfigError, DataError
from tirgn_eqx.evaluate.bootstrap import bootstrap_interval
from tirgn_eqx.evaluate.compare import EvaluatedModel, compare
from tirgn_eqx.evaluate.recurrency import RecurrencyEvaluator
from tirgn_eqx.models.recurrency import Recurrency


@pytest.fixture(scope="module")
def graph():
    return random_graph(11, num_entities=12, facts=30)


def evaluated(graph, name, decay=1.0, share=0.9, setting="single-step", split="test"):
    model = Recurrency.constant(graph.num_relations, decay, share)
    return EvaluatedModel(name, "recurrency", RecurrencyEvaluator(graph, split, setting)(model))


@pytest.mark.parametrize("values", [2, 1000])
def test_the_interval_is_that_of_a_normal_mean(values):
    """Differences with a known spread: the bootstrap's interval is the mean -+ 1.96 standard errors."""
    rng = np.random.default_rng(0)
    difference = rng.choice([-0.1, 0.3], 4000) if values == 2 else rng.normal(0.1, 0.2, 4000)
    low, high = bootstrap_interval(difference)
    center, error = difference.mean(), difference.std() / np.sqrt(4000)
    assert low == pytest.approx(center - 1.96 * error, abs=0.15 * error)
    assert high == pytest.approx(center + 1.96 * error, abs=0.15 * error)


def test_pairing_is_what_makes_it_sharp(graph):
    """Two models that differ nowhere are known to be equal, whatever the spread of their figures is."""
    one = evaluated(graph, "one")
    low, high = one.evaluation.report().mrr_interval
    assert high - low > 0.05
    assert compare(one, one).difference["mrr"].interval_points == [0, 0]


def test_the_same_seed_gives_the_same_interval():
    values = np.random.default_rng(3).random(50)
    assert bootstrap_interval(values, seed=4) == bootstrap_interval(values, seed=4)
    assert bootstrap_interval(values, seed=4) != bootstrap_interval(values, seed=5)


@pytest.mark.parametrize("setting", ["single-step", "multi-step"])
def test_a_report_adds_up(graph, setting):
    one, two = evaluated(graph, "one", 1.0, 0.9, setting), evaluated(graph, "two", 0.0, 0.0, setting)
    report = compare(one, two)
    ranks = one.evaluation.filtered["entity"], two.evaluation.filtered["entity"]
    means = [np.mean(1 / side) for side in ranks]
    found = report.difference["mrr"]
    assert found.points == pytest.approx(100 * (means[0] - means[1]))
    assert found.percent == pytest.approx(100 * (means[0] / means[1] - 1))
    low, high = found.interval_points
    assert low < found.points < high
    hits = report.difference["hits_at_3"].points
    assert hits == pytest.approx(100 * (np.mean(ranks[0] <= 3) - np.mean(ranks[1] <= 3)))
    assert [side.name for side in report.models] == ["one", "two"]
    for kind in ("recurrence", "direction", "relation", "snapshot"):
        parts = report.strata[kind]
        assert sum(part.queries for part in parts) == len(ranks[0])
        assert sum(part.share for part in parts) == pytest.approx(1)
        for side in (0, 1):
            total = sum(part.share * part.mrr[side] for part in parts if part.queries)
            assert total == pytest.approx(means[side])
    snapshots = [part.name for part in report.strata["snapshot"]]
    assert snapshots == [str(graph.times[number]) for number in graph.split_snapshots("test")]


def test_passed_is_within_the_threshold():
    facts = [(s, s % 2, (s + 1 + t % 2) % 8, t) for t in range(8) for s in range(8)]
    graph = make_graph(facts, num_entities=8, num_relations=2, valid=40, test=48)
    good, bad = evaluated(graph, "good"), evaluated(graph, "bad", 0.0, 0.0)
    assert good.evaluation.entity["mrr"] > 1.1 * bad.evaluation.entity["mrr"]
    relative = bad.evaluation.entity["mrr"] / good.evaluation.entity["mrr"] - 1
    assert compare(good, bad).passed and not compare(bad, good).passed
    assert compare(bad, good, threshold=relative - 1e-9).passed
    assert not compare(bad, good, threshold=relative + 1e-9).passed
    same = compare(good, good)
    assert same.passed and same.difference["mrr"].points == 0
    assert same.difference["mrr"].interval_points == [0, 0]


def test_what_cannot_be_compared(graph):
    one = evaluated(graph, "one")
    for other in (
        evaluated(random_graph(12, num_entities=12, facts=30), "two"),
        evaluated(graph, "two", setting="multi-step"),
        evaluated(graph, "two", split="valid"),
    ):
        with pytest.raises(DataError, match="one and two were evaluated on different queries"):
            compare(one, other)
    with pytest.raises(ConfigError, match="threshold = -5"):
        compare(one, one, threshold=-5.0)


def test_the_same_facts_in_another_order_are_different_queries(graph):
    last = graph.snapshot == graph.snapshot[-1]
    order = np.concatenate([np.flatnonzero(~last), np.flatnonzero(last)[::-1]])
    other = with_facts(graph, facts_of(graph)[order])
    assert other.checksum == graph.checksum
    with pytest.raises(DataError, match="were evaluated on different queries"):
        compare(evaluated(graph, "one"), evaluated(other, "two"))


def test_an_empty_stratum_has_no_figures():
    facts = [(0, 0, 1, 0), (0, 0, 1, 1), (0, 0, 1, 2)]
    graph = make_graph(facts, num_entities=3, num_relations=1, valid=1, test=2)
    parts = compare(evaluated(graph, "one"), evaluated(graph, "two", 0.0, 0.0)).strata["recurrence"]
    assert [part.queries for part in parts] == [2, 0, 0]
    assert parts[0].mrr and "mrr" not in parts[1].to_dict()


def part_of(report, kind, name):
    return next(part for part in report.strata[kind] if part.name == name)


@pytest.mark.parametrize("setting", ["single-step", "multi-step"])
def test_the_history_of_a_stratum_is_what_the_setting_knows(setting):
    """(0, 0, 1) happens again in the second test snapshot only: single-step has seen it, multi-step has not."""
    facts = [(2, 1, 3, 0), (2, 1, 3, 1), (0, 0, 1, 2), (0, 0, 1, 3)]
    graph = make_graph(facts, num_entities=4, num_relations=2, valid=1, test=2)
    report = compare(evaluated(graph, "one", setting=setting), evaluated(graph, "two", 0.0, 0.0, setting))
    numbers = [part.queries for part in report.strata["recurrence"]]
    assert numbers == ([2, 0, 2] if setting == "single-step" else [0, 0, 4])


def test_strata_have_the_figures_of_their_own_queries():
    """Objects are always the same and subjects never: by direction, the figures are far apart."""
    facts = [(t % 6, t % 2, 7, t) for t in range(12)] + [(6, 0, 7, 11)]
    graph = make_graph(facts, num_entities=8, num_relations=2, valid=6, test=8)
    one, two = evaluated(graph, "one", 0.0, 0.0), evaluated(graph, "two")
    report, evaluation = compare(one, two), one.evaluation
    reciprocal = 1 / evaluation.filtered["entity"]
    for name, chosen in (("object", ~evaluation.inverse), ("subject", evaluation.inverse)):
        assert part_of(report, "direction", name).mrr[0] == pytest.approx(reciprocal[chosen].mean())
    assert part_of(report, "direction", "object").mrr[0] == 1 > part_of(report, "direction", "subject").mrr[0]
    # The relations that are asked for most come first: relation 0 is asked for three times, 1 twice.
    found = [(part.name, part.queries) for part in report.strata["relation"]]
    assert found == [("1", 4), ("0", 6)][::-1]


def test_a_difference_at_the_threshold_passes(graph):
    one = evaluated(graph, "one")
    assert compare(one, one, threshold=0.0).passed and not compare(one, one, threshold=1e-9).passed
