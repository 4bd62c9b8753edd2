"""Explanations of evidence models: shares that add up to the forecast, and events by name."""

import json

import numpy as np
import pytest

from tests.helpers import both_directions, make_graph, random_graph
from tests.models.evidence_helpers import FORMS, batch_at, build, entity_intensities
from tirgn_eqx.errors import DataError
from tirgn_eqx.evaluate.explain import Explainer


@pytest.fixture(scope="module")
def graph():
    return random_graph(3, num_entities=14, facts=8)


@pytest.mark.parametrize("context, background", FORMS[:2])
def test_shares_add_up_to_the_forecast(graph, context, background):
    model = build(graph, evidence_context=context, evidence_background=background)
    explain, target = Explainer(model, graph), graph.num_snapshots - 1
    batch, gathered = batch_at(graph, model, target)
    intensity = np.asarray(entity_intensities(model, batch), np.float64)
    known = [fact for fact in both_directions(graph) if fact[3] < target]
    events = 0
    for query in range(0, len(gathered["subject"]), 2):
        s, r = int(gathered["subject"][query]), int(gathered["relation"][query])
        for o in range(0, graph.num_entities, 4):
            found = explain(s, r, o, target)
            np.testing.assert_allclose(sum(share.share for share in found.shares), 1, rtol=1e-4)
            np.testing.assert_allclose(found.probability, intensity[query, o] / intensity[query].sum(), rtol=1e-4)
            past = [fact for fact in known if (fact[0], fact[2]) == (s, o)]
            named = {share.relation_id: share for share in found.shares if share.kind == "event"}
            assert set(named) == {q for _, q, _, _ in past}
            for q, share in named.items():
                times = [t for _, p, _, t in past if p == q]
                assert (share.events, share.snapshot) == (len(times), max(times)) and share.share > 0
            events += len(named)
    assert events > 10
    best = explain(int(gathered["subject"][0]), int(gathered["relation"][0]), None, target)
    assert best.candidate == int(intensity[0].argmax())
    text = json.loads(json.dumps(best.to_dict()))
    assert text["probability"] == best.probability


def test_an_explanation_says_who_did_what_to_whom():
    names = {"entity_names": ("Anna", "Ben", "Cleo"), "relation_names": ("greets", "pays")}
    graph = make_graph([(0, 0, 1, 0), (1, 1, 0, 1), (0, 0, 2, 2)], num_entities=3, num_relations=2, **names)
    explain = Explainer(build(graph), graph)
    # Who greets Ben? In the ids of the model: what stands in the inverse of "greets" to Ben.
    found = explain(1, 2, 0, 2).to_dict()
    assert (found["subject"], found["relation"], found["object"]) == ("Anna", "greets", "Ben")
    assert found["predicted"] == "subject" and found["time"] == 2
    events = {
        (s["subject"], s["relation"], s["object"], s["events"], s["last"]) for s in found["shares"] if "relation" in s
    }
    assert events == {("Anna", "greets", "Ben", 1, 0), ("Ben", "pays", "Anna", 1, 1)}
    # Of Cleo nothing was known then.
    assert {share.kind for share in explain(0, 0, 2, 2).shares} == {"background"}


def test_an_explanation_of_what_does_not_exist_is_refused(graph):
    explain = Explainer(build(graph), graph)
    for arguments in [(99, 0, 1, 1), (0, 99, 1, 1), (0, 0, 99, 1), (0, 0, 1, 99), (-1, 0, 1, 1)]:
        with pytest.raises(DataError, match="does not exist"):
            explain(*arguments)
