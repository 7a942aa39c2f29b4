"""Progress reporters, which show the user how an experiment runs."""

from prefect_tune.reporters.base import ProgressReporter, RemoteReporterMixin
from prefect_tune.reporters.factory import make_reporter, make_result_printer
from prefect_tune.reporters.notebook import JupyterNotebookReporter
from prefect_tune.reporters.result_lines import TrialProgressCallback
from prefect_tune.reporters.status import CLIReporter, TuneReporterBase
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
    "make_result_printer",
]
