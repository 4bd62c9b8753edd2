"""Device memory of a training step: predicted from compiled shapes alone, and measured where it can be.

Nothing is trained and no array of the problem's size is made: the step is compiled for abstract arrays, and
the compiler says what it will allocate.
"""

import dataclasses
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jax.sharding import Mesh

from tirgn_eqx.config import RecurrentTrainingConfig, TrainingConfig, config_from_dict
from tirgn_eqx.data.batches.buckets import Bucket
from tirgn_eqx.data.batches.loader import BatchLoader
from tirgn_eqx.data.graph import StaticGraph, TemporalGraph
from tirgn_eqx.data.index.history import build_history_vocabulary
from tirgn_eqx.errors import ConfigError
from tirgn_eqx.models import RecurrentGraphModel, build_model
from tirgn_eqx.runtime.compiling import compile_lowered
from tirgn_eqx.runtime.meshes import described, described_batch, on
from tirgn_eqx.train.optimizer import init_optimizer, make_optimizer
from tirgn_eqx.train.precision import cast_parameters, compute_type
from tirgn_eqx.train.step import make_step
from tirgn_eqx.types import Batch, Queries, Rows, Window

PRECISIONS = ("bf16", "f32")
POLICIES = ("none", "dots", "full")


@dataclass(frozen=True)
class ProblemShape:
    """What decides the memory of a step.

    **Arguments:** `entities`, `relations` (without inverses); `edges`: facts of the largest snapshot in the
    window; `queries`: facts of the largest target snapshot (each asks two questions of each kind);
    `static_edges`, `words`: of the static graph, 0 without one; `history`: candidates in history per question.
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
        """The largest training batch of `graph`."""
        config = _recurrent(config)
        loader = BatchLoader(
            graph,
            build_history_vocabulary(graph),
            "train",
            max_buckets=1,
            **config.window(),
        )
        facts = np.diff(graph.offsets)
        targets = facts[loader.targets] if len(loader) else facts
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


def _recurrent(config: TrainingConfig) -> RecurrentTrainingConfig:
    """**Raises:** ConfigError for a model that evolves no window: nothing here describes what it holds."""
    if not isinstance(config, RecurrentTrainingConfig):
        raise ConfigError(
            f"vram-probe: knows tirgn and regcn, not {config.family}; give another --preset or --set family=tirgn"
        )
    return config


def _bucket(shape: ProblemShape, config: RecurrentTrainingConfig) -> Bucket:
    units = 2 * shape.queries
    micro = 1 if config.batch_size == 0 else max(1, -(-units // config.batch_size))
    unit = -(-units // micro)
    edges = 2 * shape.edges
    window = (min(edges, shape.entities), edges, shape.edges)
    sizes = (unit, unit, unit * shape.history, unit)
    draws = {"full": 0, "shared": config.num_shared, "sampled": units * config.num_negatives}[config.loss]
    together = config.targets_per_step
    touched = (config.history_len + together - 1) * window[0] + together * (units * (2 + shape.history) + draws)
    rows = 0 if config.loss == "full" else min(shape.entities, touched)
    return Bucket(window, micro, sizes, sizes, rows)


def abstract_batch(shape: ProblemShape, config: RecurrentTrainingConfig, bucket: Bucket | None = None) -> Batch:
    """A batch of `shape` as `jax.ShapeDtypeStruct`s."""
    bucket = bucket or _bucket(shape, config)
    of = lambda dtype, *dims: jax.ShapeDtypeStruct(dims, dtype)
    ints = lambda *dims: of(jnp.int32, *dims)
    floats = lambda *dims: of(jnp.float32, *dims)
    active, edge, pair = bucket.window
    together = config.targets_per_step
    steps, rel2 = config.history_len + together - 1, 2 * shape.relations
    window = dict(
        valid=of(jnp.bool_, steps),
        active=ints(steps, active),
        degree=floats(steps, active),
        edge_source=ints(steps, edge),
        edge_relation=ints(steps, edge),
        edge_target=ints(steps, edge),
        relation_count=floats(steps, rel2),
        pair_entity=ints(steps, pair),
        pair_relation=ints(steps, pair),
    )

    def queries(sizes: tuple[int, ...], sampled: bool) -> Queries:
        unit, answer, seen, _ = sizes
        micro = bucket.num_micro * together
        fields = {name: ints(micro, unit) for name in ("subject", "given")}
        fields |= {name: ints(micro, answer) for name in ("answer_unit", "answer")}
        fields |= {name: ints(micro, seen) for name in ("seen_unit", "seen_candidate")}
        if sampled:
            fields["negatives"] = ints(micro, answer, config.num_negatives)
            fields["candidate_seen"] = of(jnp.bool_, micro, answer, 1 + config.num_negatives)
        weights = {"weight": floats(micro, unit), "answer_weight": floats(micro, answer)}
        weights["answer_seen"] = of(jnp.bool_, micro, answer)
        return _build(Queries, fields | weights)

    key = jax.eval_shape(lambda: jr.key(0))
    fields = {
        "window": _build(Window, window),
        "entity_queries": queries(bucket.entity, config.loss == "sampled"),
        "relation_queries": queries(bucket.relation, False),
        "time_index": floats() if together == 1 else floats(together),
        "key": key,
    }
    if together > 1:
        fields["target_of_micro"] = ints(bucket.num_micro * together)
    if bucket.rows:
        fields["rows"] = _build(Rows, {"index": ints(bucket.rows), "weight": floats(bucket.rows)})
    return _build(Batch, fields)


def _build(kind: type, fields: dict[str, Any]) -> Any:
    """An instance of a data pytree whose leaves are no arrays, past its shape-checked constructor."""
    instance = object.__new__(kind)
    for field in dataclasses.fields(kind):
        object.__setattr__(instance, field.name, fields.get(field.name))
    return instance


def _abstract_model(shape: ProblemShape, config: RecurrentTrainingConfig) -> RecurrentGraphModel:
    static = _zero_static(shape)
    build = lambda: cast_parameters(
        build_model(shape.entities, shape.relations, config, static, key=jr.key(0)), config.precision
    )
    return eqx.filter_eval_shape(build)


def compile_step(
    shape: ProblemShape, config: RecurrentTrainingConfig, bucket: Bucket | None = None, mesh: Mesh | None = None
) -> Any:
    """The compiled training step for abstract arguments, its model and optimizer state donated; on `mesh`, what one of
    its devices runs."""
    model = _abstract_model(shape, config)
    optimizer = make_optimizer(config)
    opt_state = jax.eval_shape(lambda m: init_optimizer(optimizer, m), model)
    batch = abstract_batch(shape, config, bucket)
    if mesh is not None:
        model, opt_state, batch = described((model, opt_state), mesh) + (described_batch(batch, mesh),)
    step = jax.jit(make_step(config, optimizer, shape.entities), donate_argnums=(0, 1))
    with on(mesh):
        return compile_lowered(step.lower(model, opt_state, batch))


def predicted_bytes(shape: ProblemShape, config: RecurrentTrainingConfig) -> int:
    """Peak device memory of a training step in bytes: arguments, results and temporaries, less what is shared."""
    config = _recurrent(config)
    analysis = compile_step(shape, config).memory_analysis()
    return int(
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
) -> list[dict[str, Any]]:
    """Predicted (and, on a GPU, measured) peak for a table of settings.

    **Arguments:** `budget`: bytes to stay within; `measure`: run each setting in a subprocess and read the
    device's own peak (default: on a GPU only, since a CPU keeps no such count).

    **Returns:** rows with `precision`, `remat`, `batch_size`, `predicted_bytes`, `fits` (None without a
    budget), `measured_bytes` (None where not measured).
    """
    config = _recurrent(config)
    if measure is None:
        measure = jax.default_backend() == "gpu"
    config = config.replace(precision=compute_type(config.precision))
    settings = [(precision, policy, config.batch_size) for precision in PRECISIONS for policy in POLICIES]
    other = 0 if config.batch_size else 1024
    settings.append((config.precision, config.remat, other))
    rows = []
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

    A micro-batch's memory grows linearly with its size, so two compiled sizes give a third that just fits;
    what is returned has been compiled and fits.
    """
    config = _recurrent(config)
    predict = lambda batch: predicted_bytes(shape, config.replace(batch_size=batch))
    whole = 2 * shape.queries
    if predict(whole) <= budget:
        return whole
    small, large = min(64, whole), max(65, whole // 4)
    low, high = predict(small), predict(large)
    if low > budget:
        return 0
    batch = large
    if high > budget:
        slope = max((high - low) / (large - small), 1.0)
        batch = small + int((budget - low) / slope)
    elif large < whole:
        batch = min(whole - 1, large + int((budget - high) / max((high - low) / (large - small), 1.0)))
    while batch > small and predict(batch) > budget:
        batch = max(small, batch * 9 // 10)
    return batch


def measured_bytes(shape: ProblemShape, config: RecurrentTrainingConfig) -> int | None:
    """The device's own peak after two real steps on zeros, in a process of its own; None where it has none.

    A process per setting, because a peak can be read but not reset.
    """
    request = json.dumps({"shape": dataclasses.asdict(shape), "config": config.to_dict()})
    environment = os.environ | {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    done = subprocess.run(
        [sys.executable, "-m", "tirgn_eqx.train.memory"],
        input=request,
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    try:
        return json.loads(done.stdout.splitlines()[-1])["peak_bytes"]
    except (IndexError, ValueError, KeyError):
        return None


def _measure_here(request: dict[str, Any]) -> int | None:
    """Run two steps of the requested problem in this process and read the device's peak."""
    shape, config = ProblemShape(**request["shape"]), _recurrent(config_from_dict(request["config"]))
    model = cast_parameters(
        build_model(shape.entities, shape.relations, config, _zero_static(shape), key=jr.key(0)), config.precision
    )
    optimizer = make_optimizer(config)
    opt_state = init_optimizer(optimizer, model)
    compiled = compile_step(shape, config)
    for number in range(2):
        zeros = lambda x: jnp.zeros(x.shape, x.dtype)
        batch = abstract_batch(shape, config)
        key = jr.key(number)
        leaves = lambda b: eqx.tree_at(lambda b: b.key, b, None)
        filled = jax.tree.map(zeros, leaves(batch))
        filled = eqx.tree_at(lambda b: b.key, filled, key, is_leaf=lambda x: x is None)
        model, opt_state, metrics = compiled(model, opt_state, filled)
        jax.block_until_ready(metrics)
    statistics = jax.devices()[0].memory_stats()
    return None if not statistics else int(statistics["peak_bytes_in_use"])


def _zero_static(shape: ProblemShape) -> StaticGraph | None:
    if not shape.static_edges:
        return None
    zeros = np.zeros(shape.static_edges, np.int32)
    return StaticGraph(zeros, zeros, zeros, 1, max(1, shape.words))


if __name__ == "__main__":
    print(json.dumps({"peak_bytes": _measure_here(json.load(sys.stdin))}))
