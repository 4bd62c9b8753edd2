"""A training step of ours beside one of plain PyTorch (`peer_torch.py`), in turn, in a process each.

Why: PyTorch is what a user would otherwise pick. Both compute the same mathematics (proven on the golden numbers by
`tests/benchmarks/test_peer.py`), start from the same weights, and see the same batches in the same padded shapes. Steps
alternate, so that a busy machine slows both, and neither's memory or waiting threads get in the other's way; the
ratio is of medians. With `--compile` the peer also runs under `torch.compile`. Needs PyTorch, nothing else of it.

    python -m benchmarks.peer --data-path data/ICEWS14s --set precision=f32
"""

import argparse
import json
import subprocess
import sys
import time

from benchmarks import common
from benchmarks.common import note, table

REST = 0.3  # seconds before each sample: PyTorch's threads wait for more work with the cores busy


def torch_ceiling(device: str, size: int) -> dict[str, float]:
    """FLOP/s of PyTorch's own matrix product, f32 and bf16: the best of several."""
    import torch

    found = {}
    for name, dtype in (("torch_f32_flops", torch.float32), ("torch_bf16_flops", torch.bfloat16)):
        x, y = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
        found[name] = max(2 * size**3 / clocked(lambda x=x, y=y: x @ y, device) for _ in range(8))
    return found


def clocked(fn, device: str) -> float:
    """Seconds of one call, the device's work included."""
    import torch

    begin = time.perf_counter()
    fn()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - begin


def child(args: argparse.Namespace) -> None:
    """The peer's process: what it is on the first line, then per line `NAME BUCKET` of input the seconds of a step."""
    import torch

    from benchmarks.harness import Harness
    from benchmarks.peer_torch import batch_from_jax, from_jax, make_step
    from tirgn_eqx.config import TiRGNTrainingConfig

    harness, device = Harness(*common.load_recurrent(args)), args.device
    model, config = harness.model, harness.config
    assert isinstance(config, TiRGNTrainingConfig)
    steps = {"torch_eager": make_step(from_jax(model, config, device=device).train())}
    if args.compile:
        compiled = from_jax(model, config, device=device).train()
        compiled.loss = torch.compile(compiled.loss, dynamic=True)
        steps["torch_compiled"] = make_step(compiled)
    about = {"torch": torch.__version__, "threads": torch.get_num_threads()}
    print(json.dumps(about | torch_ceiling(device, 256 if args.quick else 2048)), flush=True)
    batches: dict[int, dict] = {}
    for line in sys.stdin:
        name, bucket = line.split()
        if int(bucket) not in batches:
            batch = harness.typical(int(bucket)).batch
            batches[int(bucket)] = batch_from_jax(batch, model.num_entities, model.num_relations, device)
        print(clocked(lambda name=name, bucket=bucket: steps[name](batches[int(bucket)]), device), flush=True)


class Peer:
    """The child process; `about` is what it says of itself."""

    def __init__(self, args: argparse.Namespace, device: str):
        words = [sys.executable, "-m", "benchmarks.peer", "--child", "--device", device, *common.passed_on(args)]
        words += ["--compile"] if args.compile else []
        # Its JAX only reads the data; a GPU is left to PyTorch.
        environment = common.child_environment(JAX_PLATFORMS="cpu")
        self.process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self.about = json.loads(self._answer())

    def _answer(self) -> str:
        line = self.process.stdout.readline()  # pyright: ignore[reportOptionalMemberAccess]
        if not line:
            raise SystemExit(f"the peer ended with exit code {self.process.wait()}, see above")
        return line

    def seconds(self, name: str, bucket: int) -> float:
        print(name, bucket, file=self.process.stdin, flush=True)
        return float(self._answer())

    def close(self) -> None:
        self.process.stdin.close()  # pyright: ignore[reportOptionalMemberAccess]
        self.process.wait(60)


def measure_bucket(harness, bucket: int, names: list[str], peer: Peer, repeats: int) -> dict:
    """Seconds of ours and of each form of the peer on the bucket's median batch, alternating."""
    import jax

    from benchmarks.flops import step_flops
    from benchmarks.harness import clock

    prepared = harness.typical(bucket)
    samples: dict[str, list[float]] = {name: [] for name in ("ours", *names)}
    for number in range(repeats + 1):
        for name, values in samples.items():
            time.sleep(REST)
            ours = name == "ours"
            seconds = clock(lambda: jax.block_until_ready(harness.step(prepared)))[0] if ours else None
            seconds = peer.seconds(name, bucket) if seconds is None else seconds
            if number:  # the first round compiles and warms up
                values.append(seconds)
    seconds = {name: common.spread(values) for name, values in samples.items()}
    flops = step_flops(harness.model, prepared.batch)["step"]
    return {
        "bucket": bucket,
        "targets": len(harness.targets(bucket)),
        "facts": prepared.num_facts,
        "flops": flops,
        "seconds": seconds,
        "speedup": {name: seconds[name]["median"] / seconds["ours"]["median"] for name in names},
        "flops_per_second": {name: flops / seconds[name]["median"] for name in seconds},
    }


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--buckets", type=int, metavar="N", help="only the N buckets with the most targets")
    parser.add_argument("--compile", action="store_true", help="the peer also under torch.compile")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--device", default="cpu", help=argparse.SUPPRESS)
    args = common.finalize(parser.parse_args())
    if args.child:
        return child(args)

    import jax

    from benchmarks.harness import Harness

    graph, config = common.load_recurrent(args)
    if config.loss != "full" or config.batch_size or config.unique_queries:
        parser.error("the peer trains as published: loss=full, batch_size=0, unique_queries=false")
    device = "cuda" if jax.default_backend() == "gpu" else "cpu"
    note(f"{graph.name}: {graph.num_facts:,} facts; measuring the machine first")
    ceilings = common.ceilings(args.quick)
    peer = Peer(args, device)
    ceilings |= {name: value for name, value in peer.about.items() if name.endswith("_flops")}
    harness = Harness(graph, config)
    names = ["torch_eager", *["torch_compiled"] * args.compile]
    order = sorted(range(len(harness.loader.buckets)), key=lambda bucket: -len(harness.targets(bucket)))
    rows = []
    for bucket in order[: args.buckets or None]:
        row = measure_bucket(harness, bucket, names, peer, args.repeats)
        row["share_of_ceiling"] = row["flops_per_second"]["ours"] / ceilings["f32_flops"]
        rows.append(row)
        note(f"bucket {bucket}: {row['seconds']['ours']['median']:.3f} s, speed-up {row['speedup']}")
    peer.close()

    def mean(name):
        return sum(r["targets"] * r["seconds"][name]["median"] for r in rows) / sum(r["targets"] for r in rows)

    result = {
        "device": device,
        "torch": peer.about["torch"],
        "threads": peer.about["threads"],
        "ceilings": ceilings,
        "buckets": rows,
        "mean_step_seconds": {name: mean(name) for name in ("ours", *names)},
        "speedup": {name: mean(name) / mean("ours") for name in names},
    }
    name = common.result_name("peer", graph, args)
    document = common.record(name, common.described(graph, config) | {"result": result}, args.results)
    table(
        f"{graph.name}, {config.precision}: one training step, ours and PyTorch {peer.about['torch']}",
        ["bucket", "targets", "facts", *(f"{name} ms" for name in ("ours", *names)), *names],
        [
            [row["bucket"], row["targets"], row["facts"]]
            + [row["seconds"][name]["median"] * 1e3 for name in ("ours", *names)]
            + [f"{row['speedup'][name]:.2f} x" for name in names]
            for row in rows
        ],
    )
    common.finish(document)


if __name__ == "__main__":
    main()
