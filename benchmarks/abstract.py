"""A training step of a described size on random contents: what it costs where no graph of that size is at hand."""

import equinox as eqx
import jax
import numpy as np

from benchmarks.harness import clock
from tirgn_eqx.config import RecurrentTrainingConfig
from tirgn_eqx.models import build_model
from tirgn_eqx.train.memory import ProblemShape, abstract_batch, compile_step
from tirgn_eqx.train.optimizer import init_optimizer, make_optimizer
from tirgn_eqx.train.precision import cast_parameters
from tirgn_eqx.types import Batch

SORTED = ("active", "edge_target", "pair_entity", "history_query", "answer_query")


def random_batch(shape: ProblemShape, config: RecurrentTrainingConfig, seed: int) -> Batch:
    """A batch of `shape` whose facts are drawn at random: every place is filled, none is padding."""
    rng = np.random.default_rng(seed)
    batch = abstract_batch(shape, config)
    rows = shape.entities if batch.rows is None else len(batch.rows.weight)
    rel2, active = 2 * shape.relations, batch.window.active.shape[1]
    bounds = {"edge_source": active, "edge_target": active, "edge_relation": rel2, "pair_relation": rel2}

    def fill(path: tuple, leaf: jax.ShapeDtypeStruct) -> jax.Array | np.ndarray:
        kind, name = getattr(path[0], "name", ""), getattr(path[-1], "name", "")
        if jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return jax.random.key(seed)
        if kind == "rows" and name == "index":
            return np.sort(rng.choice(shape.entities, rows, replace=False)).astype(np.int32)
        if not np.issubdtype(leaf.dtype, np.integer):
            return np.ones(leaf.shape, leaf.dtype)
        bound = bounds.get(name, rows)
        if kind.endswith("_queries"):
            bound = _bound(name, kind, getattr(batch, kind).subject.shape[1], rows, shape.relations)
        drawn = rng.integers(0, bound, leaf.shape, dtype=np.int32)
        return np.sort(drawn, -1) if name in SORTED else drawn

    return jax.tree.map(jax.numpy.asarray, jax.tree_util.tree_map_with_path(fill, batch))


def _bound(name: str, kind: str, units: int, rows: int, relations: int) -> int:
    """One more than the largest number that a field of queries may hold."""
    if name.endswith("_query"):
        return units
    of_relation = (name == "condition") == (kind == "entity_queries") and name != "subject"
    return 2 * relations if name == "condition" and of_relation else relations if of_relation else rows


def step_seconds(shape: ProblemShape, config: RecurrentTrainingConfig, steps: int) -> tuple[list[float], list[float]]:
    """(seconds, losses) of so many steps on the default device, after one that is not counted."""
    model = build_model(shape.entities, shape.relations, config, None, key=jax.random.key(config.seed))
    model = cast_parameters(model, config.precision)
    opt_state = init_optimizer(make_optimizer(config), model)
    compiled = compile_step(shape, config)
    batch = random_batch(shape, config, config.seed)
    samples, losses = [], []
    for number in range(steps + 1):
        batch = eqx.tree_at(lambda b: b.key, batch, jax.random.key(number))
        arguments = model, opt_state, batch
        seconds, out = clock(lambda given=arguments: jax.block_until_ready(compiled(*given)))
        model, opt_state, metrics = out
        losses.append(float(metrics["loss"]))
        samples.append(seconds)
    return samples[1:], losses[1:]
