"""The event model: trained, and judged by what came, beside climatology, persistence and counted rates.

Why: a probability of an event is worth something only if it has been checked. On the simulated world, whose true rates
are known, the share of the skill that is possible at all is told as well. `--poisson` holds the shape of the counts at
its limit, which is as good as a Poisson number: whether the negative binomial one pays is seen on valid.

    python -m benchmarks.events --data-path data/ICEWS14s --seed 0
    python -m benchmarks.events --data-path data/events.parquet --num-days 60
    python -m benchmarks.events --data-path sim:num_days=300
"""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

from benchmarks import common
from benchmarks.common import table

if TYPE_CHECKING:
    import numpy as np

    from tirgn_eqx.data.graph import TemporalGraph
    from tirgn_eqx.data.index.activity import ActivityIndex

TRUTH = "true rates"


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--poisson", action="store_true", help="counts as good as Poisson numbers")
    args = common.finalize(parser.parse_args())

    from tirgn_eqx.config import EventTrainingConfig
    from tirgn_eqx.config.read import parse_assignments
    from tirgn_eqx.data import load_graph
    from tirgn_eqx.runtime.malloc import keep_freed_memory
    from tirgn_eqx.train.api import train_tirgn

    keep_freed_memory()
    quick = {"epochs": 1, "snapshots_per_epoch": 8} if args.quick else {}
    reading = {"num_days": args.num_days, "granularity": args.granularity}
    graph = load_graph(args.data_path, **{name: value for name, value in reading.items() if value is not None})
    settings = quick | {"seed": args.seed or 0} | parse_assignments(args.set)
    with tempfile.TemporaryDirectory() as place, as_poisson() if args.poisson else contextlib.nullcontext():
        config = EventTrainingConfig(logdir=str(Path(place) / "logs")).replace(**settings)
        found = train_tirgn(graph, config, Path(place) / "models")
        possible = share_of_possible(graph, found["checkpoint"]) if graph.provenance.get("kind") == "sim" else None
    assert "events" in found
    kept: common.Document = {name: found[name] for name in ("model_type", "epochs_trained", "best_epoch", "parameters")}
    kept |= {"seconds": found["total_time"], "peak_rss_bytes": common.peak_rss()}
    kept |= {"valid_nll": found["events"]["valid_nll"], "test": found["events"]["test"]}
    if possible is not None:
        kept["share_of_possible_skill"] = possible
    name = common.join_name("events", graph.name, f"seed{config.seed}", "poisson" if args.poisson else None, args.tag)
    # The logs lie in a folder that is gone by now.
    setting = {name: value for name, value in config.to_dict().items() if name != "logdir"}
    payload = (
        common.described(graph, config)
        | {"setting": setting}
        | {"counts": "Poisson" if args.poisson else "negative binomial"}
    )
    document = common.record(name, payload | {"result": kept}, args.results)
    rows: list[list[object]] = []
    for horizon in found["events"]["test"]["horizons"]:
        for rule, scores in horizon["rules"].items():
            lists = [scores["precision"]["100"], scores["recall"]["100"]]
            rows.append(
                [horizon["horizon"], rule, scores["brier"], scores["log_score"], scores["average_precision"], *lists]
            )
    columns = ["horizon", "rule", "Brier", "log score", "AP", "P@100", "R@100"]
    table(f"{graph.name}: events, {found['total_time']:.0f} s", columns, rows)
    common.finish(document)


@contextlib.contextmanager
def as_poisson() -> Iterator[None]:
    """Within it, the shape of every gamma factor stays at its upper limit."""
    from tirgn_eqx.models import event_rates

    with mock.patch.object(event_rates, "LEAST_LOG_SHAPE", event_rates.LOG_SHAPE_LIMIT):
        yield


def share_of_possible(graph: "TemporalGraph", checkpoint: str | None) -> list[common.Document]:
    """By horizon, the Brier scores of the model, of the best simple rule and of the true rates, and which share of the
    way from the rule to the truth the model goes."""
    import numpy as np

    from tirgn_eqx import simulate
    from tirgn_eqx.checkpoint.models import load_event_model
    from tirgn_eqx.data.index.activity import ActivityIndex
    from tirgn_eqx.evaluate.event_rates import RatesForecaster
    from tirgn_eqx.evaluate.event_rules import BASELINES
    from tirgn_eqx.evaluate.event_scores import HORIZONS, MODEL, score_events

    assert checkpoint is not None
    options = {name: value for name, value in graph.provenance.items() if name not in ("kind", "path")}
    world, index = simulate(**options), ActivityIndex(graph)  # pyright: ignore[reportArgumentType]

    def truth(index: "ActivityIndex", facts: "np.ndarray", target: int, horizon: int) -> "np.ndarray":
        return world.probability(target, horizon, *index.parts(facts))

    forecaster = RatesForecaster(load_event_model(checkpoint)[0].rates, index, HORIZONS)
    found = list[common.Document]()
    for scores in score_events(forecaster, "test", {**BASELINES, TRUTH: truth}):
        brier = {name: rule.brier for name, rule in scores.rules.items()}
        best = min(BASELINES, key=lambda name: brier[name])
        share = (brier[best] - brier[MODEL]) / (brier[best] - brier[TRUTH])
        briers = {"model": brier[MODEL], "best_rule": brier[best], "true_rates": brier[TRUTH]}
        found.append({"horizon": scores.horizon, **briers, "share": float(np.float64(share))})
    return found


if __name__ == "__main__":
    main()
