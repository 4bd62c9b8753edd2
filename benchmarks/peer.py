"""Our training step beside plain eager PyTorch's, in turn, in one process, on the same batches.

Why: someone without this project would write the model in PyTorch (`peer_torch.py` is that program, in our own words
and proven equal by tests/test_peer.py), so its time on the same machine is the figure to compare with. Steps
alternate, so that a busy machine slows both; the ratio is of medians. With `--compile` the peer also runs under
`torch.compile`. FLOP and ceilings as in `step.py`; PyTorch's own matrix product rate is measured beside them.

    python benchmarks/peer.py --data-path data/ICEWS14s --set precision=f32
"""

import common
from common import note, table


def torch_ceiling(device: str, size: int) -> dict[str, float]:
    """FLOP/s of PyTorch's dense product in f32 and bf16, best of several."""
    import torch

    found = {}
    for name, dtype in (("torch_f32_flops", torch.float32), ("torch_bf16_flops", torch.bfloat16)):
        a = torch.randn(size, size, device=device).to(dtype)
        seconds = [clocked(lambda a=a: a @ a, device)[0] for _ in range(7)]
        found[name] = 2 * size**3 / min(seconds[2:])
    return found


def clocked(fn, device: str):
    """(seconds, result) of one call, the device's work included."""
    import torch
    from harness import clock

    def whole():
        out = fn()
        if device == "cuda":
            torch.cuda.synchronize()
        return out

    return clock(whole)


def measure_bucket(harness, bucket: int, steps: dict, device: str, repeats: int) -> dict:
    """Seconds of ours and of each peer on the bucket's median batch, alternating."""
    import jax
    from flops import step_flops
    from harness import clock
    from peer_torch import batch_from_jax

    prepared = harness.typical(bucket)
    model = harness.model
    theirs = batch_from_jax(prepared.batch, model.num_entities, model.num_relations, device)
    ours = lambda: jax.block_until_ready(harness.step(prepared))
    samples: dict[str, list[float]] = {name: [] for name in ("ours", *steps)}
    for number in range(repeats + 1):
        taken = {"ours": clock(ours)[0]}
        taken |= {name: clocked(lambda step=step: step(theirs), device)[0] for name, step in steps.items()}
        if number:  # the first round compiles and warms up
            for name, seconds in taken.items():
                samples[name].append(seconds)
    seconds = {name: common.spread(values) for name, values in samples.items()}
    flops = step_flops(model, prepared.batch)["step"]
    return {
        "bucket": bucket,
        "targets": len(harness.targets(bucket)),
        "facts": prepared.num_facts,
        "flops": flops,
        "seconds": seconds,
        "speedup": {name: seconds[name]["median"] / seconds["ours"]["median"] for name in steps},
        "flops_per_second": {name: flops / seconds[name]["median"] for name in seconds},
    }


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--buckets", type=int, metavar="N", help="only the N buckets with the most targets")
    parser.add_argument("--compile", action="store_true", help="the peer also under torch.compile")
    args = common.finalize(parser.parse_args())

    import jax
    import torch
    from harness import Harness
    from peer_torch import from_jax, make_step

    graph, config = common.load_arguments(args)
    if config.loss != "full" or config.batch_size or config.unique_questions:
        parser.error("the peer trains as published: loss=full, batch_size=0, unique_questions=false")
    device = "cuda" if jax.default_backend() == "gpu" and torch.cuda.is_available() else "cpu"
    note(f"{graph.name}: {graph.num_facts:,} facts; measuring the machine first")
    ceilings = common.ceilings(args.quick) | torch_ceiling(device, 256 if args.quick else 2048)
    harness = Harness(graph, config)
    peer = from_jax(harness.model, config, device=device).train()
    steps = {"torch_eager": make_step(peer)}
    if args.compile:
        again = from_jax(harness.model, config, device=device).train()
        again.loss = torch.compile(again.loss, dynamic=True)
        steps["torch_compiled"] = make_step(again)
    order = sorted(range(len(harness.loader.buckets)), key=lambda bucket: -len(harness.targets(bucket)))
    rows = []
    for bucket in order[: args.buckets or None]:
        row = measure_bucket(harness, bucket, steps, device, args.repeats)
        row["share_of_ceiling"] = row["flops_per_second"]["ours"] / ceilings["f32_flops"]
        rows.append(row)
        note(f"bucket {bucket}: {row['seconds']['ours']['median']:.3f} s, speed-up {row['speedup']}")
    mean = lambda name: sum(r["targets"] * r["seconds"][name]["median"] for r in rows) / sum(r["targets"] for r in rows)
    result = {
        "device": device,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "ceilings": ceilings,
        "buckets": rows,
        "mean_step_seconds": {name: mean(name) for name in ("ours", *steps)},
        "speedup": {name: mean(name) / mean("ours") for name in steps},
    }
    name = common.result_name("peer", graph, args)
    document = common.record(name, common.described(graph, config) | {"result": result}, args.results)
    table(
        f"{graph.name}, {config.precision}: one training step, ours and PyTorch {torch.__version__}",
        ["bucket", "targets", "facts", *(f"{name} ms" for name in ("ours", *steps)), *steps],
        [
            [row["bucket"], row["targets"], row["facts"]]
            + [row["seconds"][name]["median"] * 1e3 for name in ("ours", *steps)]
            + [f"{row['speedup'][name]:.2f} x" for name in steps]
            for row in rows
        ],
    )
    common.finish(document)


if __name__ == "__main__":
    main()
