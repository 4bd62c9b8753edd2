"""Evaluation: filtered ranks, both directions, ties at the mean of their places."""

from tirgn_eqx.evaluate.all_scores import score_split as score_split
from tirgn_eqx.evaluate.all_scores import write_scores as write_scores
from tirgn_eqx.evaluate.evaluators import Evaluator as Evaluator
from tirgn_eqx.evaluate.protocol import evaluate_model as evaluate_model
from tirgn_eqx.evaluate.protocol import make_evaluator as make_evaluator
from tirgn_eqx.evaluate.results import Evaluation as Evaluation
from tirgn_eqx.evaluate.score_files import open_scores as open_scores
from tirgn_eqx.evaluate.scores import evaluate_scores as evaluate_scores
