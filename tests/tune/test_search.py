"""A search in one process: its end, breaks, takeovers, what is given up, what is refused, what stays on the disk."""

import errno
import json

import pytest

from tests.tune import worker
from tirgn_eqx.config import MixtureTrainingConfig, config_from_dict, read_config
from tirgn_eqx.errors import ConfigError, DataError, DivergedError
from tirgn_eqx.train.events import ValidationRecord
from tirgn_eqx.tune import journal, search
from tirgn_eqx.tune.space import Choices, Range


@pytest.fixture(scope="module")
def graph():
    return worker.graph()


@pytest.fixture(autouse=True)
def played(monkeypatch):
    monkeypatch.setattr(search, "train_tirgn", worker.play())
    monkeypatch.setattr(search, "_PAUSE", 0.01)


def tune(graph, place, trials=6, *, config=None, **options):
    options = {"space": worker.SPACE, "startup": 2, **options}
    return search.tune(graph, config or worker.config(), study=place / "study.journal", trials=trials, **options)


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


@pytest.mark.ci
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


@pytest.mark.ci
def test_pruners_by_name(graph, tmp_path):
    assert tune(graph, tmp_path / "none", pruner="none")["counts"]["complete"] == 6
    assert tune(graph, tmp_path / "hyperband", 8, pruner="hyperband")["counts"]["running"] == 0
    with pytest.raises(ConfigError, match="--pruner 'medium': must be one of median, hyperband, none; did you mean"):
        tune(graph, tmp_path / "other", pruner="medium")


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


@pytest.mark.parametrize(
    "content",
    [
        b"text\n",
        b"text",
        b"[]\n",
        b'{"op_code":0}\n',
        b'{"op_code":0,"study_name":"x","directions":[2]}\n',
        b"[" * 99999,
    ]
    + [b'{"op_code":4,"study_id":"\\ud800"}\n', b"\xff\xfe\n", b'{"op_code":"x"}\n', b'{"op_code":6,"trial_id":{}}\n'],
)
def test_a_file_that_is_no_study_is_refused_and_left_as_it_is(graph, tmp_path, content):
    (tmp_path / "study.journal").write_bytes(content)
    with pytest.raises(DataError, match="study.journal"):
        tune(graph, tmp_path)
    assert (tmp_path / "study.journal").read_bytes() == content


def test_folders_of_another_study_are_not_worked_in(graph, tmp_path):
    tune(graph, tmp_path, 1)
    (tmp_path / "study.journal").unlink()
    with pytest.raises(DataError, match="trial-0000: left by another study"):
        tune(graph, tmp_path)


def test_without_optuna_it_says_how_to_install_it(graph, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    with pytest.raises(ConfigError, match=r"pip install 'tirgn-eqx\[tune\]'"):
        tune(graph, tmp_path)


def test_parts_trained_apart_are_not_tuned(graph, tmp_path):
    with pytest.raises(ConfigError, match="history = evidence"):
        tune(graph, tmp_path, config=MixtureTrainingConfig.of(worker.config()))


def test_without_locks_it_is_refused(graph, tmp_path, monkeypatch):
    def refused(path):
        raise OSError(errno.ENOLCK, "No locks available", str(path))

    monkeypatch.setattr(journal, "native_lock", refused)
    with pytest.raises(DataError, match="its filesystem has no file locks"):
        tune(graph, tmp_path, 2)


def test_a_lock_is_waited_for_and_what_is_unfinished_is_cut_off(tmp_path):
    place, file = tmp_path / "lock", tmp_path / "lines"
    for content, kept in (
        (b"", b""),
        (b"a\nb", b"a\n"),
        (b"a\n", b"a\n"),
        (b"b" * 9000, b""),
        (b"a\n" + b"b" * 9000, b"a\n"),
    ):
        file.write_bytes(content)
        with journal.JournalLock(place, lambda: journal.truncate_partial_line(file)):
            assert file.read_bytes() == kept
    journal.truncate_partial_line(tmp_path / "missing")
    assert journal.locks_work(tmp_path / "probe")


def test_workers_that_begin_at_once_find_the_locks(tmp_path, monkeypatch):
    native, made = journal.native_lock, []

    def meanwhile(path):
        made.append(path)
        if len(made) == 2:  # between the two locks
            assert journal.locks_work(tmp_path / "probe")  # another worker, from its begin to its end
        return native(path)

    monkeypatch.setattr(journal, "native_lock", meanwhile)
    assert journal.locks_work(tmp_path / "probe") and not list(tmp_path.iterdir())


def test_a_trial_from_another_range_is_refused(graph, tmp_path):
    tune(graph, tmp_path, 1)
    path = tmp_path / "study.journal"
    text = path.read_text()
    changed = text.replace('\\"log\\": true', '\\"log\\": false')
    assert changed != text
    path.write_text(changed)
    with pytest.raises(DataError, match="trial 0 drew 'learning_rate' from another range"):
        tune(graph, tmp_path, 2)
