"""Training: the pure step, the loop around it, checkpoints and logs."""

from tirgn_eqx.train.logger import TrainingLogger as TrainingLogger
from tirgn_eqx.train.loop import train_tirgn as train_tirgn
from tirgn_eqx.train.optimizer import make_optimizer as make_optimizer
from tirgn_eqx.train.saved import load_model as load_model
from tirgn_eqx.train.saved import save_model as save_model
from tirgn_eqx.train.step import make_step as make_step
