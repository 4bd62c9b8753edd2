"""What an event model forecasts, as it stands in a journal."""

import jax.random as jr
import pytest

from tests.helpers import chain_of_events, write_event_table
from tirgn_eqx.checkpoint.files import checkpoint_sha256
from tirgn_eqx.checkpoint.models import save_model
from tirgn_eqx.config import EventTrainingConfig
from tirgn_eqx.data import load_graph
from tirgn_eqx.data.forecast_journal import read_journal
from tirgn_eqx.errors import CheckpointError, DataError
from tirgn_eqx.forecast.events import EventForecast, EventForecaster
from tirgn_eqx.forecast.recorder import ForecastRecorder
from tirgn_eqx.models import EventModel, EventRates

NAMES = ["RUSSIA", "UKRAINE", "UNITED STATES", "CHINA", "POLICE"]


def save(folder, graph, seed=0):
    """A checkpoint of rates that were never trained."""
    config = EventTrainingConfig(rate_hidden=4, periods="none")
    rates = EventRates(graph.num_entities, graph.num_relations, config, key=jr.key(seed))
    return save_model(folder / "tirgn_best", EventModel(rates, None), config, graph)


def some_facts(number):
    """What a forecaster might have found, without the time that it takes to compile one."""
    pairs = zip(NAMES, NAMES[1:] + NAMES[:1])
    chances = ((0.9 - 0.1 * i, 2.0 - 0.3 * i, None if i == 3 else 1.0) for i in range(5))
    return [
        EventForecast(subject=s, relation="042_Q1", object=o, kind="known", probability=p, expected=mean, usual=usual)
        for (s, o), (p, mean, usual) in zip(pairs, chances)
    ][:number]


def test_forecasts_stand_in_the_journal_as_they_were_made(tmp_path):
    table = write_event_table(tmp_path / "events.parquet", chain_of_events(range(20), NAMES))
    graph = load_graph(str(table), num_days=20)
    checkpoint = save(tmp_path, graph)
    recorder = ForecastRecorder(tmp_path / "journal", checkpoint)
    forecaster = EventForecaster.load(checkpoint, str(table))
    found = some_facts(4)
    kept = recorder.record(forecaster, found, number=4, horizon=3, by="probability", relation="042_Q1")
    assert (kept.written, kept.repeated) == (4, 0)
    again = recorder.record(forecaster, found, number=4, horizon=3, by="probability", relation="042_Q1")
    assert (again.written, again.repeated) == (0, 4)
    lines = read_journal(tmp_path / "journal").lines
    for line, fact in zip(lines, found, strict=True):
        assert (line.subject, line.relation, line.object) == (fact.subject, fact.relation, fact.object)
        assert (line.probability, line.expected, line.usual) == (fact.probability, fact.expected, fact.usual)
    line = lines[0]
    # The day after the newest one, and three days from then on.
    assert (line.target, line.horizon, line.step, line.unit) == (forecaster.time, 3, 86_400, "second")
    assert line.begin == int(graph.times[-1] + 1) * 86_400 and line.end - line.begin == 3 * 86_400
    # The last tenth of the days is test, which the model neither learnt from nor was selected by.
    learnt = max(int(graph.times[graph.split_snapshots(split)[-1]]) for split in ("train", "valid"))
    assert line.model.learnt_time == learnt * 86_400 < int(graph.times[-1]) * 86_400
    assert (line.model.sha256, line.model.name) == (checkpoint_sha256(checkpoint), str(checkpoint))
    assert (line.data.sha256, line.data.facts) == (graph.checksum, 100)
    assert load_graph(**line.data.provenance).checksum == graph.checksum
    assert line.selection.model_dump(exclude_none=True) == {"by": "probability", "number": 4, "relation": "042_Q1"}


def test_a_checkpoint_that_is_replaced_meanwhile_is_noticed(tmp_path):
    graph = load_graph(str(write_event_table(tmp_path / "events.parquet", chain_of_events(range(20), NAMES))))
    checkpoint = save(tmp_path, graph)
    recorder, forecaster = ForecastRecorder(tmp_path / "journal", checkpoint), EventForecaster.load(checkpoint)
    save(tmp_path, graph, seed=1)
    with pytest.raises(CheckpointError, match="was replaced while it forecast"):
        recorder.record(forecaster, [], number=1, horizon=1, by="probability")
    with pytest.raises(DataError, match="events.parquet: is a file"):
        ForecastRecorder(tmp_path / "events.parquet", checkpoint)
    with pytest.raises(CheckpointError, match="does not exist"):
        ForecastRecorder(tmp_path / "journal", tmp_path / "missing.npz")
