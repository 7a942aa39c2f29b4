"""Progress reporters: what a person sees while an experiment runs."""

from prefect_tune.reporters.base import ProgressReporter
from prefect_tune.reporters.cli import CLIReporter, JupyterNotebookReporter, TuneReporterBase
from prefect_tune.reporters.factory import make_reporter

__all__ = [
    "CLIReporter",
    "JupyterNotebookReporter",
    "ProgressReporter",
    "TuneReporterBase",
    "make_reporter",
]
