"""Forecast events on a temporal knowledge graph: TiRGN as an Equinox library.

The names below are loaded on first use, so that importing the package costs nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tirgn_eqx.config import TiRGNTrainingConfig as TiRGNTrainingConfig
    from tirgn_eqx.config import preset as preset
    from tirgn_eqx.data import (
        TemporalGraph as TemporalGraph,
    )
    from tirgn_eqx.data import (
        build_history_vocabulary as build_history_vocabulary,
    )
    from tirgn_eqx.data import (
        load_graph as load_graph,
    )
    from tirgn_eqx.data import (
        simulate as simulate,
    )
    from tirgn_eqx.evaluate import Evaluation as Evaluation
    from tirgn_eqx.evaluate import Evaluator as Evaluator
    from tirgn_eqx.evaluate import evaluate_model as evaluate_model
    from tirgn_eqx.models import TiRGN as TiRGN
    from tirgn_eqx.train import (
        TrainingLogger as TrainingLogger,
    )
    from tirgn_eqx.train import (
        load_model as load_model,
    )
    from tirgn_eqx.train import (
        make_optimizer as make_optimizer,
    )
    from tirgn_eqx.train import (
        make_step as make_step,
    )
    from tirgn_eqx.train import (
        save_model as save_model,
    )
    from tirgn_eqx.train import (
        train_tirgn as train_tirgn,
    )

_HOMES = {
    "tirgn_eqx.config": ("TiRGNTrainingConfig", "preset"),
    "tirgn_eqx.data": ("TemporalGraph", "build_history_vocabulary", "load_graph", "simulate"),
    "tirgn_eqx.evaluate": ("Evaluation", "Evaluator", "evaluate_model"),
    "tirgn_eqx.models": ("TiRGN",),
    "tirgn_eqx.train": (
        "TrainingLogger",
        "load_model",
        "make_optimizer",
        "make_step",
        "save_model",
        "train_tirgn",
    ),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
__all__ = sorted(_HOME_OF)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'tirgn_eqx' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return sorted(list(globals()) + __all__)
