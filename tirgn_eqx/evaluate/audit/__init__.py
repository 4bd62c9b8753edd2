"""Audits: does a forecaster look at what it must not? See `audit` and the contract of what it is asked."""

from tirgn_eqx.evaluate.audit.contract import ForecastRequest as ForecastRequest
from tirgn_eqx.evaluate.audit.contract import RankFunction as RankFunction
from tirgn_eqx.evaluate.audit.contract import ScoreFunction as ScoreFunction
from tirgn_eqx.evaluate.audit.measures import EvaluationMeasure as EvaluationMeasure
from tirgn_eqx.evaluate.audit.measures import ScoreMeasure as ScoreMeasure
from tirgn_eqx.evaluate.audit.report import AuditReport as AuditReport
from tirgn_eqx.evaluate.audit.report import CheckResult as CheckResult
from tirgn_eqx.evaluate.audit.run import audit as audit
