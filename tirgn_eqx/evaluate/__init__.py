"""Evaluation as the field does it right: time-aware filter, both directions, ties shared."""

from tirgn_eqx.evaluate.evidence import EvidenceEvaluator as EvidenceEvaluator
from tirgn_eqx.evaluate.protocol import Evaluator as Evaluator
from tirgn_eqx.evaluate.protocol import evaluate_model as evaluate_model
from tirgn_eqx.evaluate.results import Evaluation as Evaluation
