"""Evaluation as the field does it right: time-aware filter, both directions, ties shared."""

from tirgn_eqx.evaluate.protocol import Evaluation as Evaluation, Evaluator as Evaluator, evaluate as evaluate
