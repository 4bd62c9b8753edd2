"""A training of one model: its folder is locked, its records end with the result, its logs begin where it does."""

import json
from types import SimpleNamespace

import pytest

from tests.helpers import family_config, random_graph
from tirgn_eqx.checkpoint.run_folder import lock_folder
from tirgn_eqx.errors import CheckpointError
from tirgn_eqx.tracking.logger import NullLogger
from tirgn_eqx.train import single
from tirgn_eqx.train.events import EndRecord
from tirgn_eqx.train.single import RunOptions, train_single

RESULT = {"status": "complete", "model_type": "evidence"}


@pytest.fixture
def trainers(monkeypatch):
    """In place of the training itself: the trainers that were made."""
    made = []

    class Fake:
        def __init__(self, graph, config, folder, on_record, start, mesh, select):
            self.graph, self.config, self.folder, self.mesh, self.select = graph, config, folder, mesh, select
            self.parameters, self.state, self.resumed = 7, SimpleNamespace(global_step=0), None
            self.logger = NullLogger()
            made.append(self)

        def resume(self, force):
            self.resumed, self.state = force, SimpleNamespace(global_step=2)

        def train(self, stop):
            self.stopped = stop()
            with pytest.raises(CheckpointError, match="at work here"):
                with lock_folder(self.folder):
                    pass
            self.logger.log_metrics({"train/loss": 1.0}, self.state.global_step + 1)
            return RESULT

    monkeypatch.setattr(single, "Trainer", Fake)
    return made


def logged(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_a_training_holds_its_folder_and_ends_with_its_result(trainers, tmp_path):
    config, records = family_config("evidence", logdir=str(tmp_path / "logs")), []
    graph, options = random_graph(2), RunOptions(tmp_path / "models", records.append, stop=lambda: True)
    assert train_single(graph, config, options) == RESULT
    (trainer,) = trainers
    assert trainer.graph is graph and trainer.mesh is None and trainer.stopped and trainer.resumed is None
    assert records == [EndRecord(RESULT)]
    first, second = logged(tmp_path / "logs")
    assert (first["step"], first["system/total_params"], second["step"]) == (0, 7, 1)
    assert json.loads((tmp_path / "logs" / "config.json").read_text()) == config.to_dict()
    with lock_folder(tmp_path / "models"):
        pass


def test_lines_after_the_saved_state_are_written_again(trainers, tmp_path):
    config, graph = family_config("evidence", logdir=str(tmp_path / "logs")), random_graph(2)
    train_single(graph, config, RunOptions(tmp_path))
    with (tmp_path / "logs" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 5, "time": 0.0}\n')
    train_single(graph, config, RunOptions(tmp_path, resume=True, force=True))
    assert trainers[1].resumed is True and [line["step"] for line in logged(tmp_path / "logs")] == [0, 1, 3]
