"""What goes with a training of the event model, and what does not."""

from collections.abc import Mapping
from pathlib import Path

from tirgn_eqx.config.training_config import EventTrainingConfig, TrainingConfig
from tirgn_eqx.errors import ConfigError

_REASONS = {
    "--resume": "which trains within minutes and keeps nothing of an interrupted training; start again",
    "--force": "which is not resumed",
    "--refit": "which needs valid to select by",
    "--structure": "which takes a model that ranks by --events",
    "--evidence": "which takes a model that ranks by --events",
    "--history": "which has no history mode",
    "--recipe": "which has one way to train",
    "start": "which begins with new weights",
}


def check_event_options(
    config: TrainingConfig, model_dir: str | Path, base: str | Path | None, others: Mapping[str, object]
) -> None:
    """Check the options of a training, of any model.

    **Arguments:** `base`: what --events names; `others`: further options, each with its value, None or False for one
    that was not given, of which the event model takes none.

    **Raises:** ConfigError for an option that would do nothing, for settings of a base without its checkpoint, and for
    a base that lies in `model_dir`, whose checkpoints the training writes over.
    """
    if not isinstance(config, EventTrainingConfig):
        if base is not None:
            raise ConfigError(f"--events {base}: adds the event model to it; leave out the settings of {config.family}")
        return
    for option, value in others.items():
        if value is not None and value is not False:
            given = option if value is True or not option.startswith("--") else f"{option} {value}"
            raise ConfigError(f"{given}: not for the event model, {_REASONS.get(option, 'which trains on one device')}")
    if base is None and config.base is not None:
        raise ConfigError(
            f"base: settings of {config.base.model_type}, but no checkpoint of it; give that with --events CKPT, or "
            "leave base out"
        )
    if base is not None and Path(base).resolve().parent == Path(model_dir).resolve():
        raise ConfigError(f"--model-dir {model_dir}: holds {base}, which would be written over; name another folder")
