"""What a briefing holds: the best facts, the actors, the time that is forecast, how good the model was."""

import math

import pytest

from tests.helpers import event_model, make_graph
from tirgn_eqx.checkpoint.event_figures import read_event_figures
from tirgn_eqx.checkpoint.metadata import CheckpointMetadata, DataDescription
from tirgn_eqx.errors import CheckpointError, DataError
from tirgn_eqx.forecast.events import EventForecaster
from tirgn_eqx.report.briefing import BriefingOptions, count_activity, make_briefing, read_record

pytestmark = pytest.mark.ci


def parts(fact):
    return fact.subject, fact.relation, fact.object


def test_the_lists_are_those_of_the_forecaster(briefing, forecaster):
    assert [parts(one) for one in briefing.probable] == [parts(one) for one in forecaster.events(6, horizon=7)]
    unusual = forecaster.events(6, horizon=7, by="lift")
    assert [parts(one) for one in briefing.unusual] == [parts(one) for one in unusual]
    assert [one.lift for one in briefing.unusual] == [one.lift for one in unusual]
    assert briefing.probable[0].timeline.rows[0].events == briefing.probable[0].because[0].events


def test_actors_have_their_most_probable_facts_in_either_role(briefing, forecaster):
    names = [one.name for one in briefing.actors]
    assert names[0] == "CHINA" and len(names) == len(set(names)) == 5  # the watched one first
    every = forecaster.events(10_000, horizon=7)
    for actor in briefing.actors:
        best = [fact.probability for fact in every if actor.name in (fact.subject, fact.object)][:5]
        assert [fact.probability for fact in actor.facts] == pytest.approx(best)
        assert all(actor.name in parts(fact) for fact in actor.facts)
    # On each of 40 days every actor acts once and is acted upon once.
    assert {actor.events for actor in briefing.actors} == {80}


def test_activity_is_that_of_the_last_steps_alone(forecaster):
    assert set(count_activity(forecaster, 3).values()) == {6}
    assert sum(count_activity(forecaster, 1000).values()) == 2 * forecaster.graph.num_facts


def test_an_event_of_an_actor_with_itself_is_one_event():
    graph = make_graph([(0, 0, 0, 0), (0, 0, 1, 1)], num_entities=2, num_relations=1)
    assert count_activity(EventForecaster(*event_model(graph), graph), 9) == {"0": 2, "1": 1}


def test_the_time_that_is_forecast_is_said_as_dates(briefing, forecaster):
    assert (briefing.known_until, briefing.time, briefing.until) == ("2018-01-08", "2018-01-09", "2018-01-15")
    assert (briefing.horizon, briefing.step, briefing.since) == (7, "day", "2017-11-30")
    assert briefing.dataset.facts == 200 and briefing.dataset.snapshots == 40
    assert briefing.dataset.sha256 == forecaster.graph.checksum
    assert briefing.to_dict()["probable"][0]["timeline"]["rows"][0]["times"]


@pytest.mark.parametrize(("horizon", "nearest"), [(1, 7), (7, 7), (14, 7), (15, 30), (30, 30), (10**6, 30)])
def test_the_nearest_horizon_on_test_is_told(horizon, nearest):
    figures = {"snapshots": 3, "best_baseline": "never", "skill": 0.1, "ece": 0.1}
    tested = [figures | {"horizon": number} for number in (7, 30)]
    metadata = CheckpointMetadata(num_entities=1, num_relations=1, metrics={"event_test": {"horizons": tested}})
    assert read_event_figures(metadata, "x.npz").nearest(horizon).horizon == nearest


def test_figures_that_are_none_are_not_told():
    def found(**metrics):
        metadata = CheckpointMetadata(num_entities=1, num_relations=1, metrics=metrics)
        return read_event_figures(metadata, "x.npz").nearest(7)

    assert found() is None and found(event_test={"horizons": []}) is None
    with pytest.raises(CheckpointError, match=r"^x.npz: says nothing usable about its horizons .horizon is missing"):
        found(event_test={"horizons": [{}]})
    with pytest.raises(CheckpointError, match="x.npz: says nothing usable about its contents"):
        found(event_test=[math.nan])


@pytest.mark.parametrize(("learnt", "hindsight"), [(-1, False), (0, True), (None, True)])
def test_a_model_that_learnt_from_what_is_forecast_is_told(forecaster, learnt, hindsight):
    time = int(forecaster.graph.times[forecaster.target.target])
    data = DataDescription(last_time=time + 99, last_learnt_time=None if learnt is None else time + learnt)
    metadata = CheckpointMetadata(num_entities=5, num_relations=2, data=data)
    found = make_briefing(forecaster, "x", metadata, BriefingOptions(top=1, actors=0))
    assert found.hindsight is hindsight and found.model.learnt_until is not None


def test_an_actor_that_is_not_known_is_refused(forecaster):
    metadata = CheckpointMetadata(num_entities=5, num_relations=2)
    with pytest.raises(DataError, match="'CHIMA' is not known; did you mean 'CHINA'"):
        make_briefing(forecaster, "x", metadata, BriefingOptions(watched=("CHIMA",)))


def test_no_journal_is_no_record(forecaster, tmp_path):
    assert read_record(tmp_path, forecaster) is None and read_record(tmp_path / "none", forecaster) is None


def test_the_record_is_of_what_was_over_before(forecaster, recorded):
    folder, later = recorded
    record = read_record(folder, forecaster)
    # Those of the first target are over, those of the second wait.
    assert record.counts.scored == 6 and record.counts.waiting == 6 and record.scores.targets == 1
    early = read_record(folder, later)
    assert early.counts.scored == 0 and early.counts.waiting == 12 and early.data_until == "2018-01-06"
