"""TiRGN trained with clocks that begin elsewhere: gradient norm of the first epoch, and test MRR.

Why: the linear time vector is w T + b. With T counted from 1970, as hours or quarter hours, its gradient drowns all
others, so clocks begin at the first snapshot. Every training here differs from the others in the origin of its clock
(or its seed) alone: of an event table, from 1970 and from its first snapshot; of the simulated world, as if its days
were days, hours or quarter hours since 1970. The simulated world is also written as an event table at each of these
offsets and trained on as read, which must give equal bits (`moved`). And the model of the first training forecasts the
test split as if that came later (`ahead`): what a linear vector is worth beyond the times of training.

    python -m benchmarks.clock
    python -m benchmarks.clock --data-path data/gdelt_events_2018-01.parquet --granularity hour --max-events 30000
"""

import dataclasses
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import common
from benchmarks.common import note, table

if TYPE_CHECKING:
    from tirgn_eqx.config import RecurrentTrainingConfig
    from tirgn_eqx.data import TemporalGraph
    from tirgn_eqx.train.events import TrainingResult

SETTINGS = common.QUICK_SETTINGS | {"embedding_dim": 32, "conv_channels": 10, "epochs": 10}
NEW_YEAR = 1_514_764_800  # 2018-01-01 UTC, in seconds since 1970
OFFSETS = {"day": 86_400, "hour": 3600, "15min": 900}  # seconds of a step
LENGTHS = (0, 0.25, 1, 2, 5, 20)  # how much later the test split is forecast, in lengths of the data
MOVED_EPOCHS = 2


def train(
    graph: "TemporalGraph", config: "RecurrentTrainingConfig", folder: Path
) -> tuple[common.Document, "TrainingResult"]:
    """(figures, result) of one training in `folder`."""
    from tirgn_eqx.train.api import train_tirgn

    result = train_tirgn(graph, config.replace(logdir=str(folder / "logs")), model_dir=folder)
    lines = [json.loads(line) for line in (folder / "logs" / "metrics.jsonl").read_text().splitlines()]
    norms = [line["train/gradient_norm"] for line in lines if "train/gradient_norm" in line]
    figures = {"seed": config.seed, "gradient_norm": norms[0], "last_gradient_norm": norms[-1]}
    figures |= {"validation_mrr": [line["eval/mrr"] for line in lines if "eval/mrr" in line]}
    assert result["test"] is not None
    return figures | {"test_mrr": result["test"]["entity"]["mrr"]}, result


def moved(graph: "TemporalGraph", config: "RecurrentTrainingConfig", folder: Path) -> list[common.Document]:
    """The graph as event tables at four offsets: fingerprint and test MRR of a training on each."""
    import numpy as np
    import polars as pl

    from tirgn_eqx.checkpoint.models import load_model
    from tirgn_eqx.data import load_graph
    from tirgn_eqx.train.warm_start import fingerprint

    found = []
    for granularity, start in (("day", 0), *((name, NEW_YEAR) for name in OFFSETS)):
        seconds = pl.Series(start + graph.times[graph.snapshot] * OFFSETS[granularity])
        names, relations = np.array(graph.entity_names), np.array(graph.relation_names)
        columns = {"entity1": names[graph.subject], "relation": relations[graph.relation]}
        columns |= {"entity2": names[graph.object], "timestamp": pl.from_epoch(seconds)}
        path = folder / f"{granularity}-{start}.parquet"
        pl.DataFrame(columns).write_parquet(path)
        read = load_graph(path, granularity=granularity, num_days=0)
        figures, result = train(read, config, folder / path.stem)
        told = {"granularity": granularity, "first_time": int(read.times[0])}
        told |= {"weights": fingerprint(load_model(result["checkpoint"] or "")[0])}
        found.append(told | figures)
        note(f"moved, {granularity} from {start}: test MRR {figures['test_mrr']:.4f}, weights {told['weights'][:12]}")
    return found


def ahead(graph: "TemporalGraph", config: "RecurrentTrainingConfig", checkpoint: str | None) -> list[common.Document]:
    """Figures of the test split as if it came later, for a model that knows no later time."""
    from tirgn_eqx.checkpoint.models import load_model
    from tirgn_eqx.evaluate.protocol import evaluate_model

    assert checkpoint is not None
    model, found = load_model(checkpoint)[0], []
    lasted = int(graph.time_index[-1]) + 1
    for lengths in LENGTHS:
        steps = int(lengths * lasted)
        later = dataclasses.replace(graph, clock_origin=graph.clock_origin - steps * graph.time_interval)
        entity = evaluate_model(model, later, split="test", **config.window()).entity
        found.append({"lengths": lengths, "steps": steps, "mrr": entity["mrr"], "nll": entity["nll"]})
        note(f"{steps:,} steps ahead: test MRR {entity['mrr']:.4f}, NLL {entity['nll']:.2f}")
    return found


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--max-events", type=int, default=0, metavar="N", help="of an event table (default: all)")
    args = common.finalize(parser.parse_args())
    if not args.quick:
        args.data_path = "sim:num_days=90" if args.data_path == "sim" else args.data_path
        args.set = [*(f"{name}={value}" for name, value in SETTINGS.items()), *args.set]
    graph, config = common.load_recurrent(args)
    if args.max_events:
        from tirgn_eqx.data import load_graph

        graph = load_graph(**graph.provenance | {"max_events": args.max_events})
    simulated = graph.provenance["kind"] == "sim"
    since = {name: NEW_YEAR // step for name, step in OFFSETS.items()}
    clocks = {"first snapshot": 0}
    clocks |= since if simulated else {"1970": int((graph.times // graph.time_interval)[0])}
    rows: list[common.Document] = []
    with tempfile.TemporaryDirectory() as work:
        first = None
        for seed in (config.seed, config.seed + 1):
            for name, steps in clocks.items():
                origin = int(graph.times[0]) - steps * graph.time_interval
                clocked = dataclasses.replace(graph, clock_origin=origin)
                folder = Path(work) / f"{name.replace(' ', '-')}-{seed}"
                figures, result = train(clocked, config.replace(seed=seed), folder)
                first = first or (clocked, result["checkpoint"])
                rows.append({"clock": name, "first_time_index": float(clocked.time_index[0])} | figures)
                shown = f"gradient norm {figures['gradient_norm']:,.1f}, test MRR {figures['test_mrr']:.4f}"
                note(f"{name}, seed {seed}: {shown}")
        result = {"trainings": rows, "ahead": ahead(first[0], config, first[1]) if first else []}
        if simulated:
            result["moved"] = moved(graph, config.replace(epochs=MOVED_EPOCHS), Path(work))
    name = common.join_name("clock", graph.name, args.granularity, args.tag)
    document = common.record(name, common.described(graph, config) | {"result": result}, args.results)
    keys = ("clock", "seed", "first_time_index", "gradient_norm", "test_mrr")
    table(f"{graph.name}: TiRGN by the origin of its clock", keys, [[row[key] for key in keys] for row in rows])
    common.finish(document)


if __name__ == "__main__":
    main()
