"""Every setting of a training run, the presets of the published data sets, and settings read from TOML and JSON."""

from tirgn_eqx.config.training_config import PRESETS as PRESETS
from tirgn_eqx.config.training_config import RECIPES as RECIPES
from tirgn_eqx.config.training_config import TiRGNTrainingConfig as TiRGNTrainingConfig
from tirgn_eqx.config.training_config import parse_assignments as parse_assignments
from tirgn_eqx.config.training_config import preset as preset
from tirgn_eqx.config.training_config import read_config as read_config
