"""Class trainables: a reused process, results, resources, export, pauses."""

import json
import os
import tempfile

import prefect_tune as tune

root = tempfile.mkdtemp()
log = os.path.join(root, "log")


class Trainer(tune.Trainable):
    def setup(self, config, data=None):
        self.write("setup")
        self.data = data
        self.rate = config["rate"]
        self.total = 0.0

    def write(self, what):
        with open(log, "a") as file:
            file.write(f"{os.getpid()} {what}\n")

    def step(self):
        self.total += self.rate * sum(self.data)
        return {
            "score": self.total,
            "iteration": self.iteration,
            "in_its_directory": os.path.basename(self.logdir).startswith(self.trial_name),
            "trial": self.trial_name.endswith(self.trial_id),
            "timesteps_this_iter": 10,
        }

    def reset_config(self, new_config):
        self.write("reset")
        self.rate = self.config["rate"]
        self.total = 0.0
        return not new_config.get("refuses", False)

    def save_checkpoint(self, checkpoint_dir):
        return {"total": self.total}

    def load_checkpoint(self, checkpoint):
        self.total = checkpoint["total"]

    def cleanup(self):
        self.write("cleanup")


def count(what):
    with open(log) as file:
        lines = [line.split() for line in file]
    return len([1 for _, said in lines if said == what]), len({pid for pid, _ in lines})


def run(**arguments):
    if os.path.exists(log):
        os.remove(log)
    return tune.run(
        tune.with_parameters(Trainer, data=[1, 2, 3]),
        stop={"training_iteration": 3},
        resources_per_trial={"cpu": 2},
        storage_path=root,
        verbose=0,
        **arguments,
    )


summary = {}
grid = {"rate": tune.grid_search([1, 2, 3])}
analysis = run(config=grid, reuse_actors=True)
summary["reused"] = {
    "scores": [trial.last_result["score"] for trial in analysis.trials],
    "iterations": [trial.last_result["iteration"] for trial in analysis.trials],
    "since_restore": [trial.last_result["iterations_since_restore"] for trial in analysis.trials],
    "timesteps": [trial.last_result["timesteps_total"] for trial in analysis.trials],
    "right": all(
        trial.last_result["in_its_directory"] and trial.last_result["trial"]
        for trial in analysis.trials
    ),
    "setups_resets_cleanups": [count(what)[0] for what in ("setup", "reset", "cleanup")],
    "processes": count("setup")[1],
}
analysis = run(config=grid, reuse_actors=False)
summary["fresh"] = {
    "scores": [trial.last_result["score"] for trial in analysis.trials],
    "setups_resets_cleanups": [count(what)[0] for what in ("setup", "reset", "cleanup")],
    "processes": count("setup")[1],
}
analysis = run(
    config={"rate": tune.grid_search([1, 2]), "refuses": True},
    reuse_actors=True,
    raise_on_failed_trial=False,
)
summary["refused"] = sorted(trial.status for trial in analysis.trials)


class Asks(Trainer):
    @classmethod
    def default_resource_request(cls, config):
        return tune.PlacementGroupFactory([{"CPU": config["rate"]}])

    def step(self):
        return {"cpus": self.trial_resources.required_resources["CPU"], "done": True}


analysis = tune.run(Asks, config={"rate": 2}, storage_path=root, verbose=0)
summary["cpus"] = analysis.trials[0].last_result["cpus"]
try:
    tune.run(Asks, config={"rate": 2}, resources_per_trial={"cpu": 1}, verbose=0)
except (ValueError, tune.TuneError):
    summary["conflict"] = True

print(json.dumps(summary))
