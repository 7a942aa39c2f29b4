"""What a trial knows about itself."""

import json
import os

import prefect_tune as tune


def train(config):
    context = tune.get_context()
    with open("left_here.txt", "w") as file:
        file.write("x")
    tune.report(
        {
            "id": context.get_trial_id(),
            "name": context.get_trial_name(),
            "dir": context.get_trial_dir(),
            "experiment": context.get_experiment_name(),
            "cwd": os.getcwd(),
            "has_dir": os.path.isdir(context.get_trial_dir()),
            "checkpoint": tune.get_checkpoint() is None,
            "config_is_own": config == {"x": 1},
        }
    )


analysis = tune.run(train, name="inside", config={"x": 1}, verbose=0)
(trial,) = analysis.trials
result = trial.last_result
print(
    json.dumps(
        {
            "id": result["id"] == trial.trial_id == result["trial_id"],
            "name": result["name"] == str(trial),
            "same_dir_name": os.path.basename(result["dir"]) == os.path.basename(trial.local_path),
            "experiment": result["experiment"],
            "cwd_is_trial_dir": os.path.realpath(result["cwd"]) == os.path.realpath(result["dir"]),
            "has_dir": result["has_dir"],
            "no_checkpoint": result["checkpoint"],
            "config_is_own": result["config_is_own"],
            "own_process": result["pid"] != os.getpid(),
        }
    )
)
