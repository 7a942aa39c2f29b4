"""A search algorithm of one's own: a bisection that is told about results."""

import json

import prefect_tune as tune
from prefect_tune.search import ConcurrencyLimiter, Searcher


class Bisection(Searcher):
    def __init__(self, low, high, metric="loss", mode="min"):
        super().__init__(metric=metric, mode=mode)
        self.low, self.high = low, high
        self.live, self.told = {}, []

    def suggest(self, trial_id):
        if self.high - self.low < 0.2:
            return Searcher.FINISHED
        if self.live:
            return None
        self.live[trial_id] = (self.low + self.high) / 2
        return {"x": self.live[trial_id]}

    def on_trial_result(self, trial_id, result):
        self.told.append(["result", result["training_iteration"]])

    def on_trial_complete(self, trial_id, result=None, error=False):
        x = self.live.pop(trial_id)
        self.told.append(["complete", result["slope"], error])
        if result["slope"] > 0:
            self.high = x
        else:
            self.low = x


class Countdown(Searcher):
    """Takes the space from the experiment; draws each domain itself."""

    def __init__(self, n):
        super().__init__()
        self.n = n
        self.space = self.seen = None

    def set_search_properties(self, metric, mode, config, **spec):
        if self.space:
            return False
        self._metric, self._mode, self.space = metric, mode, config
        return True

    def suggest(self, trial_id):
        if self.n == 0:
            return Searcher.FINISHED
        self.n -= 1
        return {
            key: value.sample() if hasattr(value, "sample") else value
            for key, value in self.space.items()
        }

    def on_trial_complete(self, trial_id, result=None, error=False):
        self.seen = [self.metric, self.mode, sorted(self.space)]


def objective(config):
    for _ in range(2):
        tune.report({"loss": (config["x"] - 0.7) ** 2, "slope": 2 * (config["x"] - 0.7)})


searcher = Bisection(0.0, 2.0)
results = tune.Tuner(
    objective,
    tune_config=tune.TuneConfig(
        search_alg=ConcurrencyLimiter(searcher, max_concurrent=1), num_samples=20
    ),
).fit()
countdown = Countdown(3)
analysis = tune.run(
    objective,
    config={"x": tune.uniform(0, 1), "constant": 5},
    search_alg=countdown,
    num_samples=10,
    metric="loss",
    mode="min",
    verbose=0,
)
print(
    json.dumps(
        {
            "counted": len(analysis.trials),
            "constants": [trial.config["constant"] for trial in analysis.trials],
            "seen": countdown.seen,
            "xs": [result.config["x"] for result in results],
            "told": [[what[0], round(what[1], 6), *what[2:]] for what in searcher.told],
            "best": results.get_best_result("loss", "min").config,
            "id_lengths": sorted({len(result.metrics["trial_id"]) for result in results}),
        }
    )
)
