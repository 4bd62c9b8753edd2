"""Pages about trainings: what their files say, what their checkpoints forecast, as one HTML file."""

from tirgn_eqx.report.evaluations import RunComparison as RunComparison
from tirgn_eqx.report.evaluations import read_document as read_document
from tirgn_eqx.report.evaluations import read_documents as read_documents
from tirgn_eqx.report.measure import Measurements as Measurements
from tirgn_eqx.report.measure import measure as measure
from tirgn_eqx.report.page import render as render
from tirgn_eqx.report.runs import TrainingRun as TrainingRun
from tirgn_eqx.report.runs import read_run as read_run
