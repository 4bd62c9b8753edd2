import pytest

from tests.tune import worker
from tirgn_eqx.tune import search


@pytest.fixture(scope="session")
def graph():
    return worker.graph()


@pytest.fixture(autouse=True)
def played(monkeypatch):
    monkeypatch.setattr(search, "train_tirgn", worker.play())
    monkeypatch.setattr(search, "_PAUSE", 0.01)
