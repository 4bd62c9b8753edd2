"""Forecasts for tests of journals."""

from tirgn_eqx.data.forecast_journal import ForecastingModel, JournalForecast, KnownData, Selection

MODEL = ForecastingModel(name="tirgn_best.npz", sha256="a" * 64, learnt_until=-2)
DATA = KnownData(name="made", sha256="b" * 64, facts=3, last=9)


def forecast(**changes) -> JournalForecast:
    """A forecast of a graph without names whose times are numbers, with `changes`."""
    fields = {
        **{"model": MODEL, "version": "0.1.0", "data": DATA, "selection": Selection(by="probability", number=9)},
        **{"target": 5, "horizon": 1, "step": 1, "unit": "number", "subject": "0", "relation": "0", "object": "1"},
        **{"probability": 0.5, "expected": 0.7, "usual": 0.25},
    }
    return JournalForecast(**(fields | changes))
