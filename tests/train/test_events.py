"""The result of a training: figures of the best checkpoint, or what is known of an interrupted one."""

import numpy as np
import pytest

from tests.helpers import make_graph, tiny_config
from tirgn_eqx.evaluate.ranks import Ranks
from tirgn_eqx.evaluate.results import Evaluation
from tirgn_eqx.train.events import TrainingResult, make_result


@pytest.fixture
def evaluation():
    graph = make_graph([(0, 0, 1, 0), (1, 0, 0, 1)], num_entities=2, num_relations=1, valid=1)
    ranks = {kind: np.array([1.0, 2.0]) for kind in ("entity", "relation")}
    columns = {name: ranks for name in Ranks._fields}
    inverse = np.array([False, True])
    return Evaluation(graph, "valid", "single-step", np.array([1, 1]), inverse, seconds=0.0, **columns)


def test_a_complete_result_has_the_figures_of_both_splits(evaluation, tmp_path):
    path = tmp_path / "tirgn_best.npz"
    result = make_result(tiny_config(), "complete", best_mrr=0.1, checkpoint=path, validation=evaluation)
    assert set(result) == set(TrainingResult.__annotations__) - {"stages", "refit", "events"}
    assert result["best_mrr"] == result["validation"]["entity"]["mrr"] == 0.75
    figures = ["split", "setting", "filter", "entity", "entity_raw", "relation", "mrr_interval", "strata"]
    assert list(result["validation"]) == figures
    whole = evaluation.to_dict()
    assert all(whole[name] == value for name, value in result["validation"].items())
    assert result["checkpoint"] == str(path) and result["model_type"] == "tirgn" and result["test"] is None


def test_an_interrupted_result_says_what_is_known():
    result = make_result(tiny_config("regcn"), "interrupted", epochs_trained=3, best_epoch=2, best_mrr=0.25)
    assert (result["status"], result["epochs_trained"], result["best_epoch"]) == ("interrupted", 3, 2)
    assert result["best_mrr"] == 0.25 and result["checkpoint"] is None and result["validation"] is None
    assert result["oom_overrides"] == {} and not result["early_stopped"]
