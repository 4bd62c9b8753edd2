"""`tirgn score`, and what `tirgn predict --journal` writes for it."""

import json
import re
import shutil
from pathlib import Path

import pytest

from tests.cli.cli_helpers import call_app
from tests.forecast.test_recorder import NAMES, save, some_facts
from tests.helpers import chain_of_events, write_event_table
from tirgn_cli.score import SKILL_TOO_LOW
from tirgn_eqx.data import load_graph
from tirgn_eqx.forecast.events import EventForecaster
from tirgn_eqx.forecast.recorder import ForecastRecorder


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A checkpoint of a table of events, and a longer table."""
    place = tmp_path_factory.mktemp("score")
    old = write_event_table(place / "old.parquet", chain_of_events(range(20), NAMES))
    write_event_table(place / "new.parquet", chain_of_events(range(30), NAMES))
    save(place, load_graph(str(old)))
    return place


@pytest.fixture(scope="module")
def journal(place):
    """A journal of forecasts of the checkpoint, from two target times."""
    checkpoint, folder = place / "tirgn_best.npz", place / "journal"
    recorder = ForecastRecorder(folder, checkpoint)
    for table, at in (("old", None), ("new", "2017-12-24")):
        forecaster = EventForecaster.load(checkpoint, str(place / f"{table}.parquet"), at=at)
        assert recorder.record(forecaster, some_facts(5), number=5, horizon=2, by="probability").written == 5
    return folder


@pytest.mark.ci
def test_a_forecast_is_written_once_and_a_model_that_fell_behind_is_trained_anew(run, place, tmp_path):
    checkpoint, journal = tmp_path / "tirgn_best.npz", tmp_path / "journal"
    shutil.copy(place / "tirgn_best.npz", checkpoint)
    words = ("predict", checkpoint, "--journal", journal, "--horizon", "2", "--facts", "5")
    first = run(*words, "--data-path", place / "old.parquet")
    assert "5 forecasts written to" in first.stderr and "0 were there" in first.stderr
    again = run(*words, "--data-path", place / "old.parquet", "--json")
    assert "0 forecasts written to" in again.stderr and "5 were there" in again.stderr
    lines = [json.loads(line) for path in journal.glob("*.jsonl") for line in path.read_text().splitlines()]
    facts = json.loads(again.stdout)["facts"]
    assert [line["probability"] for line in lines] == [fact["probability"] for fact in facts]

    before = checkpoint.read_bytes()
    words = ("retrain", "--from", checkpoint, "--data-path", place / "new.parquet", "--model-dir", tmp_path / "new")
    small = ("--epochs", "1", "--set", "rows_per_step=64", "--max-regression", "1", "--json")
    document = json.loads(run(*words, *small, "--journal", journal, "--min-skill", "1").stdout)
    assert document["status"] == "replaced" and document["reason"]["due"] and document["reason"]["scored"] == 5
    assert checkpoint.read_bytes() != before and Path(document["previous"]).read_bytes() == before
    new, old = document["comparison"]["horizons"][0]["brier"]
    assert document["comparison"]["horizons"][0]["skill"] == pytest.approx(1 - new / old)
    skills = [one["skill"] for one in document["comparison"]["horizons"]]
    assert document["decision"]["skill"] == pytest.approx(sum(skills) / len(skills))
    # None of its forecasts is judged yet, so that it is not retrained again.
    assert "none can be judged" in run(*words, "--journal", journal, "--min-skill", "1").stdout
    kept = call_app(*words, *small[:-3], "--max-regression", "-1")
    assert kept.exit_code == 3 and "of the new model against the old one is below 1" in kept.stderr


def test_forecasts_are_compared_with_what_came(run, place, journal):
    found = json.loads(run("score", journal, "--data-path", place / "new.parquet", "--json").stdout)
    assert found["counts"]["scored"] == 10 and found["scores"]["targets"] == 2 and "below" not in found
    shown = run("score", journal)  # the data of the last forecast
    for word in ("10 forecasts of 2 target times", "base rate", "week of", "042_Q1", "written after their target"):
        assert word in shown.stdout
    waiting = run("score", journal, "--data-path", place / "old.parquet")
    assert "none can be judged yet" in waiting.stdout and "10 wait for what comes" in waiting.stdout


def test_a_low_skill_has_an_exit_code_of_its_own(run, place, journal):
    words = ("score", journal, "--data-path", place / "new.parquet", "--json")
    good = json.loads(run(*words, "--min-skill", "-1").stdout)
    assert (good["min_skill"], good["below"]) == (-1, False) and -1 < good["scores"]["skill"] < 1
    bad = call_app(*words, "--min-skill", "1")
    assert bad.exit_code == SKILL_TOO_LOW == 4
    assert json.loads(bad.stdout)["below"] is True and "is below 1; `tirgn retrain`" in bad.stderr
    # What cannot be judged is not below anything.
    none = call_app("score", journal, "--data-path", place / "old.parquet", "--min-skill", "1", "--json")
    assert none.exit_code == 0 and json.loads(none.stdout)["scores"] is None


def test_the_forecasts_of_one_checkpoint(run, place, journal, tmp_path):
    words = ("score", journal, "--data-path", place / "new.parquet", "--json")
    own = json.loads(run(*words, "--from", place / "tirgn_best.npz").stdout)
    assert own["counts"]["forecasts"] == 10
    other = save(tmp_path, load_graph(str(place / "old.parquet")), seed=1)
    assert json.loads(run(*words, "--from", other).stdout)["counts"]["forecasts"] == 0
    assert "does not exist" in call_app(*words, "--from", tmp_path / "none.npz").stderr


def test_a_retraining_that_is_not_due(run, place, journal, tmp_path):
    words = ("retrain", "--from", place / "tirgn_best.npz", "--data-path", place / "new.parquet")
    words = (*words, "--model-dir", tmp_path, "--journal", journal)
    before = (place / "tirgn_best.npz").read_bytes()
    shown = run(*words, "--min-skill", "-1")
    assert "nothing to do: the skill of 10 of its forecasts is" in shown.stdout
    document = json.loads(run(*words, "--min-skill", "-1", "--json").stdout)
    assert document["status"] == "not due" and document["reason"]["due"] is False
    assert (document["reason"]["scored"], document["reason"]["min_skill"]) == (10, -1)
    assert (place / "tirgn_best.npz").read_bytes() == before and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("score {journal} --min-skill 2", "--min-skill 2: must be between -1 and 1"),
        ("score {place}", "holds no journal of forecasts"),
        ("score {journal} --data-path {place}/new.parquet --granularity week", "granularity 'week' does not exist"),
        ("retrain --from {place}/tirgn_best.npz --min-skill 0", "--min-skill: of the forecasts in a journal"),
        ("retrain --from {place}/tirgn_best.npz --resume", "--resume: .* holds events, which are trained anew"),
        ("predict {place}/tirgn_best.npz --facts 2 --journal {place}/new.parquet", "new.parquet: cannot be written"),
    ],
)
def test_what_cannot_be_is_refused(place, journal, words, said):
    found = call_app(*words.format(place=place, journal=journal).split())
    assert found.exit_code in (1, 2) and re.search(said, found.stderr) and found.stdout == ""
