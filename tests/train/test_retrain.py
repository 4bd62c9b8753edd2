"""Taking a model over by name: the same forecasts under other ids; retraining, and what takes whose place."""

import dataclasses
import functools
import json
import shutil

import equinox as eqx
import jax
import numpy as np
import polars as pl
import pytest
from helpers import same_bits

from tirgn_eqx.config import TiRGNTrainingConfig, preset
from tirgn_eqx.data import load_graph
from tirgn_eqx.data.graph import from_facts
from tirgn_eqx.errors import CheckpointError, ConfigError, DataError
from tirgn_eqx.evaluate import evaluate_model
from tirgn_eqx.models import build_combined, build_model
from tirgn_eqx.train import gate
from tirgn_eqx.train import retrain as module
from tirgn_eqx.train.loop import train_tirgn
from tirgn_eqx.train.retrain import put_in_place, retrain
from tirgn_eqx.train.saved import load_model, save_model
from tirgn_eqx.train.warm import map_names, names_of, warm_start, with_gone

KINDS = ("tirgn", "regcn", "evidence", "combined")
ENTITIES, RELATIONS = tuple("ABCDEFGHI"), ("makes", "takes", "gives")


def config_of(kind, **changes):
    small = {"embedding_dim": 6, "precision": "f32", "max_buckets": 1}
    if kind == "evidence":
        return preset("evidence").replace(evidence_heads=2, evidence_hidden=3, **small | {"epochs": 1} | changes)
    small |= {"history_len": 2, "num_layers": 1, "conv_channels": 3, "remat": "none", "epochs": 1, "eval_interval": 1}
    return TiRGNTrainingConfig(model="regcn" if kind == "regcn" else "tirgn", **small | changes)


def facts(seed=0, times=8, each=10):
    rng = np.random.default_rng(seed)
    columns = [rng.integers(0, size, times * each) for size in (len(ENTITIES), len(RELATIONS), len(ENTITIES))]
    return np.stack([*columns, np.repeat(np.arange(times), each)], 1)


def named_graph(rows, entities=ENTITIES, relations=RELATIONS):
    names = {"entity_names": entities, "relation_names": relations}
    split = np.minimum(rows[:, 3] * 4 // (rows[:, 3].max() + 1) // 2 + rows[:, 3] // 7, 2)
    return from_facts("made", rows, split, len(entities), len(relations), **names)


@functools.cache
def built(kind, entities, relations, seed=0):
    def make(key):
        if kind == "combined":
            return build_combined(entities, relations, config_of("tirgn"), config_of("evidence"), key=key)
        return build_model(entities, relations, config_of(kind), key=key)

    return eqx.filter_jit(make)(jax.random.key(seed))


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_facts_under_other_ids_are_forecast_alike(kind):
    rows, rng = facts(), np.random.default_rng(1)
    graph = named_graph(rows)
    entity, relation = rng.permutation(len(ENTITIES)), rng.permutation(len(RELATIONS))
    other_rows = rows.copy()
    other_rows[:, 0], other_rows[:, 2] = np.argsort(entity)[rows[:, 0]], np.argsort(entity)[rows[:, 2]]
    other_rows[:, 1] = np.argsort(relation)[rows[:, 1]]
    other = named_graph(other_rows, tuple(ENTITIES[i] for i in entity), tuple(RELATIONS[i] for i in relation))
    model = built(kind, len(ENTITIES), len(RELATIONS))
    mapping = map_names(names_of(graph), names_of(other))
    assert mapping.report()["entities"] == {"kept": 9, "new": 0, "gone": 0}
    taken = warm_start(model, built(kind, len(ENTITIES), len(RELATIONS), seed=5), mapping, "m")
    one, two = (evaluate_model(m, g, history_len=2) for m, g in ((model, graph), (taken, other)))
    for part in ("entity", "relation"):
        # Facts of one snapshot stand in the order of the rows, which is the same.
        np.testing.assert_allclose(one.nll[part], two.nll[part], rtol=2e-3, atol=2e-3)
    untouched = evaluate_model(model, other, history_len=2)
    assert not np.allclose(one.nll["entity"], untouched.nll["entity"], rtol=1e-2)


def test_what_is_new_begins_anew_and_what_is_gone_is_dropped_or_kept():
    old_names = (("A", "B", "X"), ("makes", "burns"))
    model, names = built("tirgn", 3, 2), (("B", "N", "A"), ("takes", "makes"))
    fresh, mapping = built("tirgn", 3, 2, seed=7), map_names(old_names, names)
    assert mapping.report() == {
        "entities": {"kept": 2, "new": 1, "gone": 1},
        "relations": {"kept": 1, "new": 1, "gone": 1},
    }
    taken = warm_start(model, fresh, mapping, "m")
    rows = lambda m, table: np.asarray(getattr(m, table))
    assert np.array_equal(rows(taken, "entity_embedding")[[0, 2]], rows(model, "entity_embedding")[[1, 0]])
    assert np.array_equal(rows(taken, "entity_embedding")[1], rows(fresh, "entity_embedding")[1])
    # Relations: takes, makes, and their inverses.
    expected = [rows(fresh, "relation_embedding")[0], rows(model, "relation_embedding")[0]]
    expected += [rows(fresh, "relation_embedding")[2], rows(model, "relation_embedding")[2]]
    assert np.array_equal(rows(taken, "relation_embedding"), np.stack(expected))
    assert same_bits(taken.entity_raw, model.entity_raw) and same_bits(taken.relation_gru, model.relation_gru)
    graph = from_facts("made", np.array([[0, 0, 1, 0], [1, 1, 2, 1], [2, 0, 0, 2]]), np.arange(3), 3, 2)
    with pytest.raises(DataError, match="has no names"):
        names_of(graph)
    graph = dataclasses.replace(graph, entity_names=names[0], relation_names=names[1])
    kept = with_gone(graph, old_names)
    assert kept.entity_names == ("B", "N", "A", "X") and kept.relation_names == ("takes", "makes", "burns")
    assert (kept.num_entities, kept.num_relations, kept.num_facts) == (4, 3, 3)


def test_models_of_another_shape_are_refused():
    mapping = map_names((ENTITIES, RELATIONS), (ENTITIES, RELATIONS))
    wide = build_model(9, 3, config_of("tirgn", embedding_dim=8), key=jax.random.key(0))
    deep = build_model(9, 3, config_of("tirgn", num_layers=2), key=jax.random.key(0))
    for fresh, message in [
        (wide, "entity_embedding is .9, 6. there and .9, 8. here"),
        (deep, "layers has 1 parts there and 2 here"),
        (built("regcn", 9, 3), "is a TiRGN there and a REGCN here"),
    ]:
        with pytest.raises(CheckpointError, match=message):
            warm_start(built("tirgn", 9, 3), fresh, mapping, "m")


# --- the whole ---------------------------------------------------------------------------------------------------


def write_events(path, first_day, days=10, names=ENTITIES, seed=0):
    """Every actor deals with the next one, and the same way every day."""
    rng = np.random.default_rng(seed)
    rows = [
        (names[i], RELATIONS[int(rng.integers(3))], names[(i + 1) % len(names)], (17_000 + first_day + day) * 86_400)
        for day in range(days)
        for i in range(len(names))
    ]
    pl.DataFrame(rows, schema=["entity1", "relation", "entity2", "timestamp"], orient="row").write_parquet(path)
    return path


@pytest.fixture(autouse=True, scope="module")
def few_steps():
    """Of the gate: the tests are about what goes where."""
    patch = pytest.MonkeyPatch()
    patch.setattr(gate, "STEPS", 4)
    yield
    patch.undo()


@pytest.fixture(scope="module", params=["evidence", pytest.param("combined", marks=pytest.mark.slow)])
def trained(request, tmp_path_factory):
    place, kind = tmp_path_factory.mktemp("weekly"), request.param
    graph = load_graph(str(write_events(place / "events.parquet", 0)), num_days=0)
    if kind == "combined":
        model = built(kind, graph.num_entities, graph.num_relations)
        config = config_of("tirgn", history="evidence", logdir=str(place / "log"))
        path = save_model(place / "m", model, config, graph, evidence=config_of("evidence"))
    else:
        config = config_of(kind, logdir=str(place / "log"))
        path = train_tirgn(graph, config, model_dir=place / "models")["checkpoint"]
    return {"checkpoint": path, "place": place, "kind": kind}


def copied(trained, folder):
    folder.mkdir(exist_ok=True)
    target = folder / "weekly.npz"
    shutil.copy(trained["checkpoint"], target)
    return target


def later_graph(trained):
    names = (*ENTITIES[1:], "NEW")
    path = write_events(trained["place"] / "later.parquet", 7, names=names, seed=1)
    return load_graph(str(path), num_days=0)


def test_a_retrained_model_takes_the_place_of_the_old_one(trained, tmp_path):
    place, graph = copied(trained, tmp_path / "live"), later_graph(trained)
    before = place.read_bytes()
    options = {"max_regression": 1.0, "changes": {"logdir": str(tmp_path / "log")}}
    result = retrain(graph, place, model_dir=tmp_path / "run", **options)
    assert result["replaced"] and result["names"]["entities"] == {"kept": 8, "new": 1, "gone": 1}
    assert (tmp_path / "live" / "weekly.previous.npz").read_bytes() == before
    model, config, described = load_model(place)
    assert described["entities"] == list(graph.entity_names) and described["data"]["sha256"] == graph.checksum
    new = result["comparison"]["models"][0]["entity"]["mrr"]
    assert evaluate_model(model, graph, history_len=config.history_len).entity["mrr"] == pytest.approx(new)
    assert json.loads(json.dumps(result))["comparison"]["difference"]["mrr"]["interval_points"]
    if trained["kind"] == "evidence":
        # Again, with those that are gone kept, from the new one.
        again = retrain(graph, place, model_dir=tmp_path / "next", keep_gone=True, **options)
        assert again["names"]["entities"] == {"kept": 9, "new": 0, "gone": 0}
        kept = retrain(
            later_graph(trained),
            copied(trained, tmp_path / "k"),
            model_dir=tmp_path / "kept",
            keep_gone=True,
            **options,
        )
        assert kept["names"]["entities"] == {"kept": 9, "new": 1, "gone": 0}
        assert load_model(tmp_path / "k" / "weekly.npz")[0].num_entities == 10


def test_a_worse_model_does_not(trained, tmp_path, monkeypatch):
    if trained["kind"] == "combined":
        pytest.skip("the decision is the same for every model")
    place, graph = copied(trained, tmp_path / "live"), later_graph(trained)
    before, evaluate = place.read_bytes(), module.make_evaluator

    def spoilt(model, graph, **options):
        run, calls = evaluate(model, graph, **options), []

        def ranks(model):
            calls.append(model)
            found = run(model)
            worse = {"entity": found.filtered["entity"] + 3}
            return dataclasses.replace(found, filtered=found.filtered | worse) if len(calls) == 1 else found

        return ranks

    monkeypatch.setattr(module, "make_evaluator", spoilt)
    options = {"changes": {"logdir": str(tmp_path / "log")}, "max_regression": 0.05}
    result = retrain(graph, place, model_dir=tmp_path / "run", **options)
    assert not result["replaced"] and "previous" not in result and place.read_bytes() == before
    assert [path.name for path in (tmp_path / "live").iterdir()] == ["weekly.npz"]
    assert (tmp_path / "run" / "tirgn_best.npz").exists()


def test_an_interrupted_retraining_goes_on_to_the_same_end(trained, tmp_path):
    if trained["kind"] == "combined":
        pytest.skip("stages are resumed by a test of their own")
    graph, options = (
        later_graph(trained),
        {"max_regression": 1.0, "changes": {"epochs": 2, "logdir": str(tmp_path / "l")}},
    )
    whole = copied(trained, tmp_path / "whole")
    retrain(graph, whole, model_dir=tmp_path / "one", **options)
    part, count = copied(trained, tmp_path / "part"), iter(range(1000))
    before = part.read_bytes()
    stopped = retrain(graph, part, model_dir=tmp_path / "two", stop=lambda: next(count) >= 3, **options)
    assert stopped["status"] == "interrupted" and not stopped["replaced"] and part.read_bytes() == before
    result = retrain(graph, part, model_dir=tmp_path / "two", resume=True, **options)
    assert result["replaced"] and same_bits(load_model(part)[0], load_model(whole)[0])


def test_the_place_is_never_without_a_whole_checkpoint(trained, tmp_path, monkeypatch):
    if trained["kind"] == "combined":
        pytest.skip("files are files")
    place = copied(trained, tmp_path / "live")
    new = copied(trained, tmp_path / "new")
    old, replace = load_model(place)[0], module.os.replace
    for last in range(4):
        done = []

        def broken(source, target, done=done, last=last):
            if len(done) == last:
                raise OSError("pulled out")
            done.append(target)
            replace(source, target)

        monkeypatch.setattr(module.os, "replace", broken)
        try:
            put_in_place(new, place)
        except (OSError, CheckpointError):
            pass
        monkeypatch.setattr(module.os, "replace", replace)
        assert same_bits(load_model(place)[0], old)
    assert len(done) == 3


def test_what_cannot_be_taken_over_is_said(trained, tmp_path):
    if trained["kind"] == "combined":
        pytest.skip("said before the model is looked at")
    graph, place = later_graph(trained), copied(trained, tmp_path / "live")
    strangers = load_graph(str(write_events(tmp_path / "other.parquet", 0, names=("Q", "R", "S"))), num_days=0)
    with pytest.raises(CheckpointError, match="none of its entities occurs"):
        retrain(strangers, place, model_dir=tmp_path)
    with pytest.raises(ConfigError, match="--max-regression 2"):
        retrain(graph, place, model_dir=tmp_path, max_regression=2.0)
    with pytest.raises(CheckpointError, match="leave the settings of the model"):
        retrain(graph, place, model_dir=tmp_path, changes={"embedding_dim": 8})
    nameless = dataclasses.replace(graph, entity_names=None, relation_names=None)
    path = save_model(tmp_path / "n", load_model(place)[0], config_of("evidence"), nameless)
    with pytest.raises(CheckpointError, match="has no names"):
        retrain(graph, path, model_dir=tmp_path)
