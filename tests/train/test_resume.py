"""A training that was broken off and resumed ends bit for bit where the unbroken one ends."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tirgn_eqx import TiRGNTrainingConfig, simulate, train_tirgn
from tirgn_eqx.checkpoint.files import load_checkpoint
from tirgn_eqx.data.graph import from_facts
from tirgn_eqx.errors import CheckpointError, DataWarning

EPOCHS = 3
SETTINGS = {
    "embedding_dim": 8,
    "history_len": 2,
    "num_layers": 1,
    "static_blocks": 4,
    "conv_channels": 3,
    "batch_size": 0,
    "epochs": EPOCHS,
    "eval_interval": 1,
    "checkpoint_interval": 0,
    "learning_rate": 0.02,
    "max_buckets": 1,
    "loss": "shared",
    "num_shared": 2,
    "lr_schedule": "cosine",
    "ema_decay": 0.9,
    "precision": "f32",
    "remat": "none",
}


@pytest.fixture(scope="module")
def graph():
    return simulate(num_entities=14, num_relations=4, num_days=16, facts_per_day=10, seed=2).graph


def configured(folder, **changes):
    return TiRGNTrainingConfig(**SETTINGS | changes, logdir=str(folder / "logs"))


@pytest.fixture(scope="module")
def whole(graph, tmp_path_factory):
    """(result, folder) of the training without a break."""
    folder = tmp_path_factory.mktemp("whole")
    return train_tirgn(graph, configured(folder), model_dir=folder), folder


def assert_same_end(first, second):
    for name in ("tirgn_trained", "tirgn_best"):
        one, other = (load_checkpoint(folder / f"{name}.npz").arrays for folder in (first, second))
        assert one.keys() == other.keys()
        assert all(one[key].tobytes() == other[key].tobytes() for key in one)
    lines = [(folder / "logs" / "metrics.jsonl").read_text().splitlines() for folder in (first, second)]

    def timeless(line):
        return {k: v for k, v in json.loads(line).items() if k not in ("time", "system/epoch_duration_s")}

    assert [timeless(line) for line in lines[0]] == [timeless(line) for line in lines[1]]
    points = []
    for folder in (first, second):
        board = EventAccumulator(str(folder / "logs"))
        board.Reload()
        points.append({t: [(e.step, e.value) for e in board.Scalars(t)] for t in board.Tags()["scalars"]})
    for tag in points[0].keys() - {"system/epoch_duration_s"}:
        assert points[0][tag] == points[1][tag], tag


@pytest.mark.slow
@pytest.mark.parametrize("breaks", [[13], [1], [11], [12, 13, 30]])
def test_stopped_anywhere_and_resumed_it_ends_the_same(graph, whole, tmp_path, breaks):
    result, folder = whole
    config = configured(tmp_path)
    for number, last in enumerate([*breaks, None]):
        asked = iter(range(10**6))
        before = breaks[number - 1] if number else 0
        stop = None if last is None else lambda asked=asked, after=last - before: next(asked) + 1 >= after
        part = train_tirgn(graph, config, model_dir=tmp_path, resume=number > 0, stop=stop)
        assert part["status"] == ("complete" if last is None else "interrupted")
        assert part["epochs_trained"] == (EPOCHS if last is None else last // len(graph.split_snapshots("train")[1:]))
    assert part["test"] == result["test"] and part["best_epoch"] == result["best_epoch"]
    assert part["epochs_trained"] == EPOCHS
    assert_same_end(folder, tmp_path)


@pytest.mark.slow
def test_the_average_of_the_weights_is_what_is_saved(whole):
    saved = load_checkpoint(whole[1] / "tirgn_trained.npz").arrays["encoder.entity_embedding"]
    state = load_checkpoint(whole[1] / "tirgn_state.npz").arrays
    equal = {name.split(".")[0] for name, value in state.items() if np.array_equal(value, saved)}
    assert equal == {"opt"}, "the weights that training goes on with are others"


@pytest.mark.slow
def test_what_was_logged_after_the_saved_state_is_logged_once(graph, whole, tmp_path):
    """As after a kill: the logs know of an epoch that the state does not."""
    config = configured(tmp_path)
    asked = iter(range(10**6))
    train_tirgn(graph, config, model_dir=tmp_path, stop=lambda: next(asked) >= 14)
    kept = {path: path.read_bytes() for path in tmp_path.glob("tirgn_state.*")}
    asked_again = iter(range(10**6))
    train_tirgn(graph, config, model_dir=tmp_path, resume=True, stop=lambda: next(asked_again) >= 14)
    for path, content in kept.items():
        path.write_bytes(content)
    with open(tmp_path / "logs" / "metrics.jsonl", "a") as log:
        log.write('{"step": 1')  # a line cut off in writing
    train_tirgn(graph, config, model_dir=tmp_path, resume=True)
    assert_same_end(whole[1], tmp_path)


@pytest.mark.slow
def test_a_finished_training_resumed_changes_nothing_and_can_be_made_longer(graph, whole, tmp_path):
    constant = {"lr_schedule": "constant"}
    train_tirgn(graph, configured(tmp_path, epochs=1, **constant), model_dir=tmp_path)
    again = train_tirgn(graph, configured(tmp_path, epochs=1, **constant), model_dir=tmp_path, resume=True)
    assert again["epochs_trained"] == 1 and again["status"] == "complete"
    assert (tmp_path / "logs" / "metrics.jsonl").read_text().count("test/mrr") == 1
    longer = train_tirgn(graph, configured(tmp_path, epochs=2, **constant), model_dir=tmp_path, resume=True)
    assert longer["epochs_trained"] == 2
    other = tmp_path / "other"
    at_once = train_tirgn(graph, configured(other, epochs=2, **constant), model_dir=other)
    assert longer["test"] == at_once["test"]


@pytest.mark.slow
def test_another_training_is_refused_by_name(graph, whole, tmp_path):
    _, folder = whole

    def refused(match, graph=graph, folder=folder, **changes):
        return pytest.raises(CheckpointError, match=match)

    with refused("no training to resume"):
        train_tirgn(graph, configured(tmp_path), model_dir=tmp_path, resume=True)
    with refused("learning_rate = 0.02, not 0.5"):
        train_tirgn(graph, configured(tmp_path, learning_rate=0.5), model_dir=folder, resume=True)
    with refused("epochs = 3, not 9"):  # the step size falls with the length of the run
        train_tirgn(graph, configured(tmp_path, epochs=9), model_dir=folder, resume=True)
    rows = np.stack([graph.subject, graph.relation, graph.object, graph.snapshot], 1)[:-1]
    split = graph.split[:-1]
    other = from_facts("other", rows, split, graph.num_entities, graph.num_relations)
    with refused("not on other"):
        train_tirgn(other, configured(tmp_path), model_dir=folder, resume=True)


@pytest.mark.slow
def test_other_settings_are_taken_by_force(graph, whole, tmp_path):
    folder = tmp_path / "forced"
    answers = iter([False] * 15 + [True])
    stopped = train_tirgn(graph, configured(folder), model_dir=folder, stop=lambda: next(answers))
    assert stopped["status"] == "interrupted"
    options = {"model_dir": folder, "resume": True, "force": True}
    with pytest.warns(DataWarning, match="was trained with learning_rate = 0.02, not 0.01; going on with it"):
        result = train_tirgn(graph, configured(folder, learning_rate=0.01), **options)
    assert result["status"] == "complete" and result["epochs_trained"] == EPOCHS
    with pytest.raises(CheckpointError, match="missing or of another shape"), pytest.warns(DataWarning):
        train_tirgn(graph, configured(folder, embedding_dim=4), **options)


@pytest.mark.ci
def test_a_training_goes_on_with_the_clock_that_it_began_with(graph, whole, tmp_path):
    answers = iter([False] * 15 + [True])
    stopped = train_tirgn(graph, configured(tmp_path), model_dir=tmp_path, stop=lambda: next(answers))
    assert stopped["status"] == "interrupted"
    moved = dataclasses.replace(graph, clock_origin=3)
    train_tirgn(moved, configured(tmp_path), model_dir=tmp_path, resume=True)
    assert load_checkpoint(tmp_path / "tirgn_trained.npz").metadata["data"]["clock_origin"] == 0
    assert_same_end(whole[1], tmp_path)


@pytest.mark.slow
def test_minutes_save_inside_an_epoch(graph, tmp_path):
    saved = []
    run = configured(tmp_path, save_minutes=1e-9, epochs=1)

    def stop() -> bool:
        saved.append(load_checkpoint(tmp_path / "tirgn_state.npz").metadata["progress"]["step"])
        return False

    train_tirgn(graph, run, model_dir=tmp_path, stop=stop)
    # Asked after every step but the last, before that step's own save.
    assert len(saved) > 3 and saved[1:-1] == list(range(1, len(saved) - 1))


def command(folder, *more):
    settings = [f"--set={key}={value}" for key, value in SETTINGS.items()]
    data = "sim:num_entities=14,num_relations=4,num_days=16,facts_per_day=10"
    words = ["train", "--data-path", data, "--model-dir", folder, "--logdir", folder / "logs", *settings, *more]
    return [sys.executable, "-m", "tirgn_cli", *map(str, words)]


def broken_off(folder, number, *more):
    """(exit code, stderr) of a training that gets the signal `number` in its second epoch."""
    pipes = {"stderr": subprocess.PIPE, "stdout": subprocess.DEVNULL, "text": True}
    with subprocess.Popen(command(folder, *more), **pipes) as process:
        state, limit = folder / "tirgn_state.npz", time.monotonic() + 120
        while not state.exists() and process.poll() is None and time.monotonic() < limit:
            time.sleep(0.02)
        os.kill(process.pid, number)
        _, said = process.communicate(timeout=120)
    return process.returncode, said


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_real_process_that_gets_a_signal(tmp_path, number):
    ends = {}
    for name in ("broken", "whole"):
        folder = tmp_path / name
        folder.mkdir()
        if name == "broken":
            code, said = broken_off(folder, number, "--set=epochs=40", "--set=save_every=1")
            assert code == (143 if number == signal.SIGTERM else -signal.SIGKILL)
            assert number == signal.SIGKILL or "--resume" in said.splitlines()[-1]
        words = command(folder, "--json", "--set=epochs=40", "--set=save_every=1", *["--resume"] * (name == "broken"))
        done = subprocess.run(words, capture_output=True, text=True, timeout=200)
        assert done.returncode == 0, done.stderr
        ends[name] = json.loads(done.stdout)
    assert ends["broken"]["test"] == ends["whole"]["test"]
    assert_same_end(tmp_path / "whole", tmp_path / "broken")
