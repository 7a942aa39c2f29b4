"""The table for users of Ray Tune says what there is."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

import prefect_tune

PAGE = Path(__file__).parents[2] / "docs" / "guides" / "coming-from-ray-tune.md"
ROW = re.compile(r"^\| (`.*?`) \| (same|different|no|not yet) \|", re.MULTILINE)
NAMES = [
    (name, state)
    for cell, state in ROW.findall(PAGE.read_text(encoding="utf-8"))
    for name in re.findall(r"`([\w.]+)`", cell)
]
#: What `ray.tune` exports in its versions 1.6, 2.0 and 2.60.
RAY_TUNE = """
    Trainable Callback TuneError grid_search register_env register_trainable run run_experiments
    with_parameters Stopper Experiment sample_from uniform quniform choice randint lograndint
    qrandint qlograndint randn qrandn loguniform qloguniform ExperimentAnalysis CLIReporter
    JupyterNotebookReporter ProgressReporter report SyncConfig create_searcher create_scheduler
    PlacementGroupFactory get_trial_dir get_trial_name get_trial_id get_trial_resources
    is_session_enabled checkpoint_dir DurableTrainable durable EarlyStopping function track Analysis
    make_checkpoint_dir save_checkpoint with_resources ResultGrid Tuner TuneConfig ResumeConfig
    RunConfig CheckpointConfig FailureConfig Result Checkpoint get_checkpoint get_context
    TuneContext
""".split()


def find(name: str) -> object:
    """What a name of the table leads to here."""
    first, *rest = name.split(".")
    path = ["prefect_tune", *([] if first == "tune" else [first]), *rest]
    for length in range(len(path) - 1, 0, -1):
        try:
            value = importlib.import_module(".".join(path[:length]))
        except ModuleNotFoundError:
            continue
        for part in path[length:]:
            value = getattr(value, part)
        return value
    raise ImportError(name)


@pytest.mark.parametrize(("name", "state"), NAMES, ids=lambda value: value)
def test_a_name_is_here_or_not_as_the_table_says(name, state):
    if state in ("same", "different"):
        assert find(name) is not None
    else:
        with pytest.raises(
            (ImportError, AttributeError),
            match=r"still to come|is not in prefect_tune|no attribute",
        ):
            find(name)


def test_every_name_of_ray_tune_is_in_the_table_once():
    names = [name for name, _ in NAMES]
    assert len(names) == len(set(names))
    assert not {f"tune.{name}" for name in RAY_TUNE} - set(names)


def test_every_name_of_prefect_tune_is_on_the_page():
    text = PAGE.read_text(encoding="utf-8")
    names = [name for name in prefect_tune.__all__ if not name.startswith("_")]
    assert not [name for name in names if f"`tune.{name}`" not in text]
