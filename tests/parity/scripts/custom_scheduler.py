"""Schedulers of one's own: one that stops, one that also chooses."""

import json

import prefect_tune as tune
from prefect_tune.experiment import Trial
from prefect_tune.schedulers import FIFOScheduler, TrialScheduler


class Target(FIFOScheduler):
    """Stops a trial as soon as it is good enough."""

    def __init__(self, target):
        super().__init__()
        self.target = target
        self.seen = []

    def on_trial_result(self, tune_controller, trial, result):
        self.seen.append([trial.config["speed"], result["training_iteration"]])
        if result["score"] >= self.target:
            return TrialScheduler.STOP
        return TrialScheduler.CONTINUE


class LastFirst(TrialScheduler):
    """Runs the newest waiting trial first."""

    def __init__(self):
        super().__init__()
        self.events = []

    def set_search_properties(self, metric, mode, **spec):
        self.events.append(["properties", metric, mode])
        return True

    def on_trial_add(self, tune_controller, trial):
        self.events.append(["add", trial.config["speed"]])

    def on_trial_error(self, tune_controller, trial):
        self.events.append(["error", trial.config["speed"]])

    def on_trial_result(self, tune_controller, trial, result):
        assert trial in tune_controller.get_trials()
        return TrialScheduler.CONTINUE

    def on_trial_complete(self, tune_controller, trial, result):
        self.events.append(["complete", trial.config["speed"], result["score"]])

    def on_trial_remove(self, tune_controller, trial):
        self.events.append(["remove", trial.config["speed"]])

    def choose_trial_to_run(self, tune_controller):
        waiting = [trial for trial in tune_controller.get_trials() if trial.status == Trial.PENDING]
        return waiting[-1] if waiting else None

    def debug_string(self):
        return "last first"


def objective(config):
    for i in range(1, 6):
        if config["speed"] == 3 and i == 3:
            raise ValueError("too fast")
        tune.report({"score": config["speed"] * i})


target = Target(6)
analysis = tune.run(
    objective,
    config={"speed": tune.grid_search([1, 2])},
    scheduler=target,
    max_concurrent_trials=1,
    verbose=0,
)
own = LastFirst()
order = tune.run(
    objective,
    config={"speed": tune.grid_search([1, 2, 3])},
    scheduler=own,
    metric="score",
    mode="max",
    resources_per_trial={"cpu": 2},
    raise_on_failed_trial=False,
    verbose=0,
)
print(
    json.dumps(
        {
            "seen": target.seen,
            "iterations": [t.last_result["training_iteration"] for t in analysis.trials],
            "events": sorted(own.events, key=str),
            "statuses": [trial.status for trial in order.trials],
        }
    )
)
