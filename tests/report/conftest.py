"""Two small trainings, as files and as runs with measurements."""

import dataclasses

import pytest

from tests.helpers import family_config
from tirgn_eqx import load_model, simulate, train_tirgn
from tirgn_eqx.report import measure, read_run

SMALL = {
    **{"embedding_dim": 8, "history_len": 2, "num_layers": 1, "conv_channels": 2, "epochs": 2, "eval_interval": 1},
    **{"max_buckets": 1, "precision": "f32", "remat": "none", "evidence_heads": 2, "evidence_hidden": 2},
}


@pytest.fixture(scope="session")
def graph():
    return simulate(num_entities=14, num_relations=4, num_days=20, facts_per_day=15, seed=2).graph


@pytest.fixture(scope="session")
def trainings(graph, tmp_path_factory):
    """Folders of a TiRGN and of an evidence model."""
    place = tmp_path_factory.mktemp("trainings")
    for name, changes in (("plain", {}), ("evidence", {"family": "evidence"})):
        config = family_config(**SMALL | changes, logdir=str(place / "logs" / name))
        train_tirgn(graph, config, model_dir=place / name)
    return place


@pytest.fixture(scope="session")
def runs(graph, trainings):
    """Both, with their measurements."""

    def measured(name):
        run = read_run(trainings / name)
        model, config, _ = load_model(run.checkpoint)
        return dataclasses.replace(run, measurements=measure(model, config, graph, samples=4))

    return [measured("plain"), measured("evidence")]
