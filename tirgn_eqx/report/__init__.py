"""Pages about trainings: what their files say, what their checkpoints forecast, as one HTML file."""

from tirgn_eqx.report.documents import Comparison as Comparison
from tirgn_eqx.report.documents import read_all as read_all
from tirgn_eqx.report.documents import read_runs as read_runs
from tirgn_eqx.report.measure import measure as measure
from tirgn_eqx.report.page import render as render
from tirgn_eqx.report.runs import Run as Run
from tirgn_eqx.report.runs import read_run as read_run
