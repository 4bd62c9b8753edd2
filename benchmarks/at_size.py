"""A hundred million facts on one machine: written as a mapped graph, opened, indexed, and batches of them built.

Why: facts, and the index of all that was seen before, shall not have to fit into memory. Facts are drawn as they are
written; the history index is built part by part from rows spilt to the disk. Every stage is a process of its own, with
its seconds and its peak memory: `anonymous` is what the process holds itself, sampled every twentieth of a second;
`resident` (VmHWM) also counts pages of mapped files, which the system takes back when it needs them.

    python -m benchmarks.at_size --folder data/at-size
"""

import argparse
import functools
import json
import tempfile
import threading
import time
from pathlib import Path

from benchmarks import common
from benchmarks.common import note, table

SIZES = {"entities": 1_000_000, "relations": 500, "snapshots": 2000, "facts": 100_000_000}
QUICK_SIZES = {"entities": 2000, "relations": 20, "snapshots": 40, "facts": 20_000}
SETTINGS = {
    "embedding_dim": 64,
    "history_len": 2,
    "num_layers": 1,
    "static_graph": False,
    "batch_size": 1024,
    "loss": "shared",
    "num_shared": 4096,
    "unique_queries": True,
    "max_buckets": 1,
    "history_window": 50,
}
STAGES = ("write", "open", "index", "open index", "batch")


class Memory(threading.Thread):
    """The largest resident memory of this process, all of it and the anonymous part, in bytes."""

    def __init__(self):
        super().__init__(daemon=True)
        self.anonymous = self.samples = 0
        self._ended = threading.Event()

    def sample(self) -> None:
        try:
            lines = Path("/proc/self/status").read_text().splitlines()
        except OSError:
            return
        found = next((int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon:")), 0)
        self.anonymous, self.samples = max(self.anonymous, found), self.samples + 1

    def run(self) -> None:
        while not self._ended.wait(0.05):
            self.sample()

    def end(self) -> dict[str, int | None]:
        self._ended.set()
        self.join()
        self.sample()
        return {
            "anonymous_bytes": self.anonymous or None,
            "resident_bytes": common.peak_rss(),
            "samples": self.samples,
        }


def disk(folder: Path, pattern: str) -> int:
    return sum(file.stat().st_size for place in folder.glob(pattern) for file in place.iterdir())


def write(folder: Path, sizes: dict, seed: int) -> dict:
    from benchmarks.graphs import streamed_facts
    from tirgn_eqx.data.readers.mapped_writer import write_mapped

    numbers = {f"num_{name}": sizes[name] for name in ("entities", "relations")}
    source = {"kind": "random", "seed": seed}
    graph = write_mapped(folder, streamed_facts(**sizes, seed=seed), name="random", **numbers, source=source)
    return {"bytes": disk(folder, "facts-*"), "bytes_per_fact": disk(folder, "facts-*") / graph.num_facts}


def open_graph(folder: Path) -> dict:
    from tirgn_eqx.data import load_graph

    return {"dataset": load_graph(folder).describe()}


def index(folder: Path, memory_mb: int) -> dict:
    from tirgn_eqx.data import load_graph
    from tirgn_eqx.data.index.history import mapped_vocabulary

    graph = load_graph(folder)
    begin = time.perf_counter()
    vocabulary = mapped_vocabulary(graph, memory_mb=memory_mb)
    seconds = time.perf_counter() - begin
    report = vocabulary.report()
    (place,) = folder.glob("history-*")
    said = json.loads((place / "index.json").read_text())
    lengths = {name: column["length"] for name, column in said["columns"].items()}
    return {
        "build_seconds": seconds,
        "parts": said["parts"],
        "spilt_bytes": said["spilt_bytes"],
        "bytes": disk(folder, "history-*"),
        "bytes_per_fact": report["bytes"] / graph.num_facts,
        "pairs": report["pairs"],
        "objects_per_pair": report["objects_per_pair"],
        "lengths": lengths,
    }


def open_index(folder: Path) -> dict:
    from tirgn_eqx.data import build_history_vocabulary, load_graph

    graph = load_graph(folder)
    begin = time.perf_counter()
    build_history_vocabulary(graph)
    return {"index_seconds": time.perf_counter() - begin}


def batch(folder: Path, settings: dict) -> dict:
    """Batches of the valid split as training makes them: entities that are touched, others drawn for all."""
    import jax
    import numpy as np

    from tirgn_eqx.config import RecurrentTrainingConfig, config_from_dict
    from tirgn_eqx.data import build_history_vocabulary, load_graph
    from tirgn_eqx.data.batches.graph_loader import GraphLoader, GraphOptions

    config = config_from_dict(settings)
    assert isinstance(config, RecurrentTrainingConfig)
    graph = load_graph(folder)
    vocabulary = build_history_vocabulary(graph)
    begin = time.perf_counter()
    loader = GraphLoader(
        graph,
        vocabulary,
        "valid",
        GraphOptions(
            history_len=config.history_len,
            history_window=config.history_window,
            batch_size=config.batch_size,
            max_buckets=config.max_buckets,
            unique=config.unique_queries,
            num_shared=config.num_shared,
            rows="touched",
        ),
    )
    plan = time.perf_counter() - begin
    seconds, leaves, prepared = [], [], None
    for target in loader.items[:3].tolist():
        begin = time.perf_counter()
        prepared = loader.build(target)
        leaves = jax.block_until_ready(jax.tree.leaves(prepared.batch))
        seconds.append(time.perf_counter() - begin)
    assert prepared is not None
    rows = loader.buckets[prepared.bucket].rows
    return {
        "plan_seconds": plan,
        "planned_targets": len(loader),
        "build_seconds": common.spread(seconds),
        "facts": prepared.num_facts,
        "rows": rows,
        "share_of_entities": rows / graph.num_entities,
        "bytes": int(sum(np.asarray(leaf).nbytes for leaf in leaves)),
    }


def child(stage: str, args: argparse.Namespace, sizes: dict, settings: dict) -> None:
    from tirgn_eqx.runtime.malloc import keep_freed_memory

    keep_freed_memory()
    work = {
        "write": functools.partial(write, args.folder, sizes, settings["seed"]),
        "open": functools.partial(open_graph, args.folder),
        "index": functools.partial(index, args.folder, args.memory_mb),
        "open index": functools.partial(open_index, args.folder),
        "batch": functools.partial(batch, args.folder, settings),
    }[stage]
    memory = Memory()
    memory.start()
    begin = time.perf_counter()
    told = work()
    told["seconds"] = time.perf_counter() - begin
    common.finish(told | {"memory": memory.end()})


def measure(stage: str, folder: Path, args: argparse.Namespace) -> dict:
    words = [*common.passed_on(args), "--folder", str(folder), "--memory-mb", str(args.memory_mb), "--child", stage]
    words += ["--facts", str(args.facts)] if args.facts else []
    told = common.run_module("benchmarks.at_size", words)
    memory = {name: (value or 0) / 1e9 for name, value in told["memory"].items() if name.endswith("bytes")}
    note(f"{stage}: {told['seconds']:.1f} s, {memory['anonymous_bytes']:.2f} GB anonymous")
    return told


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--facts", type=int, metavar="N", help="instead of 100,000,000 (quick: 20,000)")
    parser.add_argument("--memory-mb", type=int, default=2048, metavar="N", help="for building the index (2048)")
    parser.add_argument("--folder", type=Path, metavar="DIR", help="of the graph (default: a temporary one)")
    parser.add_argument("--stages", default=",".join(STAGES), metavar="LIST", help="of " + ", ".join(STAGES))
    parser.add_argument("--child", metavar="STAGE", help=argparse.SUPPRESS)
    args = common.finalize(parser.parse_args())
    common.commit()  # as it is now, however long this takes
    from tirgn_eqx.config import TiRGNTrainingConfig, parse_assignments

    sizes = dict(QUICK_SIZES if args.quick else SIZES)
    sizes |= {"facts": args.facts} if args.facts else {}
    seed = {} if args.seed is None else {"seed": args.seed}
    config = TiRGNTrainingConfig().replace(**SETTINGS | parse_assignments(args.set) | seed)
    if args.child:
        return child(args.child, args, sizes, config.to_dict())
    with tempfile.TemporaryDirectory(prefix="benchmark-") as work:
        folder = args.folder or Path(work) / "graph"
        result = {stage: measure(stage, folder, args) for stage in args.stages.split(",")}
    dataset = result.get("open", {}).pop("dataset", {"name": "random", "sha256": None} | sizes)
    payload = {"dataset": dataset, "setting": config.to_dict(), "seed": config.seed}
    payload["result"] = {"sizes": sizes, "memory_mb": args.memory_mb, "stages": result}
    million = sizes["facts"] // 1_000_000
    name = common.join_name("at-size", f"{million}m" if million else str(sizes["facts"]), args.tag)
    document = common.record(name, payload, args.results)
    table(
        f"{sizes['facts']:,} facts, {sizes['entities']:,} entities",
        ["stage", "seconds", "anonymous GB", "resident GB"],
        [
            [
                stage,
                told["seconds"],
                *((told["memory"][f"{kind}_bytes"] or 0) / 1e9 for kind in ("anonymous", "resident")),
            ]
            for stage, told in result.items()
        ],
    )
    common.finish(document)


if __name__ == "__main__":
    main()
