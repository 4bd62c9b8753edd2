"""Forecast events on a temporal knowledge graph: TiRGN as an Equinox library.

    import tirgn_eqx as tg

    result = tg.train_tirgn("sim", tg.preset("sim").replace(epochs=5), num_days=60)
    print(tg.Forecaster.load(result["checkpoint"]).top_facts(10))

| for | names |
|---|---|
| data | `TemporalGraph`, `build_history_vocabulary`, `from_facts`, `graph_statistics`, `load_graph`, `simulate` |
| data by a checkpoint's ids | `for_checkpoint` |
| settings | `TrainingConfig`, `TiRGNTrainingConfig`, `REGCNTrainingConfig`, `preset` |
| settings with evidence | `EvidenceTrainingConfig`, `MixtureTrainingConfig` |
| models | `Evidence`, `REGCN`, `RecurrentGraphModel`, `TiRGN`, `build_model` |
| training | `train_tirgn`, `load_model`, `save_model`, `TrainingLogger` |
| own loops | `init_optimizer`, `make_loader`, `make_optimizer`, `make_step` |
| evaluation | `Entrant`, `Evaluation`, `Evaluator`, `compare`, `evaluate_model` |
| forecasts | `Forecast`, `Forecaster` |
| errors | `CheckpointError`, `ConfigError`, `DataError`, `TirgnError` |

Layers are in `tg.nn`, each usable alone. A name is loaded when it is first used, so that importing the package costs
nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tirgn_eqx import data as data
    from tirgn_eqx import evaluate as evaluate
    from tirgn_eqx import forecast as forecast
    from tirgn_eqx import models as models
    from tirgn_eqx import nn as nn
    from tirgn_eqx import train as train
    from tirgn_eqx.config import EvidenceTrainingConfig as EvidenceTrainingConfig
    from tirgn_eqx.config import MixtureTrainingConfig as MixtureTrainingConfig
    from tirgn_eqx.config import REGCNTrainingConfig as REGCNTrainingConfig
    from tirgn_eqx.config import TiRGNTrainingConfig as TiRGNTrainingConfig
    from tirgn_eqx.config import TrainingConfig as TrainingConfig
    from tirgn_eqx.config import preset as preset
    from tirgn_eqx.data import TemporalGraph as TemporalGraph
    from tirgn_eqx.data import build_history_vocabulary as build_history_vocabulary
    from tirgn_eqx.data import for_checkpoint as for_checkpoint
    from tirgn_eqx.data import from_facts as from_facts
    from tirgn_eqx.data import graph_statistics as graph_statistics
    from tirgn_eqx.data import load_graph as load_graph
    from tirgn_eqx.data import simulate as simulate
    from tirgn_eqx.errors import CheckpointError as CheckpointError
    from tirgn_eqx.errors import ConfigError as ConfigError
    from tirgn_eqx.errors import DataError as DataError
    from tirgn_eqx.errors import TirgnError as TirgnError
    from tirgn_eqx.evaluate import Evaluation as Evaluation
    from tirgn_eqx.evaluate import Evaluator as Evaluator
    from tirgn_eqx.evaluate import evaluate_model as evaluate_model
    from tirgn_eqx.evaluate.compare import Entrant as Entrant
    from tirgn_eqx.evaluate.compare import compare as compare
    from tirgn_eqx.forecast import Forecast as Forecast
    from tirgn_eqx.forecast import Forecaster as Forecaster
    from tirgn_eqx.models import REGCN as REGCN
    from tirgn_eqx.models import Evidence as Evidence
    from tirgn_eqx.models import RecurrentGraphModel as RecurrentGraphModel
    from tirgn_eqx.models import TiRGN as TiRGN
    from tirgn_eqx.models import build_model as build_model
    from tirgn_eqx.train import TrainingLogger as TrainingLogger
    from tirgn_eqx.train import load_model as load_model
    from tirgn_eqx.train import make_optimizer as make_optimizer
    from tirgn_eqx.train import make_step as make_step
    from tirgn_eqx.train import save_model as save_model
    from tirgn_eqx.train import train_tirgn as train_tirgn
    from tirgn_eqx.train.data import make_loader as make_loader
    from tirgn_eqx.train.optimizer import init_optimizer as init_optimizer

_HOMES = {
    "config": (
        "EvidenceTrainingConfig",
        "MixtureTrainingConfig",
        "REGCNTrainingConfig",
        "TiRGNTrainingConfig",
        "TrainingConfig",
        "preset",
    ),
    "data": (
        "TemporalGraph",
        "build_history_vocabulary",
        "for_checkpoint",
        "from_facts",
        "graph_statistics",
        "load_graph",
        "simulate",
    ),
    "errors": ("CheckpointError", "ConfigError", "DataError", "TirgnError"),
    "evaluate": ("Evaluation", "Evaluator", "evaluate_model"),
    "evaluate.compare": ("Entrant", "compare"),
    "forecast": ("Forecast", "Forecaster"),
    "models": ("Evidence", "REGCN", "RecurrentGraphModel", "TiRGN", "build_model"),
    "train": ("TrainingLogger", "load_model", "make_optimizer", "make_step", "save_model", "train_tirgn"),
    "train.data": ("make_loader",),
    "train.optimizer": ("init_optimizer",),
}
_ROOMS = ("data", "evaluate", "forecast", "models", "nn", "train")
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
__all__ = sorted(_HOME_OF)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return importlib.import_module(f"tirgn_eqx.{name}")
    if name not in _HOME_OF:
        raise AttributeError(f"module 'tirgn_eqx' has no attribute {name!r}")
    return getattr(importlib.import_module(f"tirgn_eqx.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_ROOMS})
