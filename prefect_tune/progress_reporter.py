"""Ray Tune's import path of the progress reporters."""

from prefect_tune.reporters import (
    CLIReporter,
    JupyterNotebookReporter,
    ProgressReporter,
    RemoteReporterMixin,
    TrialProgressCallback,
    TuneReporterBase,
)

__all__ = [
    "CLIReporter",
    "JupyterNotebookReporter",
    "ProgressReporter",
    "RemoteReporterMixin",
    "TrialProgressCallback",
    "TuneReporterBase",
]
