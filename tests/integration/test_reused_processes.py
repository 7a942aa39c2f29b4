"""Sweeps whose trial processes and objects serve one trial after another."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest

import prefect_tune as tune
from tests.schedulers.pausing import PausingScheduler


class Counts(tune.Trainable):
    def setup(self, config, data=None):
        self.setups = 1
        self.data = data
        self.start()

    def start(self):
        self.n = 0
        self.trials = getattr(self, "trials", 0) + 1

    def reset_config(self, new_config):
        self.start()
        return True

    def step(self):
        self.n += 1
        print("step", self.n, "of", self.trial_id)
        if self.config.get("dies") and self.n == 2 and not Path("died").exists():
            Path("died").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return {
            "n": self.n,
            "sum": float(self.data.sum()),
            "trials": self.trials,
            "a": self.config["a"],
            "here": os.getcwd() == self.logdir,
        }

    def save_checkpoint(self, checkpoint_dir):
        return {"n": self.n}

    def load_checkpoint(self, checkpoint):
        self.n = checkpoint["n"]


@pytest.fixture
def run(tmp_path):
    def run(config, **arguments):
        return tune.run(
            tune.with_parameters(Counts, data=np.ones(1 << 20)),
            config={"a": tune.grid_search(list(range(6))), **config},
            stop={"n": 6},
            reuse_actors=True,
            storage_path=str(tmp_path),
            orchestrate=False,
            verbose=0,
            **arguments,
        )

    return run


def check(analysis):
    for trial in analysis.trials:
        assert trial.status == "TERMINATED"
        result = trial.last_result
        assert (result["n"], result["training_iteration"]) == (6, 6)
        assert result["a"] == trial.config["a"]
        assert result["sum"] == 1 << 20
        assert result["here"]
        printed = Path(trial.local_path, "stdout").read_text().splitlines()
        assert {line.split()[-1] for line in printed} == {trial.trial_id}
        assert [int(line.split()[1]) for line in printed][-1] == 6


def pids(analysis):
    return {trial.last_result["pid"] for trial in analysis.trials}


def test_few_processes_serve_all_trials(run):
    analysis = run({})

    check(analysis)
    assert len(pids(analysis)) <= 2 < len(analysis.trials)
    assert max(trial.last_result["trials"] for trial in analysis.trials) >= 3


def test_paused_trials_go_on_in_whatever_process_is_free(run):
    analysis = run({}, scheduler=PausingScheduler(slice_length=2))

    check(analysis)
    assert len(pids(analysis)) <= 2
    assert max(trial.last_result["trials"] for trial in analysis.trials) > 6


def test_a_killed_process_costs_its_trial_one_attempt_and_the_others_nothing(run):
    analysis = run({"dies": tune.grid_search([True, False])}, checkpoint_freq=1, max_failures=1)

    assert {trial.status for trial in analysis.trials} == {"TERMINATED"}
    assert {trial.last_result["training_iteration"] for trial in analysis.trials} == {6}
    failed = [trial for trial in analysis.trials if trial.num_failures]
    assert [trial.config["dies"] for trial in failed] == [True] * 6
