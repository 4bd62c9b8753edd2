"""Time of one training step, whole and in parts, for every padded shape (bucket) of a dataset.

Why: an epoch is little else than its steps, and a step is little else than dense products, so the share of the
machine's product rate that a step reaches says how much is left to gain. `step` is what training runs, compiled
with donated buffers; `forward`, `gradient` (forward and backward in one) and `update` (clip and Adam) are
compiled apart, so they need not add up to it. `backward` is gradient minus forward. Compile times stand apart.
FLOP are counted from the shapes (see flops.py); the ceilings are measured in the same run.

    python -m benchmarks.step --data-path data/ICEWS14s
    python -m benchmarks.step --data-path data/YAGO --set precision=f32 --parts step
"""

from benchmarks import common
from benchmarks.common import note, table

PARTS = ("step", "forward", "gradient", "update")


def _forward(config):
    """Loss of a batch in training mode, without any gradient."""
    import jax
    import jax.numpy as jnp
    import jax.random as jr

    from tirgn_eqx.train.precision import cast_for_compute

    def forward(model, batch):
        ready = cast_for_compute(model, config.precision)
        encode_key, decode_key = jr.split(batch.key)
        encoding, buffers = ready.encoder(batch.window, training=True, key=encode_key, policy="none")

        def micro(queries_and_key):
            queries, key = queries_and_key
            losses = []
            for kind, some, kind_key in zip(("entity", "relation"), queries, jr.split(key)):
                loss, _ = ready.answer_losses(
                    encoding, some, batch.time_index, model.buffers, kind=kind, training=True, key=kind_key
                )
                losses.append(loss)
            return jnp.stack(losses)

        queries = (batch.entity_queries, batch.relation_queries)
        keys = jr.split(decode_key, batch.entity_queries.subject.shape[0])
        return jax.lax.map(micro, (queries, keys)), encoding.static_loss, buffers

    return forward


def _update(optimizer):
    import equinox as eqx

    from tirgn_eqx.train.optimizer import trainable

    def update(gradient, model, opt_state):
        parameters = eqx.filter(model, trainable(model))
        updates, opt_state = optimizer.update(gradient, opt_state, parameters)
        return eqx.apply_updates(model, updates), opt_state

    return update


def measure_bucket(harness, bucket: int, parts, repeats: int) -> dict:
    """Times and counts of one bucket's median batch."""
    import jax
    import numpy as np

    from benchmarks.flops import forward_flops, step_flops, update_bytes
    from benchmarks.harness import compile_ahead
    from tirgn_eqx.train.step import loss_and_gradient

    config = harness.config
    prepared = harness.typical(bucket)
    batch = harness.with_key(prepared)
    jax.block_until_ready(batch)
    row = {
        "bucket": bucket,
        "targets": len(harness.targets(bucket)),
        "facts": prepared.num_facts,
        "units": int((np.asarray(batch.entity_queries.weight) > 0).sum()),
        "micro_batches": int(batch.entity_queries.subject.shape[0]),
        "shape": vars(harness.loader.buckets[bucket]),
        "flops": step_flops(harness.model, batch),
        "flops_by_part": forward_flops(harness.model, batch),
        "padded_flops": step_flops(harness.model, batch, padded=True)["step"],
        "update_bytes": update_bytes(harness.parameters),
        "compile_seconds": {},
        "seconds": {},
    }
    seconds = row["seconds"]
    if "step" in parts:
        jax.block_until_ready(harness.step(prepared))
        row["compile_seconds"]["step"] = harness.compiled[bucket]
        seconds["step"] = common.timed(lambda: harness.step(prepared), repeats)
    if "forward" in parts:
        taken, run = compile_ahead(_forward(config), harness.model, batch)
        row["compile_seconds"]["forward"] = taken
        seconds["forward"] = common.timed(lambda: run(harness.model, batch), repeats)
    gradient = None
    if {"gradient", "update"} & set(parts):
        options = {"precision": config.precision, "policy": config.remat}

        def both(model, batch):
            return loss_and_gradient(model, batch, **options)

        taken, run = compile_ahead(both, harness.model, batch)
        row["compile_seconds"]["gradient"] = taken
        seconds["gradient"] = common.timed(lambda: run(harness.model, batch), repeats)
        gradient = run(harness.model, batch).gradient
    if "update" in parts:
        state = [harness.model, harness.opt_state]
        taken, run_update = compile_ahead(_update(harness.optimizer), gradient, *state, donate="all-except-first")
        row["compile_seconds"]["update"] = taken

        def update():
            state[:] = run_update(gradient, *state)
            return state

        seconds["update"] = common.timed(update, repeats)
        harness.model, harness.opt_state = state
    if {"forward", "gradient"} <= set(seconds):
        # Of two medians: a difference of single samples would be noise.
        row["backward_seconds"] = seconds["gradient"]["median"] - seconds["forward"]["median"]
    return row


def add_shares(row: dict, ceilings: dict, precision: str) -> None:
    """FLOP/s and shares of the ceiling of the compute type, from the median times."""
    ceiling = ceilings.get({"bf16": "bf16_flops", "f32": "f32_flops"}.get(precision, ""))
    work = {
        "step": row["flops"]["step"],
        "forward": row["flops"]["forward"],
        "gradient": row["flops"]["step"],
    }
    row["flops_per_second"] = {
        part: flops / row["seconds"][part]["median"] for part, flops in work.items() if part in row["seconds"]
    }
    row["share_of_ceiling"] = {
        part: rate / ceiling for part, rate in row["flops_per_second"].items() if ceiling is not None
    }
    if "update" in row["seconds"]:
        rate = row["update_bytes"] / row["seconds"]["update"]["median"]
        row["update_share_of_bandwidth"] = rate / ceilings["bytes_per_second"]


def summarize(rows: list[dict]) -> dict:
    """Over all targets of an epoch, each bucket by its own number of them."""
    if not rows or any("step" not in row["seconds"] for row in rows):
        return {}

    def over(value):
        return sum(row["targets"] * value(row) for row in rows)

    seconds = over(lambda row: row["seconds"]["step"]["median"])
    return {
        "steps": over(lambda row: 1),
        "epoch_device_seconds": seconds,
        "mean_step_seconds": seconds / over(lambda row: 1),
        "flops_per_second": over(lambda row: row["flops"]["step"]) / seconds,
        "padding": over(lambda row: row["padded_flops"]) / over(lambda row: row["flops"]["step"]),
    }


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--parts", default=",".join(PARTS), metavar="LIST", help=f"of {','.join(PARTS)} (default: all)")
    parser.add_argument("--buckets", type=int, metavar="N", help="only the N buckets with the most targets")
    args = common.finalize(parser.parse_args())
    parts = tuple(args.parts.split(","))
    if unknown := set(parts) - set(PARTS):
        parser.error(f"--parts: {', '.join(sorted(unknown))} does not exist; known: {', '.join(PARTS)}")

    from benchmarks.harness import Harness

    graph, config = common.load_recurrent(args)
    note(f"{graph.name}: {graph.num_facts:,} facts; measuring the machine first")
    ceilings = common.ceilings(args.quick)
    harness = Harness(graph, config)
    name = common.result_name("step", graph, args)
    order = sorted(range(len(harness.loader.buckets)), key=lambda bucket: -len(harness.targets(bucket)))
    order = order[: args.buckets or None]
    rows, document = [], {}
    for bucket in order:
        row = measure_bucket(harness, bucket, parts, args.repeats)
        add_shares(row, ceilings, config.precision)
        rows.append(row)
        result = {
            "complete": len(rows) == len(order),
            "ceilings": ceilings,
            "parameters": harness.parameters,
            "setup": harness.setup,
            "buckets": rows,
            "summary": summarize(rows),
        }
        # After every bucket: what was measured before a cut-off is kept.
        document = common.record(name, common.described(graph, config) | {"result": result}, args.results)
        note(f"bucket {bucket}: {row['seconds'].get('step', {}).get('median')} s a step")
    show(document)
    common.finish(document)


def show(document: dict) -> None:
    result, rows = document["result"], []
    for row in result["buckets"]:
        for part, seconds in row["seconds"].items():
            rows.append(
                [
                    row["bucket"],
                    row["targets"],
                    row["facts"],
                    part,
                    seconds["median"] * 1e3,
                    seconds["min"] * 1e3,
                    seconds["max"] * 1e3,
                    row["flops_per_second"].get(part, 0) / 1e9 or None,
                    row["share_of_ceiling"].get(part),
                    row["compile_seconds"].get(part),
                ]
            )
    setting, ceilings = document["setting"], result["ceilings"]
    found = [f"{name} {ceilings[name] / 1e9:,.0f}" for name in ceilings if name.endswith(("flops", "second"))]
    table(
        f"{document['dataset']['name']}, {setting['precision']}, remat {setting['remat']}; "
        f"ceilings in 10^9/s: {', '.join(found)}",
        [
            "bucket",
            "targets",
            "facts",
            "part",
            "median ms",
            "min",
            "max",
            "GFLOP/s",
            "of ceiling",
            "compile s",
        ],
        rows,
    )


if __name__ == "__main__":
    main()
