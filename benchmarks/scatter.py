"""Sums of many rows into few targets: by a scatter, by a scan over sorted rows, and by a product.

Why: jaxlib 0.10.2 to 0.11.0 are reported to compile such scatters hundreds of times slower than they should be on
NVIDIA GPUs (https://github.com/jax-ml/jax/issues/38806), so `tirgn_eqx.nn.segments` takes other forms there. Which
is best depends on the card, the version and the shape; this says so for the shapes of a training step. Ids are
uniform and in order (`is_sorted`) or not, as they are in the step.

| form | what |
|---|---|
| scatter | `jax.ops.segment_sum` |
| scatter, sorted | the same, told that ids are in order; only where they are |
| scan | `segments.scan_sum` |
| product | `segments.one_hot_sum`; only up to 2^30 elements of the one-hot matrix |

    python -m benchmarks.scatter
    XLA_FLAGS=--xla_backend_extra_options=-nvptx-allow-ftz-atomics python -m benchmarks.scatter --tag native-atomics
"""

import argparse
import os
from functools import partial
from pathlib import Path
from typing import NamedTuple

from benchmarks import common
from benchmarks.common import note, table


class Shape(NamedTuple):
    name: str
    items: int
    targets: int
    width: int
    is_sorted: bool


# Sizes of ICEWS18 and GDELT; the evidence model's features are 25 wide.
SHAPES = (
    Shape("pairs into relations", 1500, 256, 200, True),
    Shape("edges into active entities", 3000, 1500, 200, True),
    Shape("gradient of relations by edges", 3000, 512, 200, False),
    Shape("gradient of relations by edges, a day of GDELT", 96_000, 480, 200, False),
    Shape("gradient of slopes by entries", 200_000, 512, 25, False),
    Shape("gradient of levels by entries", 200_000, 512, 1, False),
    Shape("cells into queries", 200_000, 1024, 1, True),
    Shape("all into one", 200_000, 1, 1, True),
)
MAX_ELEMENTS = 2**30


def forms(shape: Shape) -> dict:
    """The functions of (values, ids) that compute the sums of a shape."""
    import jax

    from tirgn_eqx.nn.segments import one_hot_sum, scan_sum

    chosen = {
        "scatter": partial(jax.ops.segment_sum, num_segments=shape.targets),
        "scan": partial(scan_sum, num_segments=shape.targets, is_sorted=shape.is_sorted),
    }
    if shape.is_sorted:
        chosen["scatter, sorted"] = partial(chosen["scatter"], indices_are_sorted=True)
    if shape.items * shape.targets <= MAX_ELEMENTS:
        chosen["product"] = partial(one_hot_sum, num_segments=shape.targets)
    return chosen


def measure(shape: Shape, dtype: str, repeats: int, seed: int) -> dict:
    """Seconds of every form, after its result was compared with NumPy's."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    rng = np.random.default_rng(seed)
    ids = rng.integers(0, shape.targets, shape.items)
    ids = np.sort(ids) if shape.is_sorted else ids
    # Whole numbers, of which f32 sums are exact in every order.
    values = rng.integers(-8, 9, (shape.items, shape.width))
    expected = np.zeros((shape.targets, shape.width))
    np.add.at(expected, ids, values)
    arguments = jnp.asarray(values, dtype), jnp.asarray(ids, jnp.int32)
    row = shape._asdict() | {"dtype": dtype, "seconds": {}, "exact": {}}
    for name, form in forms(shape).items():
        run = jax.jit(form)
        row["exact"][name] = bool((np.asarray(run(*arguments), float) == expected).all())
        row["seconds"][name] = common.timed(lambda run=run: run(*arguments), repeats)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5, metavar="N")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.add_argument("--results", type=Path, metavar="DIR", help="default: as of other scripts")
    parser.add_argument("--tag", default="", metavar="WORD", help="added to the name of the result")
    parser.add_argument("--quick", action="store_true", help="a hundredth of the items, one repeat")
    args = parser.parse_args()
    place = args.results or (None if args.quick else common.RESULTS)

    import jax

    shapes = [shape._replace(items=shape.items // 100) if args.quick else shape for shape in SHAPES]
    name = common.join_name("scatter", jax.default_backend(), args.tag)
    rows, document = [], {}
    for shape in shapes:
        for dtype in ("float32", "bfloat16"):
            rows.append(measure(shape, dtype, 1 if args.quick else args.repeats, args.seed))
        head: common.Document = {"dataset": {"name": "uniform ids"}, "seed": args.seed}
        head["setting"] = {"XLA_FLAGS": os.environ.get("XLA_FLAGS", "")}
        # After every shape: what was measured before a cut-off is kept.
        document = common.record(name, head | {"result": {"complete": shape is shapes[-1], "shapes": rows}}, place)
        note(f"{shape.name}: done")
    columns = ["scatter", "scatter, sorted", "scan", "product"]
    lines = []
    for row in rows:
        times = [row["seconds"].get(column) for column in columns]
        what = f"{row['items']:,} x {row['width']} into {row['targets']:,}"
        lines.append([row["name"], row["dtype"], what, *(seconds and seconds["median"] * 1e3 for seconds in times)])
    table("ms", ["sum", "type", "shape", *columns], lines)
    common.finish(document)


if __name__ == "__main__":
    main()
