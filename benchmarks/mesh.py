"""Many devices: memory of each, and the bytes that a training step moves between them, from the compiled program.

Why: a graph that outgrows one card is split over several, and what that gains is decided by how much of the memory is
really divided and how little must travel. Both are read from the program that XLA compiled for each mesh, for abstract
arrays of the size of the largest published graph (1.2 million entities); nothing of that size is made. The partitioner
is the same for every backend; memory is that of this one's compiler.

- `peak_bytes`: arguments + results + temporaries - what is shared, of one device.
- `sent_bytes`: by a device in a step, by what it is needed for; see `collectives.py`.
- `prediction`: seconds of a step on so many cards, not a measurement. A card cannot be faster than its dense products
  at its rate (`--matrix`) or, where that takes longer, their operands and results through its memory (`--memory`), and
  after them the update of its parameters. To this floor come the bytes over the link (`--link`), nothing hidden behind
  the other. The rates are those measured on one H200, and the link's is its data sheet's, unless told. Where a step has
  been measured on one card (`--measure`: the median of so many steps on random facts, on this machine's default device;
  or `--step-seconds`, measured elsewhere), the floors are stretched so that the first mesh takes as long.

    python -m benchmarks.mesh
    python -m benchmarks.mesh --measure 20
    python -m benchmarks.mesh --loss full --entities 200000
"""

import argparse
import os
from typing import TYPE_CHECKING

from benchmarks import common
from benchmarks.common import note, table

if TYPE_CHECKING:
    from tirgn_eqx.config import RecurrentTrainingConfig
    from tirgn_eqx.train.memory import ProblemShape

MESHES = ("entity=1", "entity=2", "entity=4", "entity=8", "data=2", "data=2,entity=2", "data=2,entity=4")
ENTITIES, QUICK_ENTITIES = 1_226_440, 4000
# An H200: a dense product of 8192 x 8192 x 8192 in bf16 was measured at 788 TFLOP/s, and f32 on the same units (TF32)
# runs at half the rate of bf16; a copy within its memory at 4.3 TB/s, read and written. NVLink, each direction.
MATRIX, MEMORY, LINK = 394e12, 4.3e12, 450e9
SETTINGS = {
    "embedding_dim": 200,
    "history_len": 3,
    "num_layers": 2,
    "static_graph": False,
    "batch_size": 1024,
    "num_shared": 8192,
    "unique_queries": True,
    "max_buckets": 1,
    "precision": "f32",
    "remat": "full",
}
QUICK = {"embedding_dim": 8, "history_len": 2, "num_layers": 1, "conv_channels": 3, "batch_size": 64, "num_shared": 64}
# What a collective is for, by what its place in the source names.
PURPOSES = {
    "gradients of the states": ("scatter-add", "uc,ud->cd"),
    "rows of the table": ("jit(step)/gather", "jit(step)/scatter"),
    "convolutions and their BatchNorm": ("conv_decoder",),
    "graph layers": ("graph_conv", "gru"),
}
OTHER = "scores and states"


def purpose(source: str) -> str:
    """What a collective is for."""
    return next((name for name, marks in PURPOSES.items() if any(mark in source for mark in marks)), OTHER)


def point(
    text: str, shape: "ProblemShape", config: "RecurrentTrainingConfig", matrix: float, bandwidth: float
) -> common.Document:
    """Memory and traffic of the step on one mesh, and what no device can be faster than."""
    import jax

    from benchmarks.collectives import collectives
    from benchmarks.flops import update_bytes
    from benchmarks.harness import clock, memory_analysis
    from benchmarks.program import products
    from tirgn_eqx.runtime.meshes import make_mesh, parse_mesh
    from tirgn_eqx.train.memory import compile_step

    # The mesh is one of simulated devices, whatever the steps are measured on.
    devices = jax.devices("cpu")
    mesh = make_mesh(parse_mesh(text, len(devices)), devices)
    seconds, compiled = clock(lambda: compile_step(shape, config, mesh=mesh))
    memory = memory_analysis(compiled)
    assert memory is not None
    memory["peak"] = memory["argument"] + memory["output"] + memory["temp"] - memory["alias"]
    sent: dict[str, dict[str, float]] = {}
    program = compiled.as_text()
    assert program is not None
    found, dense = collectives(program, mesh.size), products(program)
    for one in found:
        entry = sent.setdefault(purpose(one.source), {"bytes": 0.0, "collectives": 0})
        entry["bytes"] += one.sent_bytes
        entry["collectives"] += one.times
    largest = sorted(found, key=lambda one: -one.sent_bytes)[:8]
    # What comes in is next to nothing but parameters and their two moments, four bytes each.
    updated = update_bytes(memory["argument"] // 12)
    return {
        "mesh": text,
        "devices": mesh.size,
        "memory": memory,
        "sent_bytes": sum(one.sent_bytes for one in found),
        "sent_by_purpose": sent,
        "loops_known": all(one.exact for one in found),
        "largest": [
            {"kind": one.kind, "bytes": one.result_bytes, "times": one.times, "source": one.source[-120:]}
            for one in largest
        ],
        "product_flops": sum(one.times * one.flops for one in dense),
        "product_seconds": sum(one.times * max(one.flops / matrix, one.bytes / bandwidth) for one in dense),
        "update_seconds": updated / bandwidth,
        "compile_seconds": seconds,
    }


def measure(shape: "ProblemShape", config: "RecurrentTrainingConfig", steps: int) -> common.Document:
    """Seconds of a step on one device, this machine's default one."""
    import jax

    from benchmarks.abstract import step_seconds

    samples, losses = step_seconds(shape, config, steps)
    device = jax.devices()[0].device_kind
    note(f"{device}: {steps} steps, median {sorted(samples)[len(samples) // 2]:.3f} s, last loss {losses[-1]:.3f}")
    return {"device": device, "seconds": common.spread(samples), "steps": steps, "losses": [losses[0], losses[-1]]}


def predicted(points: list[common.Document], seconds: float | None, link: float) -> list[common.Document]:
    """Seconds of a step on several cards: their floors, stretched to where one takes `seconds`, and the link."""
    floors = [each["product_seconds"] + each["update_seconds"] for each in points]
    stretch = seconds / floors[0] if seconds else 1.0
    rows = []
    for each, floor in zip(points, floors):
        work, moved = floor * stretch, each["sent_bytes"] / link
        rows.append({"mesh": each["mesh"], "work_seconds": work, "link_seconds": moved, "step_seconds": work + moved})
    return rows


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--entities", type=int, metavar="N", help=f"of the vocabulary (default: {ENTITIES:,})")
    parser.add_argument("--loss", choices=("shared", "sampled", "full"), default="shared", help="(default: shared)")
    parser.add_argument("--meshes", metavar="MESH;MESH", help="the first is compared with (default: up to 8 devices)")
    parser.add_argument("--measure", type=int, metavar="N", help="time N steps on one device: predict from them")
    parser.add_argument("--step-seconds", type=float, metavar="S", help="measured on one card: predict from it")
    parser.add_argument("--matrix", type=float, default=MATRIX, metavar="F", help=f"FLOP/s (default: {MATRIX:.3g})")
    parser.add_argument("--memory", type=float, default=MEMORY, metavar="B", help=f"bytes/s (default: {MEMORY:.3g})")
    parser.add_argument("--link", type=float, default=LINK, metavar="B", help=f"bytes/s (default: {LINK:.3g})")
    args = common.finalize(parser.parse_args())
    # How many devices a CPU is taken for is settled before JAX starts.
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8"
    run(args)


def run(args: argparse.Namespace) -> None:
    from tirgn_eqx.config import TiRGNTrainingConfig, parse_assignments
    from tirgn_eqx.train.memory import ProblemShape

    settings: common.Document = SETTINGS | (QUICK if args.quick else {}) | {"loss": args.loss}
    settings |= parse_assignments(args.set)
    config = TiRGNTrainingConfig().replace(**settings)
    entities = args.entities or (QUICK_ENTITIES if args.quick else ENTITIES)
    entities = -(-entities // 8) * 8  # so that the same table is divided in every mesh
    shape = ProblemShape(entities, 12, 128, 64, history=4) if args.quick else ProblemShape(entities, 596, 5120, 5120)
    measured = measure(shape, config, args.measure) if args.measure else None
    meshes = args.meshes.split(";") if args.meshes else MESHES[:2] if args.quick else MESHES
    points = []
    for text in meshes:
        points.append(point(text, shape, config, args.matrix, args.memory))
        last = points[-1]
        note(f"{text}: {last['memory']['peak']:,} bytes a device, {last['sent_bytes']:,.0f} sent in a step")
    seconds = measured["seconds"]["median"] if measured else args.step_seconds
    result: common.Document = {
        "shape": vars(shape),
        "points": points,
        "prediction": predicted(points, seconds, args.link),
        "prediction_from": {
            "step_seconds": seconds,
            "measured": measured,
            "matrix_flops_per_second": args.matrix,
            "memory_bytes_per_second": args.memory,
            "link_bytes_per_second": args.link,
        },
    }
    payload = {"dataset": {"name": "abstract", **vars(shape)}, "setting": config.to_dict(), "seed": config.seed}
    name = common.join_name("mesh", args.loss, args.tag)
    document = common.record(name, payload | {"result": result}, args.results)
    table(
        f"{entities:,} entities, {args.loss} loss: a device of each mesh",
        ["mesh", "devices", "peak MB", "of one device", "sent MB a step", *PURPOSES, OTHER],
        [
            [
                each["mesh"],
                each["devices"],
                each["memory"]["peak"] / 1e6,
                each["memory"]["peak"] / points[0]["memory"]["peak"],
                each["sent_bytes"] / 1e6,
                *(each["sent_by_purpose"].get(name, {"bytes": 0.0})["bytes"] / 1e6 for name in (*PURPOSES, OTHER)),
            ]
            for each in points
        ],
    )
    table(
        "Predicted, not measured: seconds of a step" + ("" if seconds else ", at least"),
        ["mesh", "work s", "link s", "step s"],
        [list(row.values()) for row in result["prediction"]],
    )
    common.finish(document)


if __name__ == "__main__":
    main()
