"""Scripts as users of Ray Tune write them, here after the change of their imports.

Each prints a summary of what happened. `ray_2_60.jsonl` holds what the same scripts printed on Ray
Tune 2.60, two CPUs, with their imports changed back; it was made with ::

    python run_scripts.py --ray scripts/*.py | jq -c '{script, summary}' > ray_2_60.jsonl

Scripts in the style of older versions do not run there any more; for these, `BY_CONTRACT` says what
those versions did.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ..warm_python import start_script

HERE = Path(__file__).parent
SCRIPTS = sorted(path.stem for path in (HERE / "scripts").glob("*.py"))
ON_RAY: dict[str, dict[str, Any]] = {
    line["script"]: line["summary"]
    for line in map(json.loads, (HERE / "ray_2_60.jsonl").read_text().splitlines())
}

#: Where something else than on Ray 2.60 is wanted: (script, key) -> value and why.
DIFFERENCES: dict[tuple[str, str], tuple[Any, str]] = {
    ("endings", "sys.exit(0)"): (
        [False, 1, []],
        "It is how a program says that all went well; Ray trips over the thread that is gone.",
    ),
    ("grid", "is_done"): (
        True,
        "The data frame shows trials as they ended; Ray's is read from the last logged line.",
    ),
    ("inside_a_trial", "cwd_is_trial_dir"): (
        True,
        "As in Ray 1 and 2.0; 2.60 changes into a directory of the session.",
    ),
    ("log_to_file", "true"): (
        {"stdout": ["output"], "stderr": ["error"]},
        "In the trial's directory, as in Ray 1 and 2.0; 2.60 has a working directory elsewhere.",
    ),
    ("log_to_file", "one"): (
        {"a.log": ["output", "error"]},
        "In the trial's directory, as in Ray 1 and 2.0; 2.60 has a working directory elsewhere.",
    ),
    ("log_to_file", "two"): (
        {"o.log": ["output"], "e.log": ["error"]},
        "In the trial's directory, as in Ray 1 and 2.0; 2.60 has a working directory elsewhere.",
    ),
}

BY_CONTRACT: dict[str, dict[str, Any]] = {
    "old_analysis": {
        "configs": [
            {"n": 5, "a": 1, "alpha": 10, "beta": 11},
            {"n": 5, "a": 2, "alpha": 20, "beta": 21},
        ],
        "scores": [2, 4],  # `done=True` in a report ends the trial there
        "timesteps": [20, 20],
        "best_config": {"n": 5, "a": 2, "alpha": 20, "beta": 21},
        "best_logdir": True,
        "frames": [3, 3],
        "json_frames": [3, 3],
        "configs_by_dir": [1, 2],
        "prefixed": ["config/a", "config/alpha", "config/beta", "config/n"],
        "results": [2, 4],
        "loaded": [{"n": 5, "a": 2, "alpha": 20, "beta": 21}, 2, "TERMINATED"],
        "max_frame": [2, 4],
        "stats": [2, 4],
        "metric": [0.25, True, True],
        "outside": [False],
    },
    "old_checkpoints": {
        "lr": 0.25,
        **dict.fromkeys(("value", "dir_or_data", "air", "path", "as_directory"), 1.0),
        "metrics": 1.0,
        "same": True,
        "of_analysis": 1.0,
        "has": [True, True],
        "in_callbacks": 8,
    },
    "old_method_names": {
        "accuracy": 5,
        "since_restore": 3,
        "checkpoint": True,
        "stopped": True,
        "modern": [4, 1],
    },
    "old_session": {
        "trials": 3,
        "best_b": 2.0,
        "iterations": [4, 4, 4],
        "name": True,
        "log_dir": True,
        "callback": 12,
        "again": True,
        "frame": 4,
    },
    "old_train_namespace": {"iterations": [8, 2, 2, 2], "best": {"lr": 4}, "errors": 0},
    "old_tune_run": {
        "trials": 6,
        "steps": 12,
        "keys": ["activation", "height", "steps", "width"],
        "neg_mean_loss": True,
        "logdir": True,
        "asha": 12,
        "positional": [2, 2],
        "positional_dir": "by_position",
    },
    "old_uniform_one_number": {
        "trials": 90,
        "uniform": True,
        "first_layers": [[a, b] for b in (16, 64, 256) for a in (16, 64, 256)],
        "distinct": 90,
    },
}


def expected(script: str) -> dict[str, Any]:
    if script in BY_CONTRACT:
        return BY_CONTRACT[script]
    wanted = {key: value for (name, key), (value, _) in DIFFERENCES.items() if name == script}
    return {**ON_RAY[script], **wanted}


@pytest.fixture(scope="session")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What came out of each script; half of them run in one process, half in another."""
    environment = {
        **os.environ,
        "TUNE_RESULT_DIR": str(tmp_path_factory.mktemp("results")),
        "PREFECT_TUNE_ORCHESTRATE": "0",
    }
    running = [
        start_script(
            [sys.executable, str(HERE / "run_scripts.py")]
            + [str(HERE / "scripts" / f"{script}.py") for script in SCRIPTS[half::2]],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        for half in range(2)
    ]
    lines = [line for process in running for line in process.communicate()[0].splitlines()]
    return {outcome["script"]: outcome for outcome in map(json.loads, lines)}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("script", SCRIPTS)
def test_the_script_does_what_it_does_on_ray(outcomes, script):
    outcome = outcomes[script]
    assert outcome["error"] is None, outcome["error"]
    assert outcome["summary"] == expected(script)


def test_progress_tables_have_the_chosen_columns(outcomes):
    *_, last_table = outcomes["cli_reporter"]["output"].split("== Status ==")
    assert "Number of trials: 3/3 (3 TERMINATED)" in last_table
    (header,) = [line for line in last_table.splitlines() if "Trial name" in line]
    assert header.replace("|", " ").split() == "Trial name status loc lr Loss It wide".split()


def test_differences_are_real():
    for (script, key), (value, _) in DIFFERENCES.items():
        assert ON_RAY[script][key] != value
