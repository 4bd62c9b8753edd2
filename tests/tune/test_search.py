"""A search in one process: its end, breaks, takeovers, what is given up, what stays on the disk."""

import json
import math
from pathlib import Path

import pytest

from tests.tune import worker
from tests.tune.played import tune
from tirgn_eqx.config import EventTrainingConfig, MixtureTrainingConfig, config_from_dict, read_config
from tirgn_eqx.errors import ConfigError, DataError, DivergedError
from tirgn_eqx.train.events import ValidationRecord
from tirgn_eqx.tune import search

pytestmark = pytest.mark.ci


def epochs(place, number):
    return [int(line) for line in (place / f"trial-{number:04d}" / "played.txt").read_text().split()]


def test_a_search_ends_with_the_best_settings(graph, tmp_path):
    records = []
    found = tune(graph, tmp_path, 8, on_record=records.append)
    assert found["status"] == "complete" and len(found["trials"]) == 8
    assert found["counts"]["complete"] + found["counts"]["pruned"] == 8 and found["counts"]["pruned"] >= 1
    complete = [row for row in found["trials"] if row["state"] == "complete"]
    best = max(complete, key=lambda row: row["mrr"])
    assert found["best"]["number"] == best["number"]
    config = config_from_dict(read_config(tmp_path / "best.toml"))
    assert config == worker.config(learning_rate=best["params"]["learning_rate"])
    for row in found["trials"]:
        done = epochs(tmp_path, row["number"])
        assert done == list(range(1, len(done) + 1)) and row["epochs_trained"] == len(done)
        assert (len(done) == worker.EPOCHS) == (row["state"] == "complete")
    # What a trial is judged by is the best of its own validations.
    told, number = {}, None
    for record in records:
        number = record.number if isinstance(record, search.TrialRecord) else number
        if isinstance(record, ValidationRecord):
            told.setdefault(number, []).append(record.metrics["mrr"])
    assert all(row["mrr"] == max(told[row["number"]]) for row in complete)
    kinds = [type(record) for record in records]
    assert kinds.count(search.TrialRecord) == kinds.count(search.TrialEndRecord) == 8
    json.dumps(found)


def test_the_same_seed_gives_the_same_search_and_the_disk_holds_one_trial(graph, tmp_path):
    first = tune(graph, tmp_path / "a", seed=3)
    second = tune(graph, tmp_path / "b", seed=3, keep_trials=True)
    third = tune(graph, tmp_path / "c", seed=4)

    def params(found):
        return [row["params"] for row in found["trials"]]

    assert params(first) == params(second) != params(third)

    def held(name):
        return sorted(path.parent.name for path in (tmp_path / name).glob("trial-*/tirgn_best.npz"))

    assert held("a") == [f"trial-{first['best']['number']:04d}"]
    assert len(held("b")) == 6


def test_more_trials_are_added_and_fewer_change_nothing(graph, tmp_path):
    tune(graph, tmp_path, 3)
    again = tune(graph, tmp_path, 5)
    assert len(again["trials"]) == 5
    lines = (tmp_path / "study.journal").read_text()
    assert len(tune(graph, tmp_path, 2)["trials"]) == 5
    assert (tmp_path / "study.journal").read_text() == lines


@pytest.mark.parametrize("after", [pytest.param(3, marks=pytest.mark.ci), 14, pytest.param(23, marks=pytest.mark.ci)])
def test_stopped_anywhere_it_goes_on_to_the_same_end(graph, tmp_path, after):
    whole = tune(graph, tmp_path / "whole")
    asked = iter(range(10**6))
    part = tune(graph, tmp_path / "part", stop=lambda: next(asked) >= after)
    assert part["status"] == "interrupted"
    found = tune(graph, tmp_path / "part")

    def same(row):
        return {key: row.get(key) for key in ("number", "state", "mrr", "params")}

    assert [same(row) for row in found["trials"]] == [same(row) for row in whole["trials"]]
    for number in range(6):
        assert epochs(tmp_path / "part", number) == epochs(tmp_path / "whole", number)


def test_a_trial_whose_process_died_is_taken_over(graph, tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    def dies(record):
        if isinstance(record, ValidationRecord) and record.epoch == 3:
            raise Killed

    with pytest.raises(Killed):
        tune(graph, tmp_path, on_record=dies)
    with (tmp_path / "study.journal").open("a") as file:
        file.write('{"op_code":7,"worker')  # a line that was being written
    found = tune(graph, tmp_path)
    first = found["trials"][0]
    assert first["state"] == "complete" and first["attempts"] == 2 and first["resumed"] == 1
    # The epoch whose state was not saved is the one that was done twice.
    assert epochs(tmp_path, 0) == [1, 2, 3, 3, 4, 5]
    assert len(found["trials"]) == 6 and found["counts"]["running"] == 0


def test_killed_before_anything_was_drawn_or_saved(graph, tmp_path):
    tune(graph, tmp_path, 2)
    lines = (tmp_path / "study.journal").read_text().splitlines(keepends=True)
    begun = [number for number, line in enumerate(lines) if json.loads(line)["op_code"] == 4]
    (tmp_path / "study.journal").write_text("".join(lines[: begun[1] + 1]))
    for path in (tmp_path / "trial-0001").iterdir():
        path.unlink()
    found = tune(graph, tmp_path, 2)
    assert [row["state"] for row in found["trials"]].count("complete") == 2
    assert epochs(tmp_path, 1) == [1, 2, 3, 4, 5]


def test_trials_that_diverge_or_lack_memory_fail_and_others_go_on(graph, tmp_path, monkeypatch):
    well, calls = worker.play(), iter(range(99))

    def train(graph, config, **options):
        match next(calls):
            case 0:
                raise DivergedError("no finite loss in 10 steps")
            case 1:
                raise MemoryError("no memory")
        return well(graph, config, **options)

    monkeypatch.setattr(search, "train_tirgn", train)
    found = tune(graph, tmp_path, 4)
    assert [row["state"] for row in found["trials"][:2]] == ["failed", "failed"]
    assert found["trials"][0]["reason"] == "no finite loss in 10 steps"
    assert found["counts"]["complete"] >= 1


def test_all_trials_failing_is_an_error(graph, tmp_path, monkeypatch):
    def train(graph, config, **options):
        raise DivergedError("no finite loss")

    monkeypatch.setattr(search, "train_tirgn", train)
    with pytest.raises(DataError, match=r"no trial came to its end \(no finite loss\)"):
        tune(graph, tmp_path, 2)


def test_pruners_by_name(graph, tmp_path):
    assert tune(graph, tmp_path / "none", pruner="none")["counts"]["complete"] == 6
    assert tune(graph, tmp_path / "hyperband", 8, pruner="hyperband")["counts"]["running"] == 0
    with pytest.raises(ConfigError, match="--pruner 'medium': must be one of median, hyperband, none; did you mean"):
        tune(graph, tmp_path / "other", pruner="medium")


def test_parts_trained_apart_are_not_tuned(graph, tmp_path):
    with pytest.raises(ConfigError, match="family = events"):
        tune(graph, tmp_path, config=EventTrainingConfig())
    with pytest.raises(ConfigError, match="history = evidence"):
        tune(graph, tmp_path, config=MixtureTrainingConfig.of(worker.config()))


def test_a_trial_whose_validations_are_nan_is_pruned(graph, tmp_path, monkeypatch):
    well = worker.mrr

    def train(graph, config, **options):
        nan = Path(options["model_dir"]).name == "trial-0002"
        monkeypatch.setattr(worker, "mrr", lambda config, epoch: math.nan if nan else well(config, epoch))
        return worker.play()(graph, config, **options)

    monkeypatch.setattr(search, "train_tirgn", train)
    records = []
    found = tune(graph, tmp_path, 3, on_record=records.append)
    row = found["trials"][2]
    assert (row["state"], row["mrr"], row["reason"]) == ("pruned", None, "no validation gave a number")
    assert epochs(tmp_path, 2) == [1] and records[-1] == search.TrialEndRecord(2, "pruned", None)
    assert "reason" not in found["trials"][0] and found["best"]["number"] in (0, 1)
