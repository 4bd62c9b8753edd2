"""Forecasts by name: the model's own probabilities, nothing after the target time, explanations, whole tables."""

import dataclasses
import functools
import json

import equinox as eqx
import jax
import numpy as np
import polars as pl
import pytest

from tirgn_eqx.checkpoint.models import save_model
from tirgn_eqx.config import FAMILIES, MixtureTrainingConfig, preset
from tirgn_eqx.data import load_graph
from tirgn_eqx.data.forecast_target import make_forecast_target
from tirgn_eqx.data.times import parse_snapshot_time
from tirgn_eqx.data.vocabulary import match_checkpoint
from tirgn_eqx.errors import DataError, DataWarning
from tirgn_eqx.evaluate import evaluate_model
from tirgn_eqx.forecast import Forecaster, forecaster, states
from tirgn_eqx.forecast.facts import HALF_LIFE
from tirgn_eqx.models import build_model
from tirgn_eqx.nn import ConvDecoder

NAMES = [f"ACTOR {letter}" for letter in "ABCDEFGHIJKL"]
RELATIONS = ["042_Q1", "190_Q4", "036_Q1"]
DAYS = 12
KINDS = ("tirgn", "regcn", "evidence", "mixture")


def config_of(kind):
    small = {"embedding_dim": 6, "precision": "f32", "history_len": 2, "num_layers": 1, "conv_channels": 3}
    if kind == "evidence":
        changes = {"embedding_dim": 6, "evidence_heads": 3, "evidence_hidden": 4, "precision": "f32"}
        return preset("evidence").replace(**changes)
    if kind == "mixture":
        return MixtureTrainingConfig.of(config_of("tirgn"), config_of("evidence"))
    return FAMILIES[kind](**small)


@pytest.fixture(scope="module")
def events(tmp_path_factory):
    """A table of events by name, each day's at noon."""
    rng = np.random.default_rng(0)
    rows = 60 * DAYS
    day = np.repeat(np.arange(DAYS), 60)
    path = tmp_path_factory.mktemp("events") / "events.parquet"
    pl.DataFrame(
        {
            "entity1": rng.choice(NAMES, rows),
            "relation": rng.choice(RELATIONS, rows),
            "entity2": rng.choice(NAMES, rows),
            "timestamp": (day + 17_500) * 86_400 + 43_200,
        }
    ).write_parquet(path)
    return path


@pytest.fixture(scope="module")
def graph(events):
    return load_graph(str(events), num_days=0)


@pytest.fixture(scope="module")
def models(graph):
    sizes, key = (graph.num_entities, graph.num_relations), jax.random.key(0)
    made = {}
    for kind in KINDS:
        make = functools.partial(build_model, *sizes, config_of(kind))
        made[kind] = eqx.filter_jit(lambda key, make=make: make(key=key))(key)

    # Decoders as if trained: without statistics of their own, an untrained one is sure of everything.
    def decoders(m):
        return [part for part in jax.tree.leaves(m, is_leaf=is_decoder) if is_decoder(part)]

    def variances(m):
        return [decoder.norm_hidden.running.var for decoder in decoders(m)]

    def calm(m):
        return eqx.tree_at(variances, m, replace_fn=lambda x: 1e4 * x) if decoders(m) else m

    return {kind: calm(model) for kind, model in made.items()}


def is_decoder(part):
    return isinstance(part, ConvDecoder)


@pytest.mark.parametrize("kind", KINDS)
def test_probabilities_are_those_of_the_evaluation(models, graph, kind):
    model, config = models[kind], config_of(kind)
    days = graph.split_snapshots("test").tolist()
    cut = Forecaster(model, config, graph, at=int(graph.times[days[0]]))
    found = evaluate_model(model, graph, **config.window())
    here = slice(*graph.offsets[days[0] : days[0] + 2].tolist())
    s, r, o = (x[here].astype(np.int64) for x in (graph.subject, graph.relation, graph.object))
    facts, number = found.snapshot == days[0], graph.num_relations
    row = np.arange(len(s))
    expected = found.nll["entity"][facts].reshape(2, -1)
    np.testing.assert_allclose(-np.log(cut.objects(s, r)[row, o]), expected[0], rtol=2e-4, atol=1e-4)
    np.testing.assert_allclose(-np.log(cut.objects(o, r + number)[row, s]), expected[1], rtol=2e-4, atol=1e-4)
    relation = found.nll["relation"][facts].reshape(2, -1)
    np.testing.assert_allclose(-np.log(cut.relations(s, o)[row, r]), relation[0], rtol=2e-4, atol=1e-4)
    # A part at a time, each in another padded shape, gives the same.
    one = np.concatenate([cut.objects(s[i : i + 1], r[i : i + 1]) for i in range(3)])
    np.testing.assert_allclose(one, cut.objects(s, r)[:3], rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_from_the_target_time_on_is_read(models, graph, kind):
    at, model, config = int(graph.times[8]), models[kind], config_of(kind)
    whole = Forecaster(model, config, graph, at=at)
    assert whole.graph.num_facts == graph.offsets[8] and whole.graph.offsets[-1] == whole.graph.offsets[-2]
    known = make_forecast_target(graph, at).graph
    assert int(known.times[-1]) == at and known.num_snapshots == 9
    rng = np.random.default_rng(1)
    changed = graph.object.copy()
    changed[graph.offsets[8] :] = rng.permutation(changed[graph.offsets[8] :])
    other = Forecaster(model, config, dataclasses.replace(graph, object=changed.copy()), at=at)
    s, r = np.arange(6), np.arange(6) % (2 * graph.num_relations)
    assert np.array_equal(whole.objects(s, r), other.objects(s, r))
    changed[: graph.offsets[8]] = rng.permutation(changed[: graph.offsets[8]])
    past = Forecaster(model, config, dataclasses.replace(graph, object=changed), at=at)
    assert not np.allclose(whole.objects(s, r), past.objects(s, r))


def test_a_target_further_ahead_knows_no_more(models, graph):
    near, far = (Forecaster(models["evidence"], config_of("evidence"), graph, at=at) for at in (None, "2017-12-20"))
    assert (near.time, far.time) == ("2017-12-12", "2017-12-20")
    s, r = np.arange(6), np.arange(6) % 6
    np.testing.assert_allclose(near.objects(s, r), far.objects(s, r), rtol=1e-5)
    with pytest.raises(DataError, match="nothing is known before"):
        Forecaster(models["evidence"], config_of("evidence"), graph, at="2010-01-01")
    with pytest.raises(DataError, match="not a date or time"):
        parse_snapshot_time(graph, "tomorrow")
    with pytest.raises(DataError, match="the model was trained with 12 and 3"):
        Forecaster(models["evidence"], config_of("evidence"), load_graph("sim"))


@pytest.mark.parametrize("kind", KINDS)
def test_any_part_is_forecast_by_name(models, graph, kind):
    found = Forecaster(models[kind], config_of(kind), graph)
    names, relations = found.names, graph.num_relations
    s, r = names.entity(" actor c "), names.relation("190_q4")
    objects = found.objects(np.array([s]), np.array([r]))[0]
    forecast = found.forecast("ACTOR C", "190_Q4", top=3)
    assert forecast.predicted == "object" and forecast.time == "2017-12-12" and len(forecast.candidates) == 3
    best = np.argsort(-objects, kind="stable")[:3]
    assert [c.name for c in forecast.candidates] == [names.entities[i] for i in best]
    np.testing.assert_allclose([c.probability for c in forecast.candidates], objects[best], rtol=1e-4)
    subjects = found.forecast(None, "190_Q4", "ACTOR C", top=99)
    expected = found.objects(np.array([s]), np.array([r + relations]))[0]
    by_name = {c.name: c.probability for c in subjects.candidates}
    assert len(by_name) == graph.num_entities and abs(sum(by_name.values()) - 1) < 1e-4
    np.testing.assert_allclose([by_name[name] for name in names.entities], expected, rtol=1e-4)
    between = found.forecast("ACTOR C", None, "ACTOR D", top=5)
    assert {c.name for c in between.candidates} == set(RELATIONS)
    assert abs(sum(c.probability for c in between.candidates) - 1) < 1e-5
    assert json.loads(json.dumps(forecast.to_dict()))["candidates"][0]["name"] == forecast.candidates[0].name
    many = found.forecasts([("ACTOR C", "190_Q4", None), (None, "190_Q4", "ACTOR C"), ("ACTOR C", None, "ACTOR D")])
    assert [f.predicted for f in many] == ["object", "subject", "relation"]
    assert many[0].candidates[0].name == forecast.candidates[0].name


@pytest.mark.parametrize("kind", KINDS)
def test_an_explanation_says_what_happened(models, graph, kind):
    found = Forecaster(models[kind], config_of(kind), graph)
    s, r = found.names.entity("ACTOR A"), found.names.relation("036_Q1")
    for candidate in found.forecast("ACTOR A", "036_Q1", top=12).candidates:
        o = found.names.entity(candidate.name)
        same = (graph.subject == s) & (graph.object == o) & (graph.relation == r)
        if kind in ("tirgn", "regcn"):
            assert candidate.explanation.events == same.sum()
            assert 0 <= candidate.explanation.from_history <= (0 if kind == "regcn" else 1)
            continue
        shares = candidate.explanation.shares
        np.testing.assert_allclose(sum(share.share for share in shares), 1, rtol=1e-4)
        events = {(x.subject, x.relation, x.object): x.events for x in shares if x.kind == "event"}
        assert events.get(("ACTOR A", "036_Q1", candidate.name), 0) == same.sum()
        assert ("structure" in {share.kind for share in shares}) == (kind == "mixture")


def test_facts_are_scored_by_each_of_their_parts(models, graph):
    found = Forecaster(models["mixture"], config_of("mixture"), graph)
    scores = found.score([("ACTOR A", "036_Q1", "ACTOR B"), ("ACTOR C", "042_Q1", "ACTOR D")])
    for number, (s, r, o) in enumerate([("ACTOR A", "036_Q1", "ACTOR B"), ("ACTOR C", "042_Q1", "ACTOR D")]):

        def by_name(forecast):
            return {c.name: c.probability for c in forecast.candidates}

        np.testing.assert_allclose(scores["object"][number], by_name(found.forecast(s, r, top=99))[o], rtol=1e-4)
        np.testing.assert_allclose(scores["subject"][number], by_name(found.forecast(None, r, o, top=99))[s], rtol=1e-4)
        np.testing.assert_allclose(
            scores["relation"][number], by_name(found.forecast(s, None, o, top=99))[r], rtol=1e-4
        )


def test_the_most_probable_facts_are_those_of_all(models, graph, monkeypatch):
    from tirgn_eqx.forecast import facts

    monkeypatch.setattr(facts, "CHUNK", 5)
    found = Forecaster(models["evidence"], config_of("evidence"), graph)
    top = found.top_facts(7)
    age = DAYS - np.asarray(graph.snapshot, float)
    whole = sum(2 ** (-a / HALF_LIFE) for a in range(1, DAYS + 1))
    every = {}
    for s in range(graph.num_entities):
        for r in range(graph.num_relations):
            past = (graph.subject == s) & (graph.relation == r)
            rate = (2 ** (-age[past] / HALF_LIFE)).sum() / whole
            for o, p in enumerate(found.objects(np.array([s]), np.array([r]))[0]):
                every[found.names.entities[s], found.names.relations[r], found.names.entities[o]] = rate * p
    expected = sorted(every.values(), reverse=True)[:7]
    np.testing.assert_allclose([fact.expected for fact in top], expected, rtol=1e-4)
    np.testing.assert_allclose([fact.probability for fact in top], -np.expm1(-np.array(expected)), rtol=1e-4)
    for fact in top:
        np.testing.assert_allclose(every[fact.subject, fact.relation, fact.object], fact.expected, rtol=1e-4)


def test_names_that_are_not_known_are_answered_with_what_is(models, graph):
    found = Forecaster(models["evidence"], config_of("evidence"), graph)
    with pytest.raises(DataError, match="entity 'ACTOR' is not known; names with it: 'ACTOR"):
        found.forecast("ACTOR", "042_Q1")
    with pytest.raises(DataError, match="relation '043_Q1' is not known; did you mean '042_Q1'"):
        found.forecast("ACTOR A", "043_Q1")
    for query in [("ACTOR A", None, None), ("ACTOR A", "042_Q1", "ACTOR B")]:
        with pytest.raises(DataError, match="missing; give two of subject, relation and object"):
            found.forecast(*query)


def test_a_temperature_sharpens_and_keeps_the_order(models, graph):
    plain = Forecaster(models["tirgn"], config_of("tirgn"), graph)
    sharp = Forecaster(models["tirgn"], config_of("tirgn"), graph, temperature={"entity": 0.5, "relation": 1.0})
    s, r = np.arange(4), np.zeros(4, int)
    expected = plain.objects(s, r).astype(float) ** 2
    np.testing.assert_allclose(sharp.objects(s, r), expected / expected.sum(1, keepdims=True), rtol=1e-4)
    assert np.array_equal(sharp.relations(s, s), plain.relations(s, s))
    one, two = (f.forecast("ACTOR A", "042_Q1").candidates for f in (plain, sharp))
    assert [c.name for c in one] == [c.name for c in two] and two[0].probability > one[0].probability


def test_newer_data_is_read_in_the_vocabulary_of_the_checkpoint(models, graph, events, tmp_path):
    path = save_model(tmp_path / "m", models["evidence"], config_of("evidence"), graph)
    later = pl.read_parquet(events)[-180:].with_columns(pl.col("timestamp") + 5 * 86_400)
    stranger = later[:1].with_columns(entity1=pl.lit("NOBODY"))
    pl.concat([later, stranger]).write_parquet(tmp_path / "later.parquet")
    with pytest.warns(DataWarning, match="1 of 181 facts .* retrain"):
        found = Forecaster.load(path, str(tmp_path / "later.parquet"), num_days=0)
    assert found.graph.entity_names == graph.entity_names and found.time == "2017-12-17"
    assert found.graph.num_facts == 180
    everybody = {"entities": ["X"], "relations": ["Y"]}
    with pytest.raises(DataError, match="no fact is left, each has a name that the checkpoint does not know .* 'ACTOR"):
        match_checkpoint(graph, everybody)


def test_shapes_are_few(models, graph):
    """However many queries, a handful of compiled steps."""
    found = Forecaster(models["evidence"], config_of("evidence"), graph)
    rng = np.random.default_rng(0)
    for number in (1, 1, 2, 7, 16, 30, 200, 300):
        found.objects(rng.integers(0, 12, number), rng.integers(0, 6, number))
    assert len(found.state._entity.compiled) <= 4 and states.MAX_QUERIES == 256
    assert forecaster.MAX_QUERIES == states.MAX_QUERIES
