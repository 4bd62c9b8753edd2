"""TGB's protocol: ranks among its negatives, from the scores themselves; and the same figures as py-tgb's evaluator."""

import dataclasses
import pickle
import warnings

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from tests import tgb_files
from tirgn_eqx.config import FAMILIES
from tirgn_eqx.data import load_graph, match_checkpoint
from tirgn_eqx.data.graph import both_directions, from_facts
from tirgn_eqx.errors import ConfigError, DataError
from tirgn_eqx.evaluate.encoding import encode_rows
from tirgn_eqx.evaluate.protocol import make_evaluator
from tirgn_eqx.evaluate.tgb import check_tgb, evaluate_tgb, tgb_ranks
from tirgn_eqx.models import build_model

SHAPE = {"history_len": 2, "history_window": 0}
SMALL = {"embedding_dim": 8, "conv_channels": 2, "num_layers": 1, "history_len": 2, "static_graph": False}


def model_of(graph, kind):
    small = SMALL if kind != "evidence" else {"embedding_dim": 8, "evidence_heads": 4, "evidence_hidden": 4}
    config = FAMILIES[kind](**small)
    return build_model(graph.num_entities, graph.num_relations, config, key=jr.key(3))


@eqx.filter_jit
def recurrent_scores(model, batch, edgeless):
    """[part, query, entity]: of a batch's entity queries."""
    encoding = encode_rows(model, batch.window, batch.rows, edgeless)
    options = {"encoding": encoding, "time_index": batch.time_index, "kind": "entity"}
    return jax.lax.map(lambda queries: model.ranking_scores(queries=queries, **options)[0], batch.entity_queries)


@eqx.filter_jit
def evidence_scores(model, batch):
    """[query, entity]: of a batch's entity queries."""
    intensity = model.entity_intensities(batch)
    return intensity / jnp.sum(intensity, 1, keepdims=True)


def asked(graph, split, snapshot):
    """int (query, 3) of a snapshot: subject, relation, object, facts first and inverses after."""
    rows = np.flatnonzero(graph.split_mask(split) & (graph.snapshot == snapshot))
    return np.stack(both_directions(graph, rows), 1)


def scores_of(model, graph, split):
    """By query (snapshot, subject, relation), the score of every entity."""
    evaluator, found = make_evaluator(model, graph, split=split, **SHAPE), {}
    with jax.default_matmul_precision("highest"):
        for prepared in evaluator.loader.in_order():
            batch, facts = prepared.batch, asked(graph, split, prepared.target)
            if hasattr(batch, "entity"):
                score = np.asarray(evidence_scores(model, batch))
                for row, query in zip(prepared.rows["entity"], np.asarray(batch.entity.answers.answer_query)):
                    found[prepared.target, *facts[row, :2].tolist()] = score[query]
                continue
            _, _, edgeless, _ = evaluator._rank_arguments(model)(prepared)
            score, queries = np.asarray(recurrent_scores(model, batch, edgeless)), batch.entity_queries
            subject, relation = np.asarray(queries.subject), np.asarray(queries.condition)
            for place in zip(*np.nonzero(np.asarray(queries.weight) > 0)):
                found[prepared.target, int(subject[place]), int(relation[place])] = score[place]
    return found


def rank(score, answer, negatives):
    better, equal = np.sum(score[negatives] > score[answer]), np.sum(score[negatives] == score[answer])
    return 1 + better + equal / 2


@pytest.mark.parametrize(
    ("name", "kind"), [("tkgl-wikidata", "tirgn"), ("tkgl-wikidata", "evidence"), ("tkgl-icews", "tirgn")]
)
def test_ranks_are_those_among_the_negatives(tmp_path, name, kind):
    graph = load_graph(tgb_files.write(tmp_path, name))
    model = model_of(graph, kind)
    if name == "tkgl-wikidata":
        drawn = pickle.loads((tmp_path / f"{name}_test_ns.pkl").read_bytes())
    ranks, evaluation, said = tgb_ranks(model, graph, "test", **SHAPE)
    scores, expected = scores_of(model, graph, "test"), []
    for snapshot in np.unique(evaluation.snapshot).tolist():
        facts = asked(graph, "test", snapshot)
        for s, r, o in facts.tolist():
            true = facts[(facts[:, 0] == s) & (facts[:, 1] == r), 2]
            negatives = np.setdiff1d(np.arange(graph.num_entities), true)
            if name == "tkgl-wikidata":
                negatives = drawn[int(graph.times[snapshot]), s, r]
            expected.append(rank(scores[snapshot, s, r], o, negatives))
    np.testing.assert_array_equal(ranks, expected)
    assert said.startswith("6 sampled" if name == "tkgl-wikidata" else "all entities")


def test_other_data_has_no_such_protocol(tmp_path):
    graph = load_graph("sim:num_entities=8,num_relations=2,num_days=12,facts_per_day=8")
    with pytest.raises(ConfigError, match="--protocol tgb: sim is no folder of TGB 2.0"):
        evaluate_tgb(model_of(graph, "evidence"), graph, **SHAPE)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["tkgl-smallpedia", "tkgl-polecat", "tkgl-icews", "tkgl-wikidata"])
def test_the_data_and_the_figures_are_those_of_py_tgb(tmp_path, monkeypatch, name):
    """Needs py-tgb; it reads the same folder with its own reader, sampler and evaluator."""
    pytest.importorskip("tgb", reason="py-tgb is not installed: pip install py-tgb in an environment of its own")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import tgb.linkproppred.dataset as theirs
        from tgb.linkproppred.evaluate import Evaluator
    folder = tgb_files.write(tmp_path / name.replace("-", "_"), name)
    graph = load_graph(folder)
    if name != "tkgl-wikidata":
        for split, short in (("valid", "val"), ("test", "test")):
            true = {}
            for snapshot in graph.split_snapshots(split):
                for s, r, o in asked(graph, split, snapshot):
                    true.setdefault((graph.times[snapshot], s, r), {})[o] = 1
            true = {key: np.array(list(value)) for key, value in true.items()}
            (folder / f"{name}_{short}_ns.pkl").write_bytes(pickle.dumps(true))
    monkeypatch.setattr(theirs, "PROJ_DIR", "")
    data = theirs.LinkPropPredDataset(name, root=str(tmp_path), download=False)
    full, masks = data.full_data, {"train": data.train_mask, "valid": data.val_mask, "test": data.test_mask}
    assert data.num_nodes == graph.num_entities and data.num_rels == 2 * graph.num_relations
    for split, mask in masks.items():
        columns = ("timestamps", "sources", "edge_type", "destinations")
        their_facts = sorted(zip(*(full[key][mask].tolist() for key in columns)))
        chosen = np.flatnonzero(graph.split_mask(split))
        times = np.tile(graph.times[graph.snapshot[chosen]], 2)
        assert their_facts == sorted(zip(times.tolist(), *(x.tolist() for x in both_directions(graph, chosen))))
    if data.static_data is not None and graph.static is not None:
        known = data.static_data["head"] < graph.num_entities
        heads = np.sort(data.static_data["head"][known]).astype(int)
        assert heads.tolist() == sorted(graph.static.entity.tolist())
    data.load_val_ns()
    data.load_test_ns()
    model, evaluator = model_of(graph, "tirgn"), Evaluator(name=name)
    for split, short in (("valid", "val"), ("test", "test")) if name == "tkgl-wikidata" else (("test", "test"),):
        scores, found = scores_of(model, graph, split), []
        place = {int(time): number for number, time in enumerate(graph.times)}
        rows = np.flatnonzero(masks[split])
        columns = [full[key][rows] for key in ("sources", "destinations", "timestamps", "edge_type")]
        negatives = data.negative_sampler.query_batch(*columns, split_mode=short)
        for s, o, t, r, others in zip(*columns, negatives):
            score = scores[place[int(t)], int(s), int(r)]
            scored = {"y_pred_pos": np.array([score[o]]), "y_pred_neg": score[others], "eval_metric": ["mrr"]}
            found.append(evaluator.eval(scored))
        ours = evaluate_tgb(model, graph, split=split, **SHAPE)
        assert ours.protocol == "tgb" and ours.queries == len(found)
        assert ours.entity["mrr"] == pytest.approx(np.mean([one["mrr"] for one in found]), abs=1e-6)
        assert ours.entity["hits_at_10"] == pytest.approx(np.mean([one["hits@10"] for one in found]), abs=1e-6)


def test_negatives_are_not_taken_for_other_entities(tmp_path):
    """They are numbered as the files are, which a checkpoint with another order of names does not follow."""
    times = np.arange(20)
    facts = np.stack([times % 5, times % 2, (times + 1) % 5, times], 1)
    names = {"entity_names": tuple("QRSTU"), "relation_names": ("a", "b"), "provenance": {"kind": "tgb"}}
    data = from_facts("tkgl-wikidata", facts, np.repeat([0, 1, 2], [14, 3, 3]), 5, 2, **names)
    paired = match_checkpoint(data, {"entities": list("RQSTU"), "relations": ["a", "b"]})
    check_tgb(data, data)
    with pytest.raises(DataError, match="another order of them than these files, in whose ids TGB's negatives"):
        check_tgb(paired, data)
    check_tgb(dataclasses.replace(paired, name="tkgl-icews"), data)
