"""The package as a whole: what it exports, and what importing it costs."""

from __future__ import annotations

import importlib.metadata
import pkgutil
import subprocess
import sys

import pytest

import prefect_tune as tune
from tests.new_process import output_of

PUBLIC = {
    "Callback",
    "CLIReporter",
    "Checkpoint",
    "CheckpointConfig",
    "DurableTrainable",
    "ExperimentAnalysis",
    "FailureConfig",
    "PlacementGroupFactory",
    "ProgressReporter",
    "Result",
    "ResultGrid",
    "ResumeConfig",
    "RunConfig",
    "Stopper",
    "TuneConfig",
    "TuneError",
    "Tuner",
    "__version__",
    "checkpoint_dir",
    "choice",
    "create_scheduler",
    "create_searcher",
    "durable",
    "get_checkpoint",
    "get_context",
    "get_trial_dir",
    "get_trial_id",
    "get_trial_name",
    "get_trial_resources",
    "grid_search",
    "init",
    "is_initialized",
    "is_session_enabled",
    "lograndint",
    "loguniform",
    "make_checkpoint_dir",
    "qlograndint",
    "qloguniform",
    "qrandint",
    "qrandn",
    "quniform",
    "randint",
    "randn",
    "report",
    "run",
    "sample_from",
    "save_checkpoint",
    "shutdown",
    "trial_workers",
    "uniform",
    "with_parameters",
    "with_resources",
}


def test_the_public_names_are_these():
    assert set(tune.__all__) >= PUBLIC
    assert len(tune.__all__) == len(set(tune.__all__))
    assert set(tune.__all__) <= set(dir(tune))


@pytest.mark.parametrize("name", tune.__all__)
def test_every_public_name_can_be_had_and_is_documented(name):
    value = getattr(tune, name)
    assert name.startswith("__") or (value.__doc__ or "").strip()


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = tune.no_such_name


def test_importing_the_package_loads_nothing_heavy():
    """Nor does `prefect_tune.tune`, which comes to each trial process with `tune.report`."""
    script = (
        "import sys, prefect_tune.tune; "
        "print([m for m in ('prefect', 'distributed', 'dask', 'numpy', 'pandas', 'optuna', "
        "'pydantic', 'rich', 'prefect_tune.engine') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("module", ["air", "schedulers", "search", "session", "stopper", "suggest"])
def test_modules_are_reached_as_attributes(module):
    assert getattr(tune, module).__name__ == f"prefect_tune.{module}"


def test_run_stays_a_function_after_its_module_is_imported():
    script = (
        "import prefect_tune.tune, prefect_tune as tune; from prefect_tune.tune import run; "
        "assert tune.run is run"
    )
    output_of(script)


def test_no_module_takes_the_place_of_a_public_function():
    # Importing `prefect_tune.<name>` sets the attribute `<name>` of the package to the module.
    script = """
import pkgutil, types
import prefect_tune
modules = {found.name for found in pkgutil.iter_modules(prefect_tune.__path__)}
public = modules & set(prefect_tune.__all__)
print(*(n for n in public if not isinstance(getattr(prefect_tune, n), types.ModuleType)))
"""
    assert output_of(script).split() == []


def test_no_module_is_called_like_a_library():
    """Prefect has the directory first on the import path where it loads `flows.py` by its path."""
    libraries = {*importlib.metadata.packages_distributions(), *sys.stdlib_module_names}
    assert {"cloudpickle", "json"} <= libraries
    assert not libraries & {module.name for module in pkgutil.iter_modules(tune.__path__)}
