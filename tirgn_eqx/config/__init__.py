"""The settings of a training: a configuration class for each model family, published presets, TOML and JSON."""

from tirgn_eqx.config.presets import PRESETS as PRESETS
from tirgn_eqx.config.presets import RECIPES as RECIPES
from tirgn_eqx.config.presets import Preset as Preset
from tirgn_eqx.config.presets import preset as preset
from tirgn_eqx.config.presets import published_configs as published_configs
from tirgn_eqx.config.read import Given as Given
from tirgn_eqx.config.read import parse_assignments as parse_assignments
from tirgn_eqx.config.read import read_config as read_config
from tirgn_eqx.config.setting import Range as Range
from tirgn_eqx.config.setting import Setting as Setting
from tirgn_eqx.config.setting import settings as settings
from tirgn_eqx.config.training_config import FAMILIES as FAMILIES
from tirgn_eqx.config.training_config import EvidenceTrainingConfig as EvidenceTrainingConfig
from tirgn_eqx.config.training_config import MixtureTrainingConfig as MixtureTrainingConfig
from tirgn_eqx.config.training_config import ModelTrainingConfig as ModelTrainingConfig
from tirgn_eqx.config.training_config import RecurrentTrainingConfig as RecurrentTrainingConfig
from tirgn_eqx.config.training_config import REGCNTrainingConfig as REGCNTrainingConfig
from tirgn_eqx.config.training_config import TiRGNTrainingConfig as TiRGNTrainingConfig
from tirgn_eqx.config.training_config import TrainingConfig as TrainingConfig
from tirgn_eqx.config.training_config import all_settings as all_settings
from tirgn_eqx.config.training_config import config_from_dict as config_from_dict
from tirgn_eqx.config.training_config import flatten as flatten
from tirgn_eqx.config.training_config import outputs as outputs
from tirgn_eqx.config.training_config import resumable as resumable
