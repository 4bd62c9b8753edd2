"""Evaluation as the field does it right: time-aware filter, both directions, ties shared."""

from tirgn_eqx.evaluate.protocol import Evaluation as Evaluation
from tirgn_eqx.evaluate.protocol import Evaluator as Evaluator
from tirgn_eqx.evaluate.protocol import evaluate_model as evaluate_model
