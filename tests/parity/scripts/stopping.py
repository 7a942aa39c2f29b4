"""Every way to say when a trial has run enough."""

import json

import prefect_tune as tune
from prefect_tune import Stopper
from prefect_tune.stopper import (
    CombinedStopper,
    ExperimentPlateauStopper,
    FunctionStopper,
    MaximumIterationStopper,
    TrialPlateauStopper,
)


def train(config):
    for i in range(20):
        tune.report({"acc": config["speed"] * i, "flat": 1.0, "info": {"epoch": i}})


def iterations(stop):
    analysis = tune.run(
        train,
        config={"speed": tune.grid_search([1, 2])},
        stop=stop,
        max_concurrent_trials=1,
        verbose=0,
    )
    return [trial.last_result.get("training_iteration") for trial in analysis.trials]


class StopWhenAnyReaches(Stopper):
    """Once one trial is good enough, all end."""

    def __init__(self):
        self.should_stop = False

    def __call__(self, trial_id, result):
        if not self.should_stop and result["acc"] >= 5:
            self.should_stop = True
        return self.should_stop

    def stop_all(self):
        return self.should_stop


def by_function(trial_id, result):
    return result["acc"] > 7 or result["time_total_s"] > 600


print(
    json.dumps(
        {
            "dict": iterations({"training_iteration": 6}),
            "dict_of_two": iterations({"acc": 10, "training_iteration": 8}),
            "nested_key": iterations({"info/epoch": 3}),
            "function": iterations(by_function),
            "lambda": iterations(lambda trial_id, result: result["acc"] >= 4),
            "subclass": iterations(StopWhenAnyReaches())[0],
            "maximum": iterations(MaximumIterationStopper(max_iter=5)),
            "plateau": iterations(TrialPlateauStopper("flat", std=0.01, num_results=3)),
            "experiment": iterations(ExperimentPlateauStopper("flat", top=4))[0],
            "combined": iterations(
                CombinedStopper(MaximumIterationStopper(9), FunctionStopper(by_function))
            ),
            "list": iterations([MaximumIterationStopper(9), TrialPlateauStopper("acc")]),
        }
    )
)
