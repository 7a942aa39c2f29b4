"""Progress reporters, which show the user how an experiment runs."""

from .base import ProgressReporter as ProgressReporter, RemoteReporterMixin as RemoteReporterMixin
from .factory import make_reporter as make_reporter, make_result_printer as make_result_printer
from .notebook import JupyterNotebookReporter as JupyterNotebookReporter
from .result_lines import TrialProgressCallback as TrialProgressCallback
from .status import CLIReporter as CLIReporter, TuneReporterBase as TuneReporterBase
from .trial_output import TrialOutputPrinter as TrialOutputPrinter
