"""Whoever reads the directory of a running sweep sees its trials as the sweep itself does."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import prefect_tune as tune
from prefect_tune.experiment.trial import Trial

LET_GO = threading.Event()


def train(config: dict[str, Any]) -> None:
    tune.report({"loss": config["x"]})
    if config["x"] == 1:
        raise ValueError("bad x")
    if config["x"] == 3:
        assert LET_GO.wait(60)
    tune.report({"loss": config["x"]})


class AskAnotherProcess(tune.Callback):
    """Asks for the statuses once three trials have ended and the fourth runs."""

    def __init__(self) -> None:
        self.answers: list[tuple[list[str], list[str]]] = []

    def on_step_end(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        now = [trial.status for trial in trials]
        if LET_GO.is_set() or now[:4] != ["TERMINATED", "ERROR", "TERMINATED", "RUNNING"]:
            return
        code = (
            "import sys; from prefect_tune.results import ExperimentAnalysis;"
            "print(*(t.status for t in ExperimentAnalysis(sys.argv[1]).trials))"
        )
        said = subprocess.run(
            [sys.executable, "-c", code, trials[0].local_experiment_dir],
            capture_output=True,
            text=True,
            check=True,
        )
        self.answers.append((said.stdout.split(), [trial.status for trial in trials]))
        LET_GO.set()


def test_another_process_says_the_same_status_as_the_running_driver(
    tmp_path: Path, cluster: None
) -> None:
    asked = AskAnotherProcess()
    analysis = tune.run(
        train,
        config={"x": tune.grid_search([0, 1, 2, 3, 4, 5])},
        stop=lambda trial_id, result: result["loss"] == 2,
        max_concurrent_trials=1,
        callbacks=[asked],
        storage_path=str(tmp_path),
        isolation="thread",
        orchestrate=False,
        raise_on_failed_trial=False,
        verbose=0,
    )
    ((read, known),) = asked.answers
    assert read == known
    again = tune.ExperimentAnalysis(analysis.experiment_path)
    assert [t.status for t in again.trials] == [t.status for t in analysis.trials]
    for part in ("trials", "results", "status", "start_time"):
        assert again.stats()[part] == analysis.stats()[part]
