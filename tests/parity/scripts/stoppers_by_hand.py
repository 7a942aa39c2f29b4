"""What stoppers say to results that are put to them one by one."""

import json

from prefect_tune.stopper import (
    ExperimentPlateauStopper,
    FunctionStopper,
    MaximumIterationStopper,
    NoopStopper,
    TimeoutStopper,
    TrialPlateauStopper,
)


def votes(stopper, values):
    """For each result whether the trial stops, and whether all do."""
    return [[bool(stopper("t", {"m": value})), bool(stopper.stop_all())] for value in values]


def refused(call):
    try:
        call()
    except ValueError:
        return True
    return False


class HalfAStopper:
    def __call__(self, trial_id, result):
        return False

    def stop_all(self):
        return False


summary = {
    "experiment": votes(ExperimentPlateauStopper("m", top=3), [1, 1, 1, 1]),
    "experiment_patience": votes(ExperimentPlateauStopper("m", top=3, patience=2), [1] * 6),
    "experiment_max": votes(ExperimentPlateauStopper("m", top=2, mode="max"), [1, 2, 3, 3, 3]),
    "trial": votes(TrialPlateauStopper("m"), [1] * 6),
    "trial_min": votes(
        TrialPlateauStopper("m", metric_threshold=0.5, mode="min"), [1] * 5 + [0.1] * 5
    ),
    "trial_max": votes(
        TrialPlateauStopper("m", metric_threshold=0.5, mode="max"), [0.1] * 5 + [1] * 6
    ),
    "trial_grace": votes(TrialPlateauStopper("m", grace_period=6), [1] * 8),
    "maximum": votes(MaximumIterationStopper(2), [1] * 4),
    "noop": votes(NoopStopper(), [1] * 2),
    "valid": [
        FunctionStopper.is_valid_function(lambda trial_id, result: True),
        FunctionStopper.is_valid_function(NoopStopper()),
        FunctionStopper.is_valid_function(5),
    ],
    "half": refused(lambda: FunctionStopper.is_valid_function(HalfAStopper())),
    "std": refused(lambda: ExperimentPlateauStopper("m", std=0)),
    "top": refused(lambda: ExperimentPlateauStopper("m", top=1)),
    "no_mode": refused(lambda: TrialPlateauStopper("m", metric_threshold=0.5)),
    "timeout": refused(lambda: TimeoutStopper("an hour")),
}
print(json.dumps(summary))
