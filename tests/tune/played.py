"""A search in this process whose trainings are played, see `worker.play`."""

from tests.tune import worker
from tirgn_eqx.tune import search


def tune(graph, place, trials=6, *, config=None, **options):
    options = {"space": worker.SPACE, "startup": 2, **options}
    return search.tune(graph, config or worker.config(), study=place / "study.journal", trials=trials, **options)
