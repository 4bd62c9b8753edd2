import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.helpers import both_directions, dataset, facts_of, facts_of_a_graph, make_graph, random_graph, with_facts
from tirgn_eqx.data import load_graph
from tirgn_eqx.data.graph import SPLITS
from tirgn_eqx.errors import DataError
from tirgn_eqx.evaluate.recurrency import RecurrencyEvaluator, search_recurrency
from tirgn_eqx.models.recurrency import Recurrency

# With decays that are whole numbers every sum is exact, so that ties are ties in both computations.
DECAYS, SHARES = (0.0, 1.0, 2.0), (0.0, 0.5, 0.75, 1.0)


def brute_force_scores(graph, model, subject, relation, time, known):
    """The score of every entity, straight from the definition."""
    past = [fact for fact in both_directions(graph) if fact[3] < known]
    clock, decay, share = graph.time_index, model.decay[relation], model.share[relation]

    def fade(snapshot):
        return 2.0 ** (-decay * (clock[time] - clock[snapshot]))

    total = sum(fade(snapshot) for snapshot in range(known))
    of_relation = [o for _, r, o, _ in past if r == relation]
    scores = []
    for entity in range(graph.num_entities):
        psi = sum(fade(k) for s, r, o, k in past if (s, r, o) == (subject, relation, entity)) / total
        xi = of_relation.count(entity) / max(len(of_relation), 1)
        scores.append(share * psi + (1 - share) * xi)
    return scores


def brute_force_ranks(graph, model, split, setting):
    """[(snapshot, filtered rank, raw rank)] in the order of an `Evaluation`."""
    number = SPLITS.index(split)
    snapshots = [time for time in graph.split_snapshots(split).tolist() if time > 0]
    found = []
    for time in snapshots:
        known = time if setting == "single-step" else snapshots[0]
        here = slice(graph.offsets[time], graph.offsets[time + 1])
        facts = np.stack([graph.subject[here], graph.relation[here], graph.object[here]], 1).tolist()
        facts += [[o, r + graph.num_relations, s] for s, r, o in facts]
        asked = np.tile(graph.split[here] == number, 2)
        for (s, r, o), counts in zip(facts, asked):
            if not counts:
                continue
            scores = brute_force_scores(graph, model, s, r, time, known)
            true = {fact[2] for fact in facts if fact[:2] == [s, r]}

            def rank(left_out, scores=scores, o=o):
                others = [scores[i] for i in range(graph.num_entities) if i != o and i not in left_out]
                return 1 + sum(v > scores[o] for v in others) + 0.5 * sum(v == scores[o] for v in others)

            found.append((time, rank(true), rank(())))
    return found


def assert_same_ranks(graph, model, split, setting):
    expected = brute_force_ranks(graph, model, split, setting)
    found = RecurrencyEvaluator(graph, split, setting)(model)
    assert found.snapshot.tolist() == [time for time, _, _ in expected]
    assert found.filtered["entity"].tolist() == [filtered for _, filtered, _ in expected]
    assert found.raw["entity"].tolist() == [raw for _, _, raw in expected]
    return found


def has_queries(graph, split):
    return np.any(graph.split_snapshots(split) > 0)


@settings(max_examples=100, deadline=None)
@given(
    facts=facts_of_a_graph(),
    split=st.sampled_from(["valid", "test"]),
    setting=st.sampled_from(["single-step", "multi-step"]),
    data=st.data(),
)
def test_ranks_are_those_of_the_definition(facts, split, setting, data):
    graph = make_graph(**facts)
    assume(has_queries(graph, split))

    def choose(values):
        return np.array([data.draw(st.sampled_from(values)) for _ in range(2 * graph.num_relations)])

    assert_same_ranks(graph, Recurrency(choose(DECAYS), choose(SHARES)), split, setting)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("setting", ["single-step", "multi-step"])
def test_ranks_on_denser_graphs(seed, setting):
    graph = random_graph(seed, num_entities=12, facts=20)
    model = Recurrency.constant(graph.num_relations, 1.0, 0.75)
    found = assert_same_ranks(graph, model, "test", setting)
    assert found.setting == setting and found.to_dict()["filter"] == "time"
    assert "relation" not in found.to_dict() and "nll" not in found.entity


def test_the_search_takes_what_is_best_on_valid():
    graph = random_graph(5, num_entities=10, facts=20)
    decays, shares = (0.0, 1.0, 2.0), (0.0, 0.5, 1.0)
    found = search_recurrency(graph, decays=decays, shares=shares)
    valid = RecurrencyEvaluator(graph, "valid")
    relation_of = np.concatenate(
        [
            np.concatenate([r, r + graph.num_relations])
            for t in graph.split_snapshots("valid")
            for r in [graph.relation[(graph.snapshot == t) & (graph.split == 1)]]
        ]
    )

    def mrr(decay, share, relation):
        model = Recurrency.constant(graph.num_relations, decay, share)
        return np.mean(1 / valid(model).filtered["entity"][relation_of == relation])

    for relation in range(2 * graph.num_relations):
        if not np.any(relation_of == relation):
            continue
        by_decay = [mrr(decay, 1.0, relation) for decay in decays]
        assert found.decay[relation] == decays[int(np.argmax(by_decay))]
        by_share = [mrr(found.decay[relation], share, relation) for share in shares]
        assert found.share[relation] == shares[int(np.argmax(by_share))]


def test_the_search_never_sees_the_test_split():
    graph = random_graph(7, num_entities=10, facts=20)
    rows = facts_of(graph)
    test = graph.split == SPLITS.index("test")
    other = rows.copy()
    other[test, 0], other[test, 2] = rows[test, 2], (rows[test, 0] + 3) % graph.num_entities
    # Facts of both splits at the time of the boundary are true at the same time: only later ones are changed.
    boundary = graph.snapshot[test][0]
    other[graph.snapshot == boundary] = rows[graph.snapshot == boundary]
    assert np.any(other != rows)
    one, two = (search_recurrency(with_facts(graph, facts)) for facts in (rows, other))
    assert one.to_dict() == two.to_dict()


def test_nothing_at_or_after_the_cut_is_read_in_multi_step():
    """The facts of the test split decide which queries there are, and with them the filter, but no score."""
    graph = random_graph(9, num_entities=10, facts=20)
    cut = int(graph.split_snapshots("test")[0])
    last = graph.num_snapshots - 1
    between = (graph.snapshot >= cut) & (graph.snapshot < last)
    assert between.any() and cut < last
    rows = facts_of(graph)
    other = rows.copy()
    other[between, 0] = (rows[between, 0] + 1) % 10
    model = Recurrency.constant(graph.num_relations, 0.3, 0.9)

    def at_the_end(facts, setting):
        found = RecurrencyEvaluator(with_facts(graph, facts), "test", setting)(model)
        return found.filtered["entity"][found.snapshot == last].tolist()

    assert at_the_end(rows, "multi-step") == at_the_end(other, "multi-step")
    assert at_the_end(rows, "single-step") != at_the_end(other, "single-step")


def test_a_split_without_queries():
    graph = make_graph([(0, 0, 1, 0), (1, 0, 0, 1)], num_entities=2, num_relations=1)
    with pytest.raises(DataError, match="test split has no snapshot with a past"):
        RecurrencyEvaluator(graph, "test")


@pytest.mark.slow
@pytest.mark.parametrize("name,published,hits", [("ICEWS14s", 0.374, 0.515), ("YAGO", 0.909, 0.930)])
def test_the_published_figures(name, published, hits):
    graph = load_graph(str(dataset(name)))
    figures = RecurrencyEvaluator(graph, "test")(search_recurrency(graph)).entity
    assert figures["mrr"] == pytest.approx(published, abs=0.003)
    assert figures["hits_at_10"] == pytest.approx(hits, abs=0.003)


def test_relations_that_valid_does_not_ask_about_take_what_is_best_for_all():
    """Relation 1 is never asked about on valid; what is best for relation 0 is best for all."""
    facts = [(s, 0, (s + t) % 4, t) for t in range(9) for s in range(4)] + [(0, 1, 2, t) for t in range(3)]
    graph = make_graph(facts, num_entities=4, num_relations=2, valid=27, test=35)
    asked = graph.relation[graph.split_mask("valid")]
    assert set(asked.tolist()) == {0}
    shares, decays = (1.0, 0.5, 0.0), (2.0, 1.0, 0.0)
    found = search_recurrency(graph, decays=decays, shares=shares)
    for_all = search_recurrency(graph, decays=decays, shares=shares, per_relation=False)
    unasked = [1, 3]
    # What is best is not what stands first.
    assert found.decay[unasked].tolist() == for_all.decay[unasked].tolist() != [decays[0]] * 2
    assert found.share[unasked].tolist() == for_all.share[unasked].tolist() != [shares[0]] * 2
