"""Evaluation: ranks with the time-aware filter, both directions, ties at the mean of their places."""

from tirgn_eqx.evaluate.evaluators import Evaluator as Evaluator
from tirgn_eqx.evaluate.protocol import evaluate_model as evaluate_model
from tirgn_eqx.evaluate.protocol import make_evaluator as make_evaluator
from tirgn_eqx.evaluate.results import Evaluation as Evaluation
