"""The flow process of a run: ``python -m tests.chaos.sweep DIRECTORY``.

Called again after it was killed, with the same arguments, it goes on.
"""

from __future__ import annotations

import faulthandler
import json
import os
import sys
from pathlib import Path
from typing import Any

import prefect_tune as tune

from .scenario import ASHA, CLASS, CLASS_DICT, HYPERBAND, INSIDE, PAUSING, PBT, RESOURCES, Scenario
from .trainables import STATE, fault_of, read_state, trainables

NAME = "sweep"
SCENARIO_FILE, WITNESS_FILE, DIARY = "scenario.json", "witness.jsonl", "diary"
RESULTS_FILE = "results.json"


class Witness(tune.Callback):
    """Writes down what users are shown, so that it survives this process and the machine."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def on_trial_result(
        self, iteration: int, trials: Any, trial: Any, result: Any, **info: Any
    ) -> None:
        self._note(event="result", trial_id=trial.trial_id, token=result["token"], n=result["n"])

    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        self._note(event="complete", trial_id=trial.trial_id)

    def _note(self, **entry: Any) -> None:
        os.write(self._fd, json.dumps(entry).encode() + b"\n")
        os.fsync(self._fd)


def scheduler_of(scenario: Scenario) -> Any:
    """The scheduler of a run."""
    if scenario.scheduler == ASHA:
        return tune.schedulers.ASHAScheduler(max_t=scenario.steps, reduction_factor=2)
    if scenario.scheduler == HYPERBAND:
        return tune.schedulers.HyperBandScheduler(max_t=scenario.steps, reduction_factor=2)
    if scenario.scheduler == PBT:
        return tune.schedulers.PopulationBasedTraining(
            "training_iteration",
            perturbation_interval=scenario.every * (1 + scenario.seed % 2),
            quantile_fraction=0.5,
            hyperparam_mutations={"x": tune.uniform(0, 1)},
            synch=scenario.seed % 4 == 3,
        )
    if scenario.scheduler == RESOURCES:
        # What a trial gets depends on how many others are left, not on its own results: a function
        # that goes on from an earlier checkpoint then does not pause again and again.
        return tune.schedulers.ResourceChangingScheduler()
    if scenario.scheduler == PAUSING:
        from tests.schedulers.pausing import PausingScheduler

        # A function is not asked for a checkpoint: it has one where it writes one.
        return PausingScheduler(scenario.every * (1 + scenario.seed % 2))
    return None


def run(directory: Path, storage: str, cluster: str | None) -> None:
    """Begin the sweep, or go on with it."""
    scenario = Scenario.decode((directory / SCENARIO_FILE).read_text())
    if scenario.cluster == INSIDE:
        tune.init(num_cpus=3)
    by_class = scenario.trainable in (CLASS, CLASS_DICT)
    analysis = tune.run(
        trainables()[scenario.trainable],
        config={
            "x": tune.uniform(0, 1),
            "steps": scenario.steps,
            "step_s": scenario.step_s,
            "every": scenario.every,
            "diary": str(directory / DIARY),
        },
        name=NAME,
        num_samples=scenario.trials,
        metric="score",
        mode="max",
        search_alg="optuna" if scenario.optuna else None,
        scheduler=scheduler_of(scenario),
        storage_path=storage,
        keep_checkpoints_num=scenario.keep if scenario.checkpoints else None,
        checkpoint_score_attr="score" if scenario.scored and scenario.checkpoints else None,
        checkpoint_freq=scenario.every if by_class else 0,
        checkpoint_at_end=by_class and scenario.seed % 2 == 0,
        max_failures=-1,
        resume="AUTO",
        cluster=cluster,
        orchestrate=scenario.prefect,
        callbacks=[Witness(directory / WITNESS_FILE)],
        seed=scenario.seed,
        verbose=1,
    )
    (directory / RESULTS_FILE).write_text(json.dumps(look(analysis)))


def look(analysis: tune.ExperimentAnalysis) -> dict[str, list[Any]]:
    """What the checkpoints hold that the results lead to: by trial, the newest and the best."""
    seen: dict[str, list[Any]] = {}
    for trial in analysis.trials:
        found = analysis.get_last_checkpoint(trial), analysis.get_best_checkpoint(trial)
        seen[trial.trial_id] = [None if one is None else content(one, trial) for one in found]
    return seen


def content(checkpoint: tune.Checkpoint, trial: Any) -> Any:
    """The iteration that a checkpoint holds, or what is wrong with it."""
    try:
        with checkpoint.as_directory() as directory:
            if Path(directory, STATE).exists():
                state, data = read_state(Path(directory))
            else:
                saved = checkpoint.to_dict()
                state, data = saved["state"], saved["payload"]
        return fault_of(state, data, trial.trial_id) or state["iteration"]
    except Exception as error:  # whatever it is, it goes into the report
        return repr(error)


if __name__ == "__main__":
    faulthandler.enable()  # SIGABRT then shows where it hangs
    run(Path(sys.argv[1]), sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else None)
