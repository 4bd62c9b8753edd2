"""Graphs that are barely graphs: each is trained and evaluated without a NaN, or refused in one line."""

import math

import numpy as np
import pytest

from tests.helpers import family_config
from tirgn_eqx import train_tirgn
from tirgn_eqx.data.graph import from_facts
from tirgn_eqx.errors import DataError
from tirgn_eqx.train.events import EpochRecord

pytestmark = pytest.mark.ci

SMALL = {
    "embedding_dim": 4,
    "history_len": 2,
    "num_layers": 1,
    "conv_channels": 2,
    "epochs": 1,
    "eval_interval": 1,
    "checkpoint_interval": 0,
    "max_buckets": 1,
    "precision": "f32",
    "remat": "none",
    "evidence_heads": 2,
    "evidence_hidden": 2,
}
FORMS = {
    "tirgn": {},
    "one question at a time": {"batch_size": 1},
    "fast": {"loss": "shared", "num_shared": 2, "unique_queries": True, "targets_per_step": 2, "ema_decay": 0.5},
    "sampled": {"loss": "sampled", "num_negatives": 2},
    "regcn": {"family": "regcn"},
    "evidence": {"family": "evidence"},
}
# Facts (s, r, o, t); the last two times are valid and test.
GRAPHS = {
    "one fact a snapshot": ([(t % 3, 0, (t + 1) % 3, t) for t in range(8)], 3, 1),
    "a single entity": ([(0, 0, 0, t) for t in range(8)], 1, 1),
    "a single relation": ([(s, 0, (s + t) % 4, t) for t in range(8) for s in range(4)], 4, 1),
    "all facts equal": ([(0, 0, 1, t) for t in range(8) for _ in range(3)], 2, 1),
    "entities without events": ([(s, t % 2, s + 1, t) for t in range(8) for s in range(2)], 40, 2),
    "snapshots without events": ([(s, 0, s + 1, t) for t in (0, 1, 5, 6, 30, 31) for s in range(3)], 4, 1),
    "shorter than the history": ([(s, 0, 1 - s, t) for t in range(4) for s in range(2)], 2, 1),
    "one large snapshot": ([(s, 0, 39 - s, 0 if s < 34 else s - 33) for s in range(40)], 40, 1),
}
# What differs most is run always, the rest with -m slow.
ALWAYS = {("a single entity", "tirgn"), ("one fact a snapshot", "evidence")}


def graph_of(name):
    rows, entities, relations = GRAPHS[name]
    rows = np.unique(np.array(rows), axis=0)
    times = np.unique(rows[:, 3])
    split = np.searchsorted(times[-2:], rows[:, 3], side="right").astype(np.int8)
    return from_facts(name, rows, split, entities, relations)


CASES = [
    pytest.param(graph, form, marks=[] if (graph, form) in ALWAYS else pytest.mark.slow)
    for graph in GRAPHS
    for form in FORMS
    if (graph, form) != ("a single entity", "sampled")  # it has no candidate to draw: refused, see below
]


@pytest.mark.parametrize(("name", "form"), CASES)
def test_it_is_trained_and_evaluated_without_a_nan(tmp_path, name, form):
    changes = {"history_len": 9} if name == "shorter than the history" else {}
    config = family_config(**SMALL | FORMS[form] | changes, logdir=str(tmp_path / "logs"))
    records = []
    result = train_tirgn(graph_of(name), config, model_dir=tmp_path, on_record=records.append)
    assert result["status"] == "complete" and result["skipped_steps"] == 0
    (epoch,) = [record for record in records if isinstance(record, EpochRecord)]
    assert math.isfinite(epoch.loss)
    for split in ("validation", "test"):
        for kind in ("entity", "relation"):
            figures = result[split][kind]
            assert all(math.isfinite(figures[figure]) for figure in ("mrr", "hits_at_10", "nll")), figures
            assert 0 < figures["mrr"] <= 1


def test_a_vocabulary_without_a_false_answer_has_nothing_to_draw(tmp_path):
    config = family_config(**SMALL | FORMS["sampled"], logdir=str(tmp_path / "logs"))
    with pytest.raises(DataError, match="answered by all 1 entities.*use --set loss=full"):
        train_tirgn(graph_of("a single entity"), config, model_dir=tmp_path)


@pytest.mark.parametrize("form", ["tirgn", "evidence"])
def test_a_single_training_snapshot_is_refused(tmp_path, form):
    rows = np.array([(0, 0, 1, t) for t in range(3)])
    graph = from_facts("short", rows, np.array([0, 1, 2], np.int8), 2, 1)
    config = family_config(**SMALL | FORMS[form], logdir=str(tmp_path / "logs"))
    with pytest.raises(DataError, match="the train split has one snapshot"):
        train_tirgn(graph, config, model_dir=tmp_path)
