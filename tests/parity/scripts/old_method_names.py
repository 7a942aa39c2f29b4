"""A class of Ray 0.6 to 0.8: `_setup`, `_train`, `_save`, `_restore`, `_stop`."""

import json
import os
import tempfile

import prefect_tune as tune

root = tempfile.mkdtemp()


class Counter(tune.Trainable):
    def _setup(self, config):
        self.count = config["start"]

    def _train(self):
        self.count += 1
        if self.count == 3 and not os.path.exists(os.path.join(root, "failed")):
            open(os.path.join(root, "failed"), "w").close()
            raise RuntimeError("once")
        return {"mean_accuracy": self.count, "done": self.count >= 5}

    def _save(self, checkpoint_dir):
        path = os.path.join(checkpoint_dir, "count")
        with open(path, "w") as file:
            file.write(str(self.count))
        return path

    def _restore(self, path):
        with open(path) as file:
            self.count = int(file.read())

    def _stop(self):
        open(os.path.join(root, "stopped"), "w").close()


class Modern(tune.Trainable):
    def setup(self, config):
        self._setup()

    def _setup(self):
        self.own = 1

    def _train(self, batch):
        return batch * 2

    def step(self):
        return {"mean_accuracy": self._train(2), "own": self.own, "done": True}


analysis = tune.run(
    Counter,
    config={"start": 0},
    checkpoint_freq=1,
    checkpoint_at_end=True,
    max_failures=1,
    verbose=0,
)
(trial,) = analysis.trials
modern = tune.run(tune.with_resources(Modern, {"cpu": 1}), verbose=0).trials[0].last_result
print(
    json.dumps(
        {
            "accuracy": trial.last_result["mean_accuracy"],
            "since_restore": trial.last_result["iterations_since_restore"],
            "checkpoint": os.path.isfile(os.path.join(trial.checkpoint.path, "count")),
            "stopped": os.path.exists(os.path.join(root, "stopped")),
            "modern": [modern["mean_accuracy"], modern["own"]],
        }
    )
)
