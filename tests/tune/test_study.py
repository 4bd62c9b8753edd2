"""A study: what it was made for, whose trial is whose, how trials end, and which checkpoints stay."""

import math

import pytest

from tests.tune import worker
from tests.tune.played import tune
from tirgn_eqx.errors import ConfigError, DataError
from tirgn_eqx.tune.journal import open_storage
from tirgn_eqx.tune.space import Choices, Range
from tirgn_eqx.tune.study import SharedStudy


def test_another_study_is_refused_by_name(graph, tmp_path):
    tune(graph, tmp_path, 2)

    def refused(match):
        return pytest.raises(ConfigError, match=match)

    with refused("is a study with embedding_dim = 200, not 100; give the same settings, or another --study"):
        tune(graph, tmp_path, config=worker.config(embedding_dim=100))
    with refused(r"searches dropout over nothing, not over 0\.0:0\.5; give the same --param"):
        tune(graph, tmp_path, space=worker.SPACE | {"dropout": Range(0.0, 0.5)})
    with refused(r"searches learning_rate over 0\.0001:0\.01:log, not over 0\.1,0\.2"):
        tune(graph, tmp_path, space={"learning_rate": Choices((0.1, 0.2))})
    other = worker.simulate(num_entities=8, num_relations=2, num_days=10, facts_per_day=5, seed=2).graph
    with refused("is a study of 'sim'.*give the same data"):
        tune(other, tmp_path)
    # Where and how often it is written makes no other study.
    tune(graph, tmp_path, 3, config=worker.config(logdir="elsewhere", save_every=3))


def test_folders_of_another_study_are_not_worked_in(graph, tmp_path):
    tune(graph, tmp_path, 1)
    (tmp_path / "study.journal").unlink()
    with pytest.raises(DataError, match="trial-0000: left by another study"):
        tune(graph, tmp_path)


def test_a_trial_from_another_range_is_refused(graph, tmp_path):
    tune(graph, tmp_path, 1)
    path = tmp_path / "study.journal"
    text = path.read_text()
    changed = text.replace('\\"log\\": true', '\\"log\\": false')
    assert changed != text
    path.write_text(changed)
    with pytest.raises(DataError, match="trial 0 drew 'learning_rate' from another range"):
        tune(graph, tmp_path, 2)


def shared(graph, place, **options):
    return SharedStudy(place / "study.journal", graph, worker.config(), worker.SPACE, **{"startup": 1, **options})


def finish(study, values, state="complete"):
    """A trial with these validations, finished."""
    claim = study.claim(99)
    pruned = [study.report(claim, epoch, value) for epoch, value in enumerate(values, start=1)]
    study.finish(claim, state, max(value for value in values if value == value) if state == "complete" else None)
    claim.release()
    return pruned


def test_one_process_at_a_time_has_a_trial(graph, tmp_path):
    first, second = shared(graph, tmp_path), shared(graph, tmp_path)
    mine, other = first.claim(2), second.claim(2)
    assert (mine.trial.number, other.trial.number) == (0, 1) and mine.trial.params != other.trial.params
    assert first.claim(2) is None, "both trials are being worked on"
    mine.release()
    again = second.claim(2)
    assert (again.trial.number, again.attempts, again.resumed) == (0, 2, False)
    assert again.trial.params == mine.trial.params
    for claim in (again, other):
        second.finish(claim, "failed", reason="too large")
        claim.release()
    assert second.claim(2) is None and [row["state"] for row in first.rows()] == ["failed", "failed"]
    assert first.rows()[0]["reason"] == "too large" and first.rows()[0]["attempts"] == 2


def test_a_trial_ends_once(graph, tmp_path):
    study = shared(graph, tmp_path)
    claim = study.claim(1)
    study.finish(claim, "complete", 0.5)
    with pytest.raises(ValueError, match="COMPLETE"):
        study.finish(claim, "pruned")


@pytest.mark.parametrize(("pruner", "told"), [("median", True), ("hyperband", True), ("none", False)])
def test_a_validation_of_nan_is_the_worst_one(graph, tmp_path, pruner, told):
    study = shared(graph, tmp_path, pruner=pruner)
    assert finish(study, [0.2, 0.3, 0.4, 0.5, 0.5]) == [False] * 5
    claim = study.claim(2)
    assert study.report(claim, 1, math.nan) is told
    study.finish(claim, "pruned")
    row = study.rows()[1]
    assert (row["state"], row["mrr"]) == ("pruned", None)
    # The file with NaN in it is read again, and the next trial is drawn with such a trial before it.
    assert shared(graph, tmp_path, pruner=pruner).claim(3).trial.number == 2


def test_a_number_after_nan_counts(graph, tmp_path):
    study = shared(graph, tmp_path)
    finish(study, [math.nan, 0.4])
    assert finish(study, [math.nan, 0.6, 0.5], "pruned") == [True, False, False]
    assert [row["mrr"] for row in study.rows()] == [pytest.approx(0.4), 0.6]


def test_of_equal_trials_the_first_is_the_best_and_keeps_its_checkpoint(graph, tmp_path):
    study = shared(graph, tmp_path)
    for values, state in (([0.3], "complete"), ([0.5], "complete"), ([0.5], "complete"), ([0.9], "pruned")):
        finish(study, values, state)
    running = study.claim(5)
    for number in range(5):
        for name in ("tirgn_best.npz", "tirgn_best.json", "config.toml"):
            (study.folder(number) / name).write_text("x")
    assert study.best()["number"] == 1
    study.remove_checkpoints()
    kept = sorted(path.parent.name for path in tmp_path.glob("trial-*/tirgn_best.npz"))
    # The trial that is not finished keeps its checkpoint too.
    assert kept == ["trial-0001", "trial-0004"] and len(list(tmp_path.glob("trial-*/config.toml"))) == 5
    running.release()


def test_values_that_a_setting_cannot_have_are_refused(graph, tmp_path):
    study = shared(graph, tmp_path)
    assert study.trial_config({"learning_rate": 0.01}) == worker.config(learning_rate=0.01)
    for params in ({"learning_rate": -1.0}, {}):
        with pytest.raises(DataError, match="has a trial that cannot be"):
            study.trial_config(params)


def test_a_study_of_another_program_is_refused(graph, tmp_path):
    import optuna

    optuna.create_study(study_name="theirs", storage=open_storage(tmp_path / "study.journal"))
    with pytest.raises(DataError, match="holds a study 'theirs' of another program"):
        shared(graph, tmp_path)
    assert not list(tmp_path.glob("trial-*"))


@pytest.mark.parametrize("change", [{"data": 3}, {"space": None}])
def test_a_study_that_does_not_say_what_it_is_of_is_refused(graph, tmp_path, change):
    finish(study := shared(graph, tmp_path), [0.5])
    study.study.set_user_attr("made_for", study.study.user_attrs["made_for"] | change)
    with pytest.raises(ConfigError, match="does not say what it is a study of"):
        shared(graph, tmp_path)


@pytest.mark.parametrize("part", [[1], {"low": 1}, {"values": 3}, "x"])
def test_a_range_that_is_none_is_shown_as_it_is(graph, tmp_path, part):
    finish(study := shared(graph, tmp_path), [0.5])
    before = study.study.user_attrs["made_for"]
    study.study.set_user_attr("made_for", before | {"space": {"learning_rate": part}})
    with pytest.raises(ConfigError) as error:
        shared(graph, tmp_path)
    assert f"searches learning_rate over {part!r}, not over 0.0001:0.01:log" in str(error.value)
