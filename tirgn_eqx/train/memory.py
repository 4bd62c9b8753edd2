"""Device memory of a training step: predicted from compiled shapes alone, and measured on a GPU.

A prediction makes no array of the problem's size: the step is compiled for abstract arrays, and the compiler says what
it will allocate.
"""
# JAX and Equinox annotate their functions in part, and to a type checker jaxtyping's PyTree is unknown.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false, reportUnknownLambdaType=false, reportMissingTypeStubs=false

import dataclasses
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import TypedDict

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, Int

from tirgn_eqx.checkpoint.metadata import Settings
from tirgn_eqx.config import RecurrentTrainingConfig, TrainingConfig, config_from_dict
from tirgn_eqx.data.batches.buckets import Bucket
from tirgn_eqx.data.batches.graph_loader import GraphLoader, GraphOptions
from tirgn_eqx.data.graph import StaticGraph, TemporalGraph
from tirgn_eqx.data.index.history import build_history_vocabulary
from tirgn_eqx.errors import ConfigError
from tirgn_eqx.models import Model, build_model
from tirgn_eqx.runtime.compiling import compile_lowered
from tirgn_eqx.runtime.meshes import described, described_batch, on
from tirgn_eqx.train.optimizer import init_optimizer, make_optimizer
from tirgn_eqx.train.precision import cast_parameters, compute_type
from tirgn_eqx.train.step import make_recurrent_step
from tirgn_eqx.types import Batch, EntityRows, Queries, Window

PRECISIONS = ("bf16", "f32")
POLICIES = ("none", "dots", "full")


@dataclass(frozen=True)
class ProblemShape:
    """The sizes that decide the memory of a step.

    **Arguments:**

    - `entities`, `relations`: of the vocabulary, without inverses.
    - `edges`: facts of the largest snapshot in a window; `queries`: facts of the largest target snapshot, each of which
      gives two queries of each kind.
    - `static_edges`, `words`: of the static graph, 0 without one.
    - `history`: candidates in the history per query.

    ```python
    shape = ProblemShape(entities=20_000, relations=250, edges=5_000, queries=5_000)
    predicted_bytes(shape, TiRGNTrainingConfig(embedding_dim=200))
    ```
    """

    entities: int
    relations: int
    edges: int
    queries: int
    static_edges: int = 0
    words: int = 0
    history: int = 20

    @classmethod
    def from_graph(cls, graph: TemporalGraph, config: TrainingConfig) -> "ProblemShape":
        """The shape of the largest training batch of `graph`."""
        config = _recurrent(config)
        # With one bucket, its sizes are the largest of all batches.
        options = GraphOptions(**config.window(), max_buckets=1)
        loader = GraphLoader(graph, build_history_vocabulary(graph), "train", options)
        facts = np.diff(graph.offsets)
        targets = facts[loader.items] if len(loader) else facts
        bucket = loader.buckets[0] if loader.buckets else None
        static = graph.static if config.static_graph else None
        return cls(
            graph.num_entities,
            graph.num_relations,
            int(facts.max()),
            int(targets.max()),
            len(static.entity) if static else 0,
            static.num_words if static else 0,
            -(-bucket.entity[2] // bucket.entity[0]) if bucket else 20,
        )


class MemoryRow(TypedDict):
    """Peak memory of a training step with these settings; `fits` is None without a budget, and `measured_bytes` where
    nothing was measured."""

    precision: str
    remat: str
    batch_size: int
    predicted_bytes: int
    fits: bool | None
    measured_bytes: int | None


class MeasureRequest(TypedDict):
    """What the process that measures reads: the fields of a `ProblemShape`, and settings."""

    shape: dict[str, int]
    config: Settings


def _recurrent(config: TrainingConfig) -> RecurrentTrainingConfig:
    """`config`. **Raises:** ConfigError for a family that evolves no window, which nothing here describes."""
    if not isinstance(config, RecurrentTrainingConfig):
        raise ConfigError(
            f"vram-probe: knows tirgn and regcn, not {config.family}; give another --preset or --set family=tirgn"
        )
    return config


def _bucket(shape: ProblemShape, config: RecurrentTrainingConfig) -> Bucket:
    """The padded shape of the largest batch."""
    queries = 2 * shape.queries
    num_micro = 1 if config.batch_size == 0 else max(1, -(-queries // config.batch_size))
    per_micro = -(-queries // num_micro)
    edges = 2 * shape.edges
    # The most that there can be: each end of an edge another entity, each fact another (relation, subject) pair.
    window = (min(edges, shape.entities), edges, shape.edges)
    # (query, answer, history, true) of a micro-batch, as if no two facts asked the same query.
    sizes = (per_micro, per_micro, per_micro * shape.history, per_micro)
    drawn = {"full": 0, "shared": config.num_shared, "sampled": queries * config.num_negatives}[config.loss]
    targets = config.targets_per_step
    # An upper bound: active entities of all snapshots; subject, answer and history of every query; those drawn.
    touched = (config.history_len + targets - 1) * window[0] + targets * (queries * (2 + shape.history) + drawn)
    rows = 0 if config.loss == "full" else min(shape.entities, touched)
    return Bucket(window, num_micro, sizes, sizes, rows)


def abstract_batch(shape: ProblemShape, config: RecurrentTrainingConfig, bucket: Bucket | None = None) -> Batch:
    """A batch of `shape` whose leaves are `jax.ShapeDtypeStruct`s."""
    return eqx.filter_eval_shape(_zero_batch, shape, config, bucket or _bucket(shape, config))


def _zero_batch(shape: ProblemShape, config: RecurrentTrainingConfig, bucket: Bucket) -> Batch:
    """A batch of zeros with the padded sizes of `bucket`."""

    def ints(*dims: int) -> Int[Array, "..."]:
        return jnp.zeros(dims, jnp.int32)

    def floats(*dims: int) -> Float[Array, "..."]:
        return jnp.zeros(dims, jnp.float32)

    def bools(*dims: int) -> Bool[Array, "..."]:
        return jnp.zeros(dims, bool)

    active, edge, pair = bucket.window
    targets = config.targets_per_step
    # Consecutive targets share one window, which reaches one snapshot further for each.
    steps, micro = config.history_len + targets - 1, bucket.num_micro * targets

    def queries(sizes: tuple[int, ...], sampled: bool) -> Queries:
        unit, answer, seen, _ = sizes
        return Queries(
            subject=ints(micro, unit),
            condition=ints(micro, unit),
            weight=floats(micro, unit),
            answer_query=ints(micro, answer),
            answer=ints(micro, answer),
            answer_weight=floats(micro, answer),
            answer_in_history=bools(micro, answer),
            history_query=ints(micro, seen),
            history_candidate=ints(micro, seen),
            negatives=ints(micro, answer, config.num_negatives) if sampled else None,
            candidate_in_history=bools(micro, answer, 1 + config.num_negatives) if sampled else None,
        )

    return Batch(
        window=Window(
            valid=bools(steps),
            active=ints(steps, active),
            degree=floats(steps, active),
            edge_source=ints(steps, edge),
            edge_relation=ints(steps, edge),
            edge_target=ints(steps, edge),
            relation_count=floats(steps, 2 * shape.relations),
            pair_entity=ints(steps, pair),
            pair_relation=ints(steps, pair),
        ),
        entity_queries=queries(bucket.entity, config.loss == "sampled"),
        relation_queries=queries(bucket.relation, False),
        time_index=floats() if targets == 1 else floats(targets),
        key=jr.key(0),
        rows=EntityRows(ints(bucket.rows), floats(bucket.rows)) if bucket.rows else None,
        target_of_micro=ints(micro) if targets > 1 else None,
    )


def _build_model(shape: ProblemShape, config: RecurrentTrainingConfig) -> Model:
    """A model with the vocabulary and the static graph of `shape`."""
    zeros = np.zeros(shape.static_edges, np.int32)
    static = StaticGraph(zeros, zeros, zeros, 1, max(1, shape.words)) if shape.static_edges else None
    model = build_model(shape.entities, shape.relations, config, static, key=jr.key(0))
    return cast_parameters(model, config.precision)


def compile_step(
    shape: ProblemShape, config: RecurrentTrainingConfig, bucket: Bucket | None = None, mesh: Mesh | None = None
) -> jax.stages.Compiled:
    """The training step, compiled for abstract arguments; model and optimizer state are donated.

    **Arguments:** `bucket`: a padded shape instead of that of the largest batch; `mesh`: compile what each of its
    devices runs.
    """
    model = eqx.filter_eval_shape(_build_model, shape, config)
    optimizer = make_optimizer(config)
    opt_state = jax.eval_shape(lambda m: init_optimizer(optimizer, m), model)
    batch = abstract_batch(shape, config, bucket)
    if mesh is not None:
        model, opt_state, batch = described((model, opt_state), mesh) + (described_batch(batch, mesh),)
    step = jax.jit(make_recurrent_step(config, optimizer, shape.entities), donate_argnums=(0, 1))
    with on(mesh):
        return compile_lowered(step.lower(model, opt_state, batch))


def predicted_bytes(shape: ProblemShape, config: RecurrentTrainingConfig) -> int:
    """Peak device memory of a training step in bytes: arguments, results and temporaries, less shared buffers.

    **Raises:** ConfigError for the evidence model.
    """
    config = _recurrent(config)
    analysis = compile_step(shape, config).memory_analysis()
    assert analysis is not None  # as JAX's CPU and GPU backends give it
    return int(
        # Donated buffers are counted as arguments and as results; they exist once.
        analysis.argument_size_in_bytes
        + analysis.output_size_in_bytes
        + analysis.temp_size_in_bytes
        - analysis.alias_size_in_bytes
    )


def probe_memory(
    shape: ProblemShape,
    config: TrainingConfig,
    *,
    budget: int | None = None,
    measure: bool | None = None,
) -> list[MemoryRow]:
    """Predicted (and, on a GPU, measured) peak memory for a table of settings.

    **Arguments:** `budget`: bytes to stay within; `measure`: run each setting in a subprocess and read the peak that
    the device counts (by default on a GPU only, since a CPU does not count it).

    **Returns:** one row for each combination of settings.
    """
    config = _recurrent(config)
    if measure is None:
        measure = jax.default_backend() == "gpu"
    config = config.replace(precision=compute_type(config.precision))
    settings = [(precision, policy, config.batch_size) for precision in PRECISIONS for policy in POLICIES]
    # One more row shows what the batch size costs: whole snapshots, or parts of 1024 where whole ones are set.
    other = 0 if config.batch_size else 1024
    settings.append((config.precision, config.remat, other))
    rows: list[MemoryRow] = []
    for precision, policy, batch_size in settings:
        chosen = config.replace(precision=precision, remat=policy, batch_size=batch_size)
        predicted = predicted_bytes(shape, chosen)
        rows.append(
            {
                "precision": precision,
                "remat": policy,
                "batch_size": batch_size,
                "predicted_bytes": predicted,
                "fits": None if budget is None else predicted <= budget,
                "measured_bytes": measured_bytes(shape, chosen) if measure else None,
            }
        )
    return rows


def largest_batch(shape: ProblemShape, config: TrainingConfig, budget: int) -> int:
    """The largest `batch_size` found whose predicted peak fits `budget` bytes; 0 when none does.

    A micro-batch's memory grows linearly with its size, so two compiled sizes give a third that just fits. The
    returned size has been compiled and fits.
    """

    recurrent = _recurrent(config)

    def predict(batch: int) -> int:
        return predicted_bytes(shape, recurrent.replace(batch_size=batch))

    whole = 2 * shape.queries
    if predict(whole) <= budget:
        return whole
    # The two sizes must differ, also where whole snapshots are small.
    small, large = min(64, whole), max(65, whole // 4)
    low, high = predict(small), predict(large)
    if low > budget:
        return 0
    batch = large
    if high > budget:
        # At least one byte per query: two compiled sizes may come out equal, and the slope is divided by.
        slope = max((high - low) / (large - small), 1.0)
        batch = small + int((budget - low) / slope)
    elif large < whole:
        batch = min(whole - 1, large + int((budget - high) / max((high - low) / (large - small), 1.0)))
    # Memory is only nearly a line, so the estimate shrinks by a tenth until a compiled step fits.
    while batch > small and predict(batch) > budget:
        batch = max(small, batch * 9 // 10)
    return batch


def measured_bytes(shape: ProblemShape, config: RecurrentTrainingConfig) -> int | None:
    """The peak in bytes that the device counts during two steps on zeros; None where it does not count.

    Every call starts a process, because a peak can be read but not reset.
    """
    request: MeasureRequest = {"shape": dataclasses.asdict(shape), "config": config.to_dict()}
    # Preallocation claims most of the device's memory, part of which this process holds.
    environment = os.environ | {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    done = subprocess.run(
        [sys.executable, "-m", "tirgn_eqx.train.memory"],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    try:
        # Libraries may write to stdout as well; the document is the last line.
        return json.loads(done.stdout.splitlines()[-1])["peak_bytes"]
    except (IndexError, ValueError, KeyError):
        return None


def _measure_here(request: MeasureRequest) -> int | None:
    """Run two steps of the requested problem in this process and read the device's peak."""
    shape, config = ProblemShape(**request["shape"]), _recurrent(config_from_dict(request["config"]))
    model = _build_model(shape, config)
    opt_state = init_optimizer(make_optimizer(config), model)
    compiled = compile_step(shape, config)
    for number in range(2):
        batch = _zero_batch(shape, config, _bucket(shape, config))
        batch = eqx.tree_at(lambda b: b.key, batch, jr.key(number))
        model, opt_state, metrics = compiled(model, opt_state, batch)
        jax.block_until_ready(metrics)
    statistics = jax.devices()[0].memory_stats()
    return None if not statistics else int(statistics["peak_bytes_in_use"])


if __name__ == "__main__":
    print(json.dumps({"peak_bytes": _measure_here(json.load(sys.stdin))}))
