"""What a shell may complete: what is there, nearest first, and nothing that takes long."""

import os

import pytest

from tirgn_cli import complete


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Two trainings, two kinds of data, and things that are neither."""
    for name in ("models/a/tirgn_trained.npz", "models/a/tirgn_best.npz", "models/a/tirgn_state.npz", "b/own.npz"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    for name in ("data/YAGO/train.txt", "data/mapped/graph.json", "events.parquet", ".hidden/tirgn_best.npz", "a.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_checkpoints_best_first(place):
    best = os.path.join("models", "a", "tirgn_best.npz")
    assert complete.checkpoints("") == [best, "b/own.npz", "models/a/tirgn_trained.npz"]
    assert complete.checkpoints("models/a/tirgn_b") == [best]
    assert complete.checkpoints("./m") == [f"./{best}", "./models/a/tirgn_trained.npz"]
    assert complete.checkpoints(f"{place}/models/a/t")[0] == str(place / best)
    assert complete.checkpoints("none/") == []


def test_data_and_runs(place):
    assert complete.data("") == ["events.parquet", "data/YAGO", "data/mapped", "sim"]
    assert complete.data("data/Y") == ["data/YAGO"] and complete.data("s") == ["sim"]
    assert complete.runs("") == ["models/a"]
    assert complete.models("rec") == ["recurrency", "recurrency:strict", "recurrency:relaxed"]
    assert complete.published("icews05") == ["ICEWS05-15"]


def test_a_key_press_never_waits_for_a_disk(place, monkeypatch):
    monkeypatch.setattr(complete, "MAX_ENTRIES", 50)
    for number in range(200):
        (place / f"0{number}.txt").touch()
    looked = []
    complete._matching("", lambda entry: looked.append(entry.name) is None)
    assert len(looked) == 50


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["trian"], "no such command 'trian'; did you mean 'train'?; see `tirgn --help`"),
        (["data", "gte"], "no such command 'gte'; did you mean 'get'?; see `tirgn data --help`"),
        (["eval", "--slpit", "x"], "no such option: --slpit; did you mean '--split'?; see `tirgn eval --help`"),
        (["xqzw"], "no such command 'xqzw'; see `tirgn --help`"),
        (["eval", "none.npz"], "none.npz: does not exist; run `tirgn train` first"),
    ],
)
def test_a_refusal_names_what_was_meant(run, words, meant):
    assert run(*words).stderr == f"error: {meant}\n"
