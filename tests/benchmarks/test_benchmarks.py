"""The benchmark scripts: what a result must carry, how it is counted, and that they run on tiny data."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import equinox as eqx
import jax
import jax.random as jr
import numpy as np
import pytest

from benchmarks import accuracy, common, flops, graphs, scaling
from tests.helpers import random_graph, tiny_config
from tirgn_eqx.data.batches.graph_loader import GraphLoader, GraphOptions
from tirgn_eqx.data.index.history import build_history_vocabulary
from tirgn_eqx.models.tirgn import TiRGN
from tirgn_eqx.train.step import loss_and_gradient
from tools.docs import tables

ROOT = Path(__file__).resolve().parents[2]
TINY_SIM = "sim:num_entities=20,num_relations=4,num_days=12,facts_per_day=15"


def run(script, *args, timeout=280):
    """The document on the last line of a script run as a program of its own."""
    command = [sys.executable, "-m", script if "." in script else f"benchmarks.{script}", *(str(arg) for arg in args)]
    environment = os.environ | {"NO_COLOR": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, env=environment, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def check_provenance(document):
    assert set(common.PROVENANCE) <= set(document)
    assert document["dataset"]["facts"] > 0 and len(document["dataset"]["sha256"]) == 64
    assert set(document["commit"]) == {"id", "dirty"}
    assert document["machine"]["cores"] >= 1 and document["machine"]["memory_bytes"] > 0
    assert {"jax", "numpy", "python"} <= set(document["versions"])
    assert "embedding_dim" in document["setting"]


@pytest.mark.slow
def test_step_runs_and_saves_what_it_says(tmp_path):
    document = run("step", "--quick", "--parts", "step", "--results", tmp_path)
    check_provenance(document)
    (row,) = document["result"]["buckets"]
    seconds = row["seconds"]["step"]
    assert 0 < seconds["min"] <= seconds["median"] <= seconds["max"]
    assert row["compile_seconds"]["step"] > 0
    assert 0 < row["share_of_ceiling"]["step"] < 1
    assert document["result"]["complete"] and document["result"]["summary"]["padding"] >= 1
    (file,) = tmp_path.iterdir()
    assert file.name == f"{document['benchmark']}.json"
    assert json.loads(file.read_text()) == document


@pytest.mark.slow
def test_accuracy_trains_and_records(tmp_path):
    place = tmp_path / "run"
    options = ("--quick", "--data-path", TINY_SIM, "--run", place, "--results", tmp_path / "results")
    document = run("accuracy", *options, "--seed", 3, "--", "--epochs", "2")
    check_provenance(document)
    assert document["benchmark"] == "accuracy-sim-tirgn-seed3"
    result = document["result"]
    assert result["status"] == "complete" and result["epochs_trained"] == 2
    assert 0 < result["test"]["entity"]["mrr"] <= 1
    assert 0 < result["best_possible"]["mrr"] <= 1
    assert [row["epoch"] for row in document["learning_curve"]] == [1, 2]
    assert "--epochs 2" in document["training_command"]
    assert str(tmp_path) not in json.dumps(document)


@pytest.mark.slow
def test_the_peer_runs_on_tiny_data():
    pytest.importorskip("torch", reason="the peer is written in PyTorch, which is not installed")
    result = run("peer", "--quick")["result"]
    assert result["speedup"]["torch_eager"] > 0 and result["mean_step_seconds"]["ours"] > 0


@pytest.mark.slow
@pytest.mark.parametrize(
    "script",
    ["epoch", "evaluate", "evidence", "history", "ingest", "large", "loader", "memory", "predict", "scaling", "stream"],
)
def test_every_script_runs_on_tiny_data(script):
    more = ("--axes", "facts") if script == "scaling" else ()
    document = run(script, "--quick", *more)
    assert set(common.PROVENANCE) <= set(document) and document["result"]


@pytest.mark.slow
def test_a_week_of_the_soak_loses_nothing():
    result = run("tools.chaos.soak", "--quick")["result"]
    assert result["nothing_lost"] and result["cycles"] == 1 and sum(result["kills"].values()) >= 1
    assert set(result["each"][0]["steps"]) == {"collect", "ingest", "retrain", "predict"}
    assert result["facts_served"] > 0 and result["reads_of_the_checkpoint"] > 0
    assert {"table", "logs", "raw files", "checkpoints", "temporary"} <= set(result["growth"]["disk"])


@pytest.mark.slow
def test_gpu_script_runs_without_a_gpu(tmp_path):
    document = run("gpu", "--quick", "--seconds", 250, "--parts", "step,memory,month,train", "--out", tmp_path)
    parts = document["result"]["parts"]
    assert {name: part["status"] for name, part in parts.items()} == dict.fromkeys(
        ["step sim", "memory sim", "month of events", "train sim"], "done"
    )
    assert json.loads((tmp_path / "gpu.json").read_text()) == document
    assert parts["train sim"]["result"]["test"]["entity"]["mrr"] > 0
    assert parts["month of events"]["result"]["epoch_seconds"] > 0


@pytest.mark.slow
def test_gpu_script_stops_in_time_and_keeps_its_state(tmp_path):
    document = run("gpu", "--quick", "--seconds", 5, "--parts", "step,train", "--out", tmp_path)
    parts = document["result"]["parts"]
    assert {part["status"] for part in parts.values()} == {"skipped: no time"}
    assert not document["result"]["complete"]


def write_run(place: Path):
    """The logs of a training of two epochs after one that was broken off, the last line cut."""
    place.mkdir()
    figures = {f"eval/{name}": 0.5 for name in ("hits_at_1", "hits_at_3", "hits_at_10", "nll")}
    epoch = {"train/loss": 2.0, "train/loss_entity": 1.0, "system/epoch_duration_s": 4.0}
    start = {"step": 0, "system/total_params": 7}
    lines = [{**start, "time": 1.0}, {"step": 3, "time": 5.0, **epoch}, {**start, "time": 10.0}]
    for number, mrr in ((1, 0.25), (2, 0.125)):
        lines.append({"step": 3 * number, "time": 10.0 + 5 * number, **epoch})
        lines.append({"step": 3 * number, "time": 11.0 + 5 * number, "eval/mrr": mrr, **figures})
    text = "\n".join(json.dumps(line) for line in lines) + '\n{"step": 9, "ti'
    (place / "metrics.jsonl").write_text(text)
    (place / "config.json").write_text(json.dumps({"seed": 5, "embedding_dim": 8, "logdir": "somewhere"}))


def test_a_training_that_was_cut_off_is_recorded_as_far_as_it_came(tmp_path):
    write_run(tmp_path / "run")
    found = accuracy.payload(None, tmp_path / "run", "tirgn train", TINY_SIM)
    assert found["dataset"]["name"] == "sim" and found["seed"] == 5
    assert found["setting"] == {"seed": 5, "embedding_dim": 8}
    result = found["result"]
    assert (result["status"], result["epochs_trained"]) == ("unfinished", 2)
    assert (result["best_epoch"], result["best_mrr"]) == (1, 0.25)
    assert result["total_time"] == 11.0
    assert result["epoch_seconds"] == {"min": 4.0, "median": 4.0, "max": 4.0}
    first, second = found["learning_curve"]
    assert (first["epoch"], first["loss"], first["elapsed"]) == (1, 2.0, 6.0)
    assert second["validation"]["mrr"] == 0.125


def test_a_result_without_its_origin_is_refused(tmp_path):
    with pytest.raises(ValueError, match="dataset, setting missing"):
        common.record("x", {"seed": 0}, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_results_are_strict_json_and_whole(tmp_path):
    payload = {"dataset": {}, "setting": {}, "seed": 0, "result": {"nll": math.nan, "ranks": np.arange(2)}}
    common.record("x", payload, tmp_path)
    common.record("x", payload | {"seed": 1}, tmp_path)
    (file,) = tmp_path.iterdir()
    read = json.loads(file.read_text())
    assert (read["seed"], read["result"]) == (1, {"nll": None, "ranks": [0, 1]})


def test_a_command_names_no_place_of_this_machine():
    inside = str(ROOT / "benchmarks" / "step.py")
    words = ["python", inside, "--data-path", "/data/x/YAGO", "--set", "logdir=/tmp/z", "--run=../y/runs", "a b/c"]
    told = common.command_line(words)
    assert told == ("python benchmarks/step.py --data-path YAGO --set logdir=z --run=runs 'a b/c'")
    assert common.command_line(["--command", "tirgn train --data-path /data/YAGO"]).endswith("YAGO'")


@pytest.mark.parametrize(
    "path,preset",
    [
        ("data/ICEWS14s", "icews14s"),
        ("ICEWS14", "icews14"),
        ("ICEWS05-15", "icews05-15"),
        ("GDELT-resplit", "gdelt"),
        ("gdelt_events_2018-01.parquet", "gdelt-events"),
        ("sim", None),
        ("elsewhere", None),
    ],
)
def test_the_preset_follows_from_the_name(path, preset):
    assert common.preset_for(path) == preset


def test_timed_waits_and_orders_its_samples():
    calls = []
    seconds = common.timed(lambda: calls.append(0), repeats=3, warmup=2)
    assert seconds["min"] <= seconds["median"] <= seconds["max"]
    assert len(calls) == 2 + 1 + 3 * seconds["calls"]


def test_exponents_of_power_laws():
    points = [{"size": n, "step_seconds": 0.5 * n**1.5, "epoch_seconds": None} for n in (1, 4, 64)]
    assert scaling.exponents(points) == {"step_seconds": {"all": pytest.approx(1.5), "tail": pytest.approx(1.5)}}


def test_random_graph_has_the_sizes_asked_for():
    graph = graphs.random_graph(entities=30, relations=4, snapshots=20, facts=500, last_facts=60)
    per_snapshot = np.diff(graph.offsets)
    last = graph.split_snapshots("train")[-1]
    assert per_snapshot[last] == 60
    assert set(np.delete(per_snapshot, last)) == {25}
    assert graph.num_facts == 500 - 25 + 60
    assert [len(graph.split_snapshots(split)) for split in ("train", "valid", "test")] == [16, 2, 2]


def dense_products(jaxpr) -> float:
    """Operations of all dense products in a jaxpr, those of a scan as often as it runs."""
    total = 0.0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            ((contracted, _), _) = equation.params["dimension_numbers"]
            left = equation.invars[0].aval.shape
            inner = math.prod(left[axis] for axis in contracted)
            total += 2.0 * inner * math.prod(equation.outvars[0].aval.shape)
        times = equation.params.get("length", 1) if equation.primitive.name == "scan" else 1
        for value in equation.params.values():
            for inner_jaxpr in value if isinstance(value, (tuple, list)) else (value,):
                inner_jaxpr = getattr(inner_jaxpr, "jaxpr", inner_jaxpr)
                if hasattr(inner_jaxpr, "eqns"):
                    total += times * dense_products(inner_jaxpr)
    return total


@pytest.mark.parametrize("batch_size,loss", [(0, "full"), (16, "full"), (0, "sampled")])
def test_counted_operations_are_those_of_the_program(batch_size, loss):
    graph = random_graph(0, num_entities=300, num_relations=6, num_times=8, facts=40)
    config = tiny_config(
        embedding_dim=64, conv_channels=16, num_layers=2, batch_size=batch_size, loss=loss, num_negatives=4
    )
    options = {"history_len": config.history_len, "batch_size": batch_size, "max_buckets": 1}
    options["num_negatives"] = config.num_negatives if loss == "sampled" else 0
    loader = GraphLoader(graph, build_history_vocabulary(graph), "train", GraphOptions(**options))
    batch = loader.build(int(loader.items[-1])).batch
    batch = eqx.tree_at(lambda b: b.key, batch, jr.key(0), is_leaf=lambda x: x is None)
    model = TiRGN(graph.num_entities, graph.num_relations, config, key=jr.key(1))
    arrays, rest = eqx.partition(model, eqx.is_array)
    program = jax.make_jaxpr(lambda arrays, batch: loss_and_gradient(eqx.combine(arrays, rest), batch))(arrays, batch)
    counted = flops.step_flops(model, batch, padded=True)["step"]
    # Beside what is counted the program has BatchNorm's small products, W_isolated on active rows, and scores
    # that the backward pass computes again.
    found = dense_products(program.jaxpr)
    assert 0.95 * counted <= found <= 1.35 * counted
    assert flops.step_flops(model, batch)["step"] <= counted


def test_the_results_page_is_what_the_records_say():
    assert tables.PAGE.read_text() == tables.page(), "run: python -m tools.docs.tables"
    assert tables.tables_readme.README.read_text() == tables.readme(), "run: python -m tools.docs.tables"


@pytest.mark.slow
def test_facts_at_size_are_measured(tmp_path):
    document = run("at_size", "--quick", "--folder", tmp_path / "graph", "--results", tmp_path)
    check_provenance(document)
    stages = document["result"]["stages"]
    assert list(stages) == ["write", "open", "index", "open index", "batch"]
    assert stages["write"]["bytes_per_fact"] > 17 and stages["index"]["spilt_bytes"] == 32 * 20_000
    assert stages["index"]["lengths"]["entity-first"] == stages["index"]["lengths"]["entity-candidate"]
    assert stages["batch"]["facts"] > 0 and stages["batch"]["rows"] > 0
    assert all(told["memory"]["resident_bytes"] > 0 for told in stages.values())


@pytest.mark.slow
def test_the_road_from_raw_files_to_a_forecast(tmp_path):
    document = run("pipeline", "--quick", "--results", tmp_path)
    check = {step["step"] for step in document["result"]["steps"]}
    assert {"collect", "ingest", "train", "evaluate", "predict", "retrain", "predict after"} <= check
    result = document["result"]
    assert result["ingested"]["later"]["files"]["already_in_table"] == result["files"]["first"]
    assert result["forecast"]["candidates"] and result["forecast_after"]["candidates"]
    assert result["retrained"]["status"] in ("replaced", "kept")


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["", "evidence"])
def test_forecasts_by_name_are_measured(tmp_path, preset):
    words = ("--preset", preset) if preset else ()
    document = run("forecast", "--quick", *words, "--results", tmp_path)
    assert document["result"]["queries_per_second"] > 0 and document["result"]["single_ms"]["median"] > 0
    month = run("month", "--quick", *words, "--results", tmp_path)
    assert month["result"]["epoch_seconds"] > 0 and month["result"]["peak_rss_bytes"] > 0


@pytest.mark.slow
def test_clocks_of_other_origins_are_measured(tmp_path):
    document = run("clock", "--quick", "--results", tmp_path)
    check_provenance(document)
    found = document["result"]
    norms = {(row["clock"], row["seed"]): row["gradient_norm"] for row in found["trainings"]}
    assert len(norms) == 8 and [row["first_time_index"] for row in found["trainings"][:2]] == [0, 17_532]
    assert norms["15min", 0] > 1000 * norms["first snapshot", 0]
    # As read from tables, the offset makes no difference.
    assert len({row["weights"] for row in found["moved"]}) == 1 and len(found["moved"]) == 4
    assert len({row["first_time"] for row in found["moved"]}) == 4
    assert found["ahead"][0]["mrr"] == found["trainings"][0]["test_mrr"]


PROGRAM = """
HloModule jit_step, is_scheduled=true

%add (x: f32[], y: f32[]) -> f32[] {
  ROOT %sum = f32[] add(%x, %y)
}

%body (state: (s32[], f32[4,8])) -> (s32[], f32[4,8]) {
  %left = f32[4,6]{1,0} parameter(0)
  %right = bf16[6,8]{1,0} parameter(1)
  %dot.1 = f32[4,8]{1,0} dot(%left, %right), lhs_contracting_dims={1}, rhs_contracting_dims={0}
  %all-reduce.1 = (f32[4,8]{1,0}, f32[]) all-reduce(%a), replica_groups=[2,2]<=[4], metadata={op_name="jit(step)/while"}
}

%condition (state: (s32[], f32[4,8])) -> pred[] {
  ROOT %less = pred[] compare(%i, %n), direction=LT
}

ENTRY %main (p0: f32[4,8]) -> f32[16,8] {
  %loop = (s32[], f32[4,8]) while(%s), condition=%condition, body=%body, backend_config={"known_trip_count":{"n":"3"}}
  %gathered = bf16[16,8]{1,0} all-gather(%part), replica_groups={{0,1,2,3}}, dimensions={0}
  ROOT %moved = f32[16,8]{1,0} collective-permute(%gathered), source_target_pairs={{0,1},{1,0}}
}
"""


def test_what_a_program_sends_is_counted_with_its_loops():
    from benchmarks.collectives import collectives

    found = {one.kind: one for one in collectives(PROGRAM, 4)}
    reduced, gathered, moved = (found[kind] for kind in ("all-reduce", "all-gather", "collective-permute"))
    assert (reduced.result_bytes, reduced.devices, reduced.times, reduced.exact) == (132, 2, 3, True)
    assert reduced.sent_bytes == 3 * 132 and reduced.source == "jit(step)/while"
    assert (gathered.result_bytes, gathered.devices, gathered.sent_bytes) == (256, 4, 192)
    assert moved.sent_bytes == 512


def test_dense_products_are_counted_with_their_loops():
    from benchmarks.program import Product, products

    assert products(PROGRAM) == [Product(flops=2 * 4 * 8 * 6, bytes=4 * 32 + 4 * 24 + 2 * 48, times=3)]


def test_products_of_a_compiled_loop_are_those_of_its_shapes():
    import jax
    import jax.numpy as jnp

    from benchmarks.program import products

    def loop(a: jax.Array, b: jax.Array) -> jax.Array:
        return jax.lax.fori_loop(0, 5, lambda _, x: jnp.tanh(x @ a), b)

    text = jax.jit(loop).lower(jnp.ones((96, 96)), jnp.ones((64, 96))).compile().as_text()
    assert sum(one.times * one.flops for one in products(text)) == 5 * 2 * 64 * 96 * 96


def test_a_prediction_divides_what_was_measured_and_adds_the_link():
    from benchmarks.mesh import predicted

    points = [
        {"mesh": "entity=1", "product_seconds": 3.0, "update_seconds": 1.0, "sent_bytes": 0},
        {"mesh": "entity=2", "product_seconds": 2.0, "update_seconds": 0.5, "sent_bytes": 30},
    ]
    assert [row["step_seconds"] for row in predicted(points, None, 10.0)] == [4.0, 5.5]
    assert [row["step_seconds"] for row in predicted(points, 8.0, 10.0)] == [8.0, 8.0]


@pytest.mark.slow
def test_memory_of_a_device_falls_with_their_number_and_bytes_are_counted():
    result = run("mesh", "--quick", "--measure", "2")["result"]
    found, predicted = result["points"], result["prediction"]
    assert result["prediction_from"]["measured"]["steps"] == 2 and predicted[0]["link_seconds"] == 0
    assert 0 < predicted[1]["work_seconds"] < predicted[0]["step_seconds"]
    assert [point["devices"] for point in found] == [1, 2] and found[0]["sent_bytes"] == 0 < found[1]["sent_bytes"]
    assert found[1]["memory"]["peak"] < 0.75 * found[0]["memory"]["peak"]
