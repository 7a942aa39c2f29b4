"""Names of trials and directories, and what lies where."""

import json
import os
import tempfile

import prefect_tune as tune


def my_trainable(config):
    for i in range(2):
        tune.report({"loss": config["lr"] * i})


def trial_name_string(trial):
    return f"{trial.trainable_name}-{trial.config['lr']}"


root = tempfile.mkdtemp()
tuner = tune.Tuner(
    my_trainable,
    param_space={"lr": tune.grid_search([0.1, 0.25]), "model": {"size": tune.choice([3])}},
    tune_config=tune.TuneConfig(
        trial_name_creator=trial_name_string,
        trial_dirname_creator=lambda trial: f"lr_{trial.config['lr']}",
    ),
    run_config=tune.RunConfig(name="my_experiment", storage_path=root),
)
results = tuner.fit()
first = results[0].path
with open(os.path.join(first, "params.json")) as file:
    params = json.load(file)
summary = {
    "experiment": os.path.basename(results.experiment_path),
    "under_root": os.path.realpath(results.experiment_path).startswith(os.path.realpath(root)),
    "directories": sorted(n for n in os.listdir(os.path.join(root, "my_experiment")) if "lr" in n),
    "params": params,
    "files": sorted(n for n in os.listdir(first) if "tfevents" not in n),
    "tensorboard": any("tfevents" in name for name in os.listdir(first)),
    "tags": sorted(result.metrics["experiment_tag"] for result in results),
}

analysis = tune.run(my_trainable, name="second", storage_path=root, config={"lr": 1}, verbose=0)
(trial,) = analysis.trials
directory = os.path.basename(trial.local_path)
summary["default_name"] = str(trial) == f"my_trainable_{trial.trial_id}"
summary["id_shape"] = [len(part) for part in trial.trial_id.split("_")]
summary["default_directory"] = directory.startswith(f"my_trainable_{trial.trial_id}_0_")
analysis = tune.run(
    my_trainable,
    storage_path=root,
    config={"lr": tune.grid_search([0.123456789]), "b": {"c": tune.choice(["x/y"])}},
    verbose=0,
)
(trial,) = analysis.trials
directory = os.path.basename(trial.local_path)
summary["tag_in_directory"] = directory[
    len(f"my_trainable_{trial.trial_id}_") : -len("_dddd-mm-dd_hh-mm-ss")
]
experiment = os.path.basename(os.path.dirname(trial.path))
summary["dated"] = experiment.startswith("my_trainable_20") and len(experiment) == 32
try:
    tune.run(my_trainable, config={"lr": 1}, trial_dirname_creator=lambda t: "a/b", verbose=0)
    summary["slash"] = "nothing"
except (ValueError, tune.TuneError):
    summary["slash"] = "error"
print(json.dumps(summary))
