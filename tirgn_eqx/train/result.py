"""What a training returns."""

from pathlib import Path
from typing import Any

import jax

from tirgn_eqx.config import TrainingConfig
from tirgn_eqx.evaluate.results import Evaluation


def result_of(
    config: TrainingConfig,
    status: str,
    *,
    epoch: int,
    best_epoch: int | None = None,
    best_value: float | None = None,
    early_stopped: bool = False,
    best: Path | None = None,
    validation: Evaluation | None = None,
    test: Evaluation | None = None,
    seconds: float = 0.0,
    parameters: int | None = None,
    given_up: dict[str, Any] | None = None,
    bad_steps: int = 0,
    **further: Any,
) -> dict[str, Any]:
    """What `train_tirgn` returns, `further` entries at the end."""
    return {
        "status": status,
        "epochs_trained": epoch,
        "best_mrr": validation.entity["mrr"] if validation else best_value,
        "best_epoch": best_epoch,
        "total_time": seconds,
        "early_stopped": early_stopped,
        "model_type": config.model_type,
        "checkpoint": None if best is None else str(best),
        "parameters": parameters,
        "given_up": given_up or {},
        "bad_steps": bad_steps,
        "device": jax.devices()[0].device_kind,
        "validation": _figures(validation) if validation else None,
        "test": _figures(test) if test else None,
        **further,
    }


def _figures(evaluation) -> dict[str, Any]:
    """What a training's result says of an evaluation: the figures without the per-snapshot list."""
    figures = evaluation.to_dict()
    return {name: figures[name] for name in ("split", "setting", "filter", "entity", "entity_raw", "relation")}
