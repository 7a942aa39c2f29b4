"""The import lines of Ray Tune scripts, after `ray.tune`, `ray.air` ... have been replaced."""

from __future__ import annotations

import pytest

import prefect_tune
from tests.new_process import output_of

LINES = """
from prefect_tune import tune
from prefect_tune import air, tune
from prefect_tune import train, tune
from prefect_tune import Tuner, TuneConfig, RunConfig, CheckpointConfig, FailureConfig, ResultGrid
from prefect_tune import Callback, CLIReporter, JupyterNotebookReporter, ExperimentAnalysis
from prefect_tune import PlacementGroupFactory, Stopper, Trainable, TuneError, register_trainable
from prefect_tune.air import RunConfig, CheckpointConfig, FailureConfig, Result, session
from prefect_tune.air.config import RunConfig, FailureConfig, CheckpointConfig
from prefect_tune.air.session import report, get_checkpoint, get_trial_id
from prefect_tune.analysis import ExperimentAnalysis
from prefect_tune.callback import Callback
from prefect_tune.error import TuneError
from prefect_tune.experiment import Trial
from prefect_tune.experiment.trial import Trial
from prefect_tune.logger import LoggerCallback, CSVLoggerCallback, JsonLoggerCallback
from prefect_tune.logger import TBXLoggerCallback
from prefect_tune.progress_reporter import CLIReporter, ProgressReporter
from prefect_tune.registry import register_trainable
from prefect_tune.result import TRAINING_ITERATION, DONE, TIME_TOTAL_S
from prefect_tune.result_grid import ResultGrid
from prefect_tune.sample import Categorical, Domain, Float, Integer
from prefect_tune.schedulers import ASHAScheduler, AsyncHyperBandScheduler, FIFOScheduler
from prefect_tune.schedulers import MedianStoppingRule, TrialScheduler, create_scheduler
from prefect_tune.schedulers.async_hyperband import ASHAScheduler
from prefect_tune.schedulers.median_stopping_rule import MedianStoppingRule
from prefect_tune.schedulers.trial_scheduler import FIFOScheduler, TrialScheduler
from prefect_tune.search import BasicVariantGenerator, ConcurrencyLimiter, Repeater, Searcher
from prefect_tune.search.optuna import OptunaSearch
from prefect_tune.search.sample import Categorical, Domain, Float, Integer
from prefect_tune.stopper import CombinedStopper, ExperimentPlateauStopper, FunctionStopper
from prefect_tune.stopper import MaximumIterationStopper, NoopStopper, Stopper, TimeoutStopper
from prefect_tune.stopper import TrialPlateauStopper
from prefect_tune.suggest import BasicVariantGenerator, ConcurrencyLimiter, Repeater, Searcher
from prefect_tune.suggest.basic_variant import BasicVariantGenerator
from prefect_tune.suggest.optuna import OptunaSearch
from prefect_tune.suggest.suggestion import Searcher
from prefect_tune.train import RunConfig, get_context, report
from prefect_tune.trainable import Trainable
from prefect_tune.trial import ExportFormat, Trial
from prefect_tune.tune_config import TuneConfig
from prefect_tune.tuner import Tuner
""".strip().splitlines()

SAME = [
    "RunConfig air.RunConfig air.config.RunConfig train.RunConfig",
    "report session.report train.report",
    "run tune.run",
    "uniform tune.uniform",
    "experiment.Trial trial.Trial",
    "search.ConcurrencyLimiter suggest.ConcurrencyLimiter",
    "sample.Float search.sample.Float",
    "ResultGrid result_grid.ResultGrid",
]


@pytest.mark.parametrize("line", LINES)
def test_the_line_works(line):
    exec(line, {})


@pytest.mark.parametrize("line", LINES[:3])
def test_the_namespace_can_be_had_before_anything_else_is_imported(line):
    script = f"{line}; tune.uniform, tune.schedulers.ASHAScheduler, tune.run"
    output_of(script)


def reach(path):
    value = prefect_tune
    for name in path.split("."):
        value = getattr(value, name)
    return value


@pytest.mark.parametrize("names", SAME)
def test_names_of_one_thing_lead_to_the_same_object(names):
    for line in LINES:
        exec(line, {})  # modules are attributes once they are loaded
    first, *others = map(reach, names.split())
    assert all(other is first for other in others)


def test_the_module_that_stands_for_ray_tune_is_no_second_package():
    from prefect_tune import tune

    assert not hasattr(tune, "__path__")
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = tune.no_such_name
