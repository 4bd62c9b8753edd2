"""What a training does about its folder: alone in it, deleted under it, on a disk that is full."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tirgn_eqx import TiRGNTrainingConfig, simulate, train_tirgn
from tirgn_eqx.checkpoint.files import load_checkpoint, save_checkpoint
from tirgn_eqx.checkpoint.run_folder import epoch_name, lock_folder, prune_checkpoints
from tirgn_eqx.errors import CheckpointError
from tirgn_eqx.storage.locks import exclusive_lock
from tirgn_eqx.train.events import EpochRecord

ROOT = Path(__file__).parents[2]
SMALL = {
    "embedding_dim": 4,
    "history_len": 1,
    "num_layers": 1,
    "conv_channels": 2,
    "max_buckets": 1,
    "precision": "f32",
}


@pytest.fixture(scope="module")
def graph():
    return simulate(num_entities=8, num_relations=2, num_days=12, facts_per_day=6, seed=2).graph


def configured(folder, **changes):
    settings = SMALL | {"epochs": 2, "eval_interval": 1, "static_graph": False, "logdir": str(folder / "logs")}
    return TiRGNTrainingConfig(**settings | changes)


@pytest.mark.ci
def test_a_second_training_is_kept_out_and_changes_nothing(graph, tmp_path):
    told = []

    def on_record(record):
        if isinstance(record, EpochRecord) and not told:
            told.append(sorted(path.name for path in tmp_path.iterdir()))
            with pytest.raises(CheckpointError, match="another training is at work here; wait for its end"):
                train_tirgn(graph, configured(tmp_path / "second"), model_dir=tmp_path)
            assert sorted(path.name for path in tmp_path.iterdir()) == told[0]

    assert train_tirgn(graph, configured(tmp_path), model_dir=tmp_path, on_record=on_record)["status"] == "complete"
    with lock_folder(tmp_path):  # and the lock is free again
        pass


@pytest.mark.slow
def test_a_folder_that_is_deleted_while_training_is_made_again(graph, tmp_path):
    folder = tmp_path / "models"

    def on_record(record):
        return shutil.rmtree(folder) if isinstance(record, EpochRecord) and record.epoch == 1 else None

    result = train_tirgn(graph, configured(tmp_path), model_dir=folder, on_record=on_record)
    assert load_checkpoint(result["checkpoint"]).metadata["model_type"] == "tirgn"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="limits of a process are those of Unix")
def test_a_full_disk_is_one_line_and_what_was_there_stays(tmp_path):
    code = (
        "import resource, sys\n"
        "from tirgn_cli.app import app\n"
        "limit = int(sys.argv.pop(1))\n"
        # No file may grow beyond: what a full disk does, for this process alone.
        "resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))\n"
        "app(sys.argv[1:])\n"
    )
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "cli")]), "NO_COLOR": "1"}
    data = "sim:num_entities=8,num_relations=2,num_days=12,facts_per_day=6"
    settings = [f"--set={key}={value}" for key, value in (SMALL | {"static_graph": "false"}).items()]
    words = ["train", "--data-path", data, "--epochs", "1", "--model-dir", "models", "--logdir", "logs", *settings]

    def run(limit, *more):
        return subprocess.run(
            [sys.executable, "-c", code, str(limit), *words, *more, "--quiet", "--json"],
            cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300,
        )  # fmt: skip

    assert run(10**9).returncode == 0
    best = tmp_path / "models" / "tirgn_best.npz"
    before = best.read_bytes(), best.with_suffix(".json").read_bytes()
    full = run(20_000, "--seed", "1")
    assert full.returncode == 1 and full.stdout == "" and "Traceback" not in full.stderr
    last = full.stderr.splitlines()[-1]
    assert last.startswith("error: models/tirgn_state.npz: cannot be written (File too large)"), full.stderr
    assert (best.read_bytes(), best.with_suffix(".json").read_bytes()) == before
    load_checkpoint(best)
    assert not list((tmp_path / "models").glob(".*.tmp"))


def test_a_lock_is_held_by_one_and_let_go(tmp_path):
    busy = RuntimeError("busy")
    with exclusive_lock(tmp_path / "deep" / ".lock", busy):
        with pytest.raises(RuntimeError, match="busy"), exclusive_lock(tmp_path / "deep" / ".lock", busy):
            pass
    with exclusive_lock(tmp_path / "deep" / ".lock", busy):
        pass


@pytest.mark.parametrize(("keep", "left"), [(1, [9, 12]), (2, [8, 9, 12]), (3, [5, 8, 9, 12]), (9, [2, 5, 8, 9, 12])])
def test_the_newest_checkpoints_are_kept_as_many_as_asked_for(tmp_path, keep, left):
    """Of epochs 2, 5, 8 and 9, of which 9 is new; 12 is of an earlier, longer training."""
    for epoch in (2, 5, 8, 12, 9):
        newest = save_checkpoint(tmp_path / epoch_name(epoch), {"x": np.zeros(1)}, {"epoch": epoch})
    (tmp_path / "tirgn_epoch_x.npz").touch()
    prune_checkpoints(newest, 9, keep)
    found = {path.name for path in tmp_path.iterdir()} - {"tirgn_epoch_x.npz"}
    assert found == {f"{epoch_name(epoch)}.{kind}" for epoch in left for kind in ("npz", "json")}
