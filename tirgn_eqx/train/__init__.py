"""Training: the pure step, the loop around it, checkpoints and logs."""

from tirgn_eqx.checkpoint.models import load_model as load_model
from tirgn_eqx.checkpoint.models import save_model as save_model
from tirgn_eqx.tracking.logger import TrainingLogger as TrainingLogger
from tirgn_eqx.train.api import train_tirgn as train_tirgn
from tirgn_eqx.train.families import make_step as make_step
from tirgn_eqx.train.optimizer import make_optimizer as make_optimizer
