"""What a forecaster is worth to those who act on it: calibration before and after, latency, throughput.

Why: a probability that one acts on must mean what it says, and a service must answer at once. A model is trained on the
data (or on the days of it that `--days` names), evaluated, calibrated on valid, and asked by name: single queries
with and without what carries the answers, and many at once.

    python -m benchmarks.forecast --data-path data/events.parquet --days 2018-01-09,2018-01-11 --granularity hour \\
        --preset evidence
    python -m benchmarks.forecast --checkpoint models/tirgn_best.npz
"""

import dataclasses
import datetime as dt
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks import common
from benchmarks.common import note, table

if TYPE_CHECKING:
    from tirgn_eqx.evaluate import Evaluation
    from tirgn_eqx.forecast import Forecaster

QUERIES = 4096
SINGLE = 200


def cut(path: str, days: str, folder: Path) -> str:
    """The events of the days first,last of a table, as a table of its own."""
    import polars as pl

    first, last = (dt.date.fromisoformat(day) for day in days.split(","))
    events = pl.read_parquet(path)
    day = pl.col("timestamp").cast(pl.Datetime).dt.date()
    name = folder / f"{Path(path).stem}_{first:%m%d}-{last:%m%d}.parquet"
    events.filter((day >= first) & (day <= last)).write_parquet(name)
    return str(name)


def figures(evaluation: "Evaluation") -> common.Document:
    found = evaluation.to_dict()
    assert evaluation.calibration is not None
    return {"entity": found["entity"], "relation": found["relation"], **evaluation.calibration.to_dict()}


def time_queries(forecaster: "Forecaster") -> common.Document:
    """Milliseconds of single queries, and queries a second in batches; real (s, r) of the newest facts."""
    graph, names = forecaster.graph, forecaster.names
    rng = np.random.default_rng(0)
    rows = rng.integers(max(0, graph.num_facts - 50_000), graph.num_facts, QUERIES)
    queries = [(names.entities[graph.subject[i]], names.relations[graph.relation[i]], None) for i in rows]
    out = {}
    for because in (False, True):
        times = []
        for query in queries[:SINGLE] * 2:
            begin = time.perf_counter()
            forecaster.forecast(*query, explain=because)
            times.append(1e3 * (time.perf_counter() - begin))
        # The first round compiles a program for every shape that comes.
        later = np.array(times[SINGLE:])
        quantiles = {name: float(np.quantile(later, q)) for name, q in (("median", 0.5), ("p95", 0.95), ("max", 1.0))}
        out["single_with_reasons_ms" if because else "single_ms"] = quantiles
    forecaster.forecasts(queries)
    begin = time.perf_counter()
    forecaster.forecasts(queries)
    out["queries_per_second"] = QUERIES / (time.perf_counter() - begin)
    begin = time.perf_counter()
    forecaster.top_facts(100)
    return out | {"top_100_facts_seconds": time.perf_counter() - begin}


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--days", metavar="FIRST,LAST", help="only events of these days (all)")
    parser.add_argument("--checkpoint", metavar="CKPT", help="ask this one instead of training")
    args = common.finalize(parser.parse_args())

    from tirgn_eqx.data.vocabulary import match_checkpoint
    from tirgn_eqx.evaluate.calibrate import fit_temperature
    from tirgn_eqx.evaluate.protocol import make_evaluator
    from tirgn_eqx.forecast import Forecaster
    from tirgn_eqx.train import load_model, train_tirgn

    with tempfile.TemporaryDirectory() as temporary:
        folder, result = Path(temporary), {}
        path = cut(args.data_path, args.days, folder) if args.days else args.data_path
        options = {"num_days": 0 if args.days else args.num_days, "granularity": args.granularity}
        load = {} if path.startswith("sim") else {k: v for k, v in options.items() if v is not None}
        given = {"config_file": args.config, "assignments": args.set, "seed": args.seed, "quick": args.quick}
        graph, config = common.load(path, args.preset, **given, **load)
        checkpoint = args.checkpoint
        if checkpoint is None:
            note(f"training {config.family} on {graph.name}: {graph.num_facts:,} facts")
            trained = train_tirgn(graph, config.replace(logdir=str(folder / "log")), model_dir=folder / "models")
            checkpoint = trained["checkpoint"] or ""
            result["training"] = {name: trained[name] for name in ("epochs_trained", "total_time", "parameters")}
        model, config, metadata = load_model(checkpoint)
        graph = match_checkpoint(graph, metadata, checkpoint)
        test = make_evaluator(model, graph, split="test", **config.window())
        valid = make_evaluator(model, graph, split="valid", **config.window())
        note("evaluating and calibrating")
        result["before"] = figures(test(model))
        found = fit_temperature(lambda temperature: valid(model, temperature))
        result["fitted_on_valid"], result["after"] = found.to_dict(), figures(test(model, found.pair))
        begin = time.perf_counter()
        forecaster = Forecaster(model, config, graph, temperature=found.temperature)
        result["seconds_to_make"] = time.perf_counter() - begin
        note("asking")
        result |= time_queries(forecaster)
    result["model_type"] = config.model_type
    setting = {name: value for name, value in dataclasses.asdict(config).items() if name != "logdir"}
    payload = {"dataset": graph.describe(), "setting": setting, "seed": config.seed, "result": result}
    name = common.join_name("forecast", graph.name, config.model_type, args.tag)
    document = common.record(name, payload, args.results)

    def row(when):
        return [when, result[when]["ece"], result[when]["brier"], result[when]["entity"]["nll"]]

    table(f"{graph.name}: {config.model_type}", ["calibration", "ECE", "Brier", "NLL"], [row("before"), row("after")])
    speed = [result["single_ms"]["median"], result["single_with_reasons_ms"]["median"], result["queries_per_second"]]
    table("asked by name", ["one query, ms", "with reasons, ms", "queries a second"], [speed])
    common.finish(document)


if __name__ == "__main__":
    main()
