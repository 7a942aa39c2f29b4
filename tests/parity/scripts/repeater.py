"""Each suggestion is tried with several seeds; the search learns from the mean."""

import json

import prefect_tune as tune
from prefect_tune.search import Searcher
from prefect_tune.search.repeater import Repeater


class Steps(Searcher):
    def __init__(self):
        super().__init__(metric="loss", mode="min")
        self.x = 0
        self.means = []

    def suggest(self, trial_id):
        self.x += 10
        return {"x": self.x}

    def on_trial_complete(self, trial_id, result=None, error=False):
        self.means.append(result["loss"])


def noisy(config):
    tune.report({"loss": config["x"] + config["__trial_index__"]})


steps = Steps()
results = tune.Tuner(
    noisy,
    tune_config=tune.TuneConfig(
        search_alg=Repeater(steps, repeat=3), num_samples=6, max_concurrent_trials=1
    ),
).fit()
print(
    json.dumps(
        {
            "configs": [[r.config["x"], r.config["__trial_index__"]] for r in results],
            "means": steps.means,
        }
    )
)
