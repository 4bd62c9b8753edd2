"""Pages as one HTML file: about trainings, what their files say and their checkpoints forecast; about what may come."""

from tirgn_eqx.report.briefing import Briefing as Briefing
from tirgn_eqx.report.briefing import BriefingOptions as BriefingOptions
from tirgn_eqx.report.briefing import make_briefing as make_briefing
from tirgn_eqx.report.briefing_page import render_briefing as render_briefing
from tirgn_eqx.report.evaluations import RunComparison as RunComparison
from tirgn_eqx.report.evaluations import read_document as read_document
from tirgn_eqx.report.evaluations import read_documents as read_documents
from tirgn_eqx.report.measure import Measurements as Measurements
from tirgn_eqx.report.measure import measure as measure
from tirgn_eqx.report.page import render as render
from tirgn_eqx.report.runs import TrainingRun as TrainingRun
from tirgn_eqx.report.runs import read_run as read_run
