"""Progress reporters: what a person sees while an experiment runs."""

from prefect_tune.reporters.base import ProgressReporter
from prefect_tune.reporters.cli import CLIReporter
from prefect_tune.reporters.factory import make_reporter, result_lines
from prefect_tune.reporters.notebook import JupyterNotebookReporter
from prefect_tune.reporters.remote import RemoteReporterMixin
from prefect_tune.reporters.result_lines import TrialProgressCallback
from prefect_tune.reporters.status import TuneReporterBase
from prefect_tune.reporters.trial_output import TrialOutputPrinter

__all__ = [
    "CLIReporter",
    "JupyterNotebookReporter",
    "ProgressReporter",
    "RemoteReporterMixin",
    "TrialOutputPrinter",
    "TrialProgressCallback",
    "TuneReporterBase",
    "make_reporter",
    "result_lines",
]
