"""Mistakes are errors before any trial starts; of which kind."""

import json

import prefect_tune as tune
from prefect_tune.schedulers import ASHAScheduler, FIFOScheduler
from prefect_tune.search.optuna import OptunaSearch

started = []


class Spy(tune.Callback):
    def on_trial_start(self, iteration, trials, trial, **info):
        started.append(str(trial))


def objective(config):
    tune.report({"loss": 1.0})


def refuses(call, *kinds):
    """Whether the call raises what a user would expect to catch."""
    try:
        call()
    except kinds:
        return True
    return False


def run(trainable=objective, **arguments):
    return refuses(
        lambda: tune.run(trainable, verbose=0, callbacks=[Spy()], **arguments),
        ValueError,
        TypeError,
        AttributeError,
        tune.TuneError,
    )


summary = {
    "mode": run(metric="loss", mode="biggest"),
    "metric_twice": run(
        metric="loss", mode="min", scheduler=ASHAScheduler(metric="loss", mode="min")
    ),
    "asha_without_metric": run(scheduler=ASHAScheduler()),
    "grid_with_searcher": run(
        config={"x": tune.grid_search([1])},
        metric="loss",
        mode="min",
        search_alg=OptunaSearch(),
    ),
    "unknown_scheduler": run(scheduler="no_such_scheduler"),
    "unknown_searcher": run(search_alg="no_such_searcher"),
    "not_a_dict": run(config=[1, 2]),
    "bad_stop": run(stop=5),
    "resources_type": run(resources_per_trial=5),
    "loguniform_zero": refuses(lambda: tune.loguniform(0, 1), ValueError),
    "quniform_bounds": refuses(lambda: tune.quniform(0.1, 1, 0.25), ValueError),
    "negative_grace": refuses(lambda: ASHAScheduler(grace_period=0), AssertionError, ValueError),
    "not_callable": run(trainable=5),
    "tuner_without_trainable": refuses(lambda: tune.Tuner().fit(), ValueError, tune.TuneError),
    "keep_zero": refuses(lambda: tune.CheckpointConfig(num_to_keep=0), ValueError),
    "score_order": refuses(lambda: tune.CheckpointConfig(checkpoint_score_order="up"), ValueError),
    "names": [
        type(tune.create_scheduler("async_hyperband")).__name__,
        type(tune.create_scheduler("median_stopping_rule")).__name__,
        type(tune.create_searcher("random")).__name__,
    ],
}
summary["started"] = len(started)
summary["metric_never_reported"] = run(metric="accuracy", mode="max")
summary["nothing_wrong"] = not run(scheduler=FIFOScheduler())
print(json.dumps(summary))
