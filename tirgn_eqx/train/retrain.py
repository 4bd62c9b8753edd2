"""Retraining on newer data: a warm start by name, a comparison with the old model, and the new one in its place."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr

from tirgn_eqx.config import TiRGNTrainingConfig
from tirgn_eqx.data.graph import TemporalGraph
from tirgn_eqx.errors import CheckpointError, ConfigError
from tirgn_eqx.evaluate.calibrate import fit_temperature
from tirgn_eqx.evaluate.compare import Entrant, compare
from tirgn_eqx.evaluate.protocol import make_evaluator
from tirgn_eqx.models import Combined, Model, build_combined, build_model
from tirgn_eqx.train.checkpoint import load_checkpoint, save_checkpoint
from tirgn_eqx.train.loop import Record, train_tirgn
from tirgn_eqx.train.saved import load_model, save_calibration
from tirgn_eqx.train.staged import train_staged
from tirgn_eqx.train.warm import Names, map_names, names_of, warm_start, with_gone

MAX_REGRESSION = 0.01


def retrain(
    graph: TemporalGraph,
    checkpoint: str | Path,
    *,
    model_dir: str | Path,
    changes: dict[str, Any] | None = None,
    keep_gone: bool = False,
    max_regression: float = MAX_REGRESSION,
    resume: bool = False,
    stop: Callable[[], bool] | None = None,
    on_record: Callable[[Record], None] | None = None,
    run_name: str | None = None,
) -> dict[str, Any]:
    """Train the model of `checkpoint` on with the data of `graph`, and put the new one in its place if it is no worse.

    The new model begins with the old one's numbers, names found by name. Both are then asked the questions of the test
    split of `graph`, which neither was trained on as long as the old one's data ended before it; names that are new to
    the old model have the numbers of a new model in it.

    **Arguments:** `model_dir`: of the new training; `changes`: of the old settings; `keep_gone`: keep entities and
    relations that no longer occur; `max_regression`: how much lower the new MRR may be, as a fraction (0.01: 1 point);
    the others as in `train_tirgn`.

    **Returns:** `status` as of the training, `replaced` (True where the new checkpoint took the old one's place; the
    old one is then `previous`), `names` (kept, new, gone), `training`, `comparison` (new against old).

    **Raises:** CheckpointError, DataError: a model that cannot be taken over; ConfigError: a limit that is none.
    """
    if not 0 <= max_regression <= 1:
        raise ConfigError(
            f"--max-regression {max_regression:g}: must be between 0 and 1, such as 0.01 for one MRR point"
        )
    old, config, described = load_model(checkpoint)
    before = _names(described, checkpoint)
    if keep_gone:
        graph = with_gone(graph, before)
    mapping = map_names(before, names_of(graph))
    if not (mapping.entity >= 0).any():
        raise CheckpointError(f"{checkpoint}: none of its entities occurs in {graph.name}; train anew")
    config = config.replace(**changes or {})
    beside = _evidence_settings(described, config)
    start = warm_start(old, _fresh(graph, config, beside), mapping, str(checkpoint))
    options: dict[str, Any] = {"model_dir": model_dir, "on_record": on_record, "run_name": run_name}
    options |= {"resume": resume, "stop": stop, "start": start}
    if beside is None:
        trained = train_tirgn(graph, config, **options)
    else:
        trained = train_staged(graph, config, evidence_settings=beside, **options)
    result = {"status": trained["status"], "replaced": False, "checkpoint": str(checkpoint)}
    result |= {"names": mapping.report(), "max_regression": max_regression, "training": trained}
    if trained["status"] != "completed":
        return result
    new, new_config, _ = load_model(trained["checkpoint"])
    shape: dict[str, Any] = {"history_len": new_config.history_len, "history_window": new_config.history_window}
    if described.get("calibration"):
        valid: Any = make_evaluator(new, graph, split="valid", **shape)
        save_calibration(trained["checkpoint"], fit_temperature(lambda temperature: valid(new, temperature)))
    evaluate: Any = make_evaluator(new, graph, split="test", **shape)
    sides = [Entrant(name, config.model_type, evaluate(model)) for name, model in (("new", new), ("old", start))]
    found = compare(*sides)
    result["comparison"] = {key: found[key] for key in ("models", "difference", "confidence", "split")}
    mrr = [side.evaluation.entity["mrr"] for side in sides]
    if mrr[0] >= mrr[1] - max_regression:
        result |= {"replaced": True, "previous": str(put_in_place(trained["checkpoint"], checkpoint))}
    return result


def put_in_place(new: str | Path, checkpoint: str | Path) -> Path:
    """Write the checkpoint `new` to the place of `checkpoint`, and the old one beside it as `NAME.previous.npz`, whose
    path is returned. Whenever it is interrupted, there is a whole checkpoint in the place."""
    found, place = load_checkpoint(new), load_checkpoint(checkpoint).path
    previous = place.with_name(f"{place.stem}.previous.npz")
    sides = previous.with_suffix(".json"), place.with_suffix(".json")
    # A side file must not stand beside another npz than its own.
    sides[0].unlink(missing_ok=True)
    _copy(place, previous)
    if sides[1].exists():
        _copy(sides[1], sides[0])
    save_checkpoint(place, found.arrays, found.metadata)
    return previous


def _copy(source: Path, target: Path) -> None:
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    shutil.copyfile(source, temporary)
    os.replace(temporary, target)


def _names(described: dict[str, Any], checkpoint: str | Path) -> Names:
    names = [described.get(kind) for kind in ("entities", "relations")]
    if not all(names):
        raise CheckpointError(f"{checkpoint}: has no names, by which it could be taken over; train on an event table")
    return tuple(names[0] or ()), tuple(names[1] or ())


def _evidence_settings(described: dict[str, Any], config: TiRGNTrainingConfig) -> TiRGNTrainingConfig | None:
    """How the evidence of a combined model was trained; None for other models."""
    if config.history != "evidence":
        return None
    own = {"seed": config.seed, "logdir": f"{config.logdir}/evidence"}
    return TiRGNTrainingConfig(**described["evidence_config"]).replace(**own)


def _fresh(graph: TemporalGraph, config: TiRGNTrainingConfig, beside: TiRGNTrainingConfig | None) -> Model:
    """A model as it begins, compiled as one program: op by op takes many times as long."""
    sizes, static = (graph.num_entities, graph.num_relations), graph.static if config.static_graph else None

    def make(key: Any) -> Combined | Any:
        if beside is not None:
            return build_combined(*sizes, config, beside, static, key=key)
        return build_model(*sizes, config, static, key=key)

    return eqx.filter_jit(make)(jr.key(jnp.asarray(config.seed)))
