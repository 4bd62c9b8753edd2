"""Two small trainings, as files and as runs with measurements; a browser."""

import dataclasses
import shutil

import pytest

from tests.helpers import chain_of_events, event_model, family_config, write_event_table
from tirgn_eqx import load_graph, load_model, simulate, train_tirgn
from tirgn_eqx.checkpoint.metadata import CheckpointMetadata
from tirgn_eqx.checkpoint.models import save_model
from tirgn_eqx.forecast.events import EventForecaster
from tirgn_eqx.forecast.recorder import ForecastRecorder
from tirgn_eqx.report import measure, read_run
from tirgn_eqx.report.briefing import BriefingOptions, make_briefing

SMALL = {
    **{"embedding_dim": 8, "history_len": 2, "num_layers": 1, "conv_channels": 2, "epochs": 2, "eval_interval": 1},
    **{"max_buckets": 1, "precision": "f32", "remat": "none", "evidence_heads": 2, "evidence_hidden": 2},
}

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
QUIET += ["--disable-component-update", "--disable-sync"]


@pytest.fixture(scope="session")
def graph():
    return simulate(num_entities=14, num_relations=4, num_days=20, facts_per_day=15, seed=2).graph


@pytest.fixture(scope="session")
def trainings(graph, tmp_path_factory):
    """Folders of a TiRGN and of an evidence model."""
    place = tmp_path_factory.mktemp("trainings")
    for name, changes in (("plain", {}), ("evidence", {"family": "evidence"})):
        config = family_config(**SMALL | changes, logdir=str(place / "logs" / name))
        train_tirgn(graph, config, model_dir=place / name)
    return place


@pytest.fixture(scope="session")
def runs(graph, trainings):
    """Both, with their measurements."""

    def measured(name):
        run = read_run(trainings / name)
        model, config, _ = load_model(run.checkpoint)
        return dataclasses.replace(run, measurements=measure(model, config, graph, samples=4))

    return [measured("plain"), measured("evidence")]


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: tirgn-eqx[browser]")
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser, tmp_path):
    """Opens a page; what it complains of or asks for elsewhere fails the test."""
    path, complaints, contexts = tmp_path / "page.html", [], []

    def go(page, width=1280, height=900, place="", **options):
        path.write_text(page, encoding="utf-8")
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        view = context.new_page()
        view.on("console", lambda message: complaints.append(message.text))
        view.on("pageerror", lambda error: complaints.append(str(error)))
        own = path.as_uri()
        view.on("request", lambda asked: asked.url.partition("#")[0] == own or complaints.append(asked.url))
        view.goto(own + place)
        return view

    yield go
    for context in contexts:
        context.close()
    # The empty icon is a data: address, which is asked for within the page.
    assert [one for one in complaints if one != "data:,"] == []


@pytest.fixture(scope="session")
def forecaster(tmp_path_factory):
    """Events of five actors on 40 days, and rates of random weights that forecast the next ones."""
    events = chain_of_events(range(40), ["RUSSIA", "UKRAINE", "UNITED_STATES", "CHINA", "POLICE_(IRAN)"])
    graph = load_graph(write_event_table(tmp_path_factory.mktemp("events") / "events.parquet", events), num_days=0)
    return EventForecaster(*event_model(graph), graph)


@pytest.fixture(scope="session")
def briefing(forecaster):
    """The briefing of it, by a checkpoint that says how good it was on test."""
    graph = forecaster.graph
    bins = [{"low": 0.2, "high": 0.3, "facts": 40, "probability": 0.25, "occurred": 0.2}]
    tested = {"horizon": 7, "snapshots": 31, "best_baseline": "climatology", "skill": 0.08, "ece": 0.004}
    tested |= {"skill_interval": [0.05, 0.1], "reliability": bins}
    metadata = CheckpointMetadata(
        num_entities=graph.num_entities,
        num_relations=graph.num_relations,
        model_type="events",
        metrics={"event_test": {"horizons": [tested, tested | {"horizon": 30, "skill": None}]}},
        created="2026-01-02T03:04:05+00:00",
        versions={"tirgn-eqx": "0.1", "jax": "0.10"},
    )
    return make_briefing(forecaster, "models/events.npz", metadata, BriefingOptions(top=6, watched=("china",)))


@pytest.fixture(scope="session")
def recorded(forecaster, tmp_path_factory):
    """A journal of forecasts two days ahead from two times on, and the forecaster of the second one."""
    place, graph = tmp_path_factory.mktemp("recorded"), forecaster.graph
    graph = load_graph(**graph.provenance)
    model, config = event_model(graph)
    recorder = ForecastRecorder(place / "journal", save_model(place / "model", model, config, graph))
    for at in ("2018-01-06", "2018-01-07"):
        later = EventForecaster(model, config, graph, at=at)
        # Random weights give hardly any probability.
        found = [fact.model_copy(update={"probability": 0.6}) for fact in later.events(6, horizon=2)]
        recorder.record(later, found, number=6, horizon=2, by="probability")
    return place / "journal", later
