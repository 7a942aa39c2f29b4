"""A script of Ray 2.7 to 2.40: reports and configurations from `train`."""

import json

from prefect_tune import train, tune
from prefect_tune.schedulers import ASHAScheduler


def objective(config):
    if train.get_checkpoint():
        raise RuntimeError("there is no checkpoint")
    for i in range(8):
        train.report({"mean_accuracy": config["lr"] * (i + 1)})
    context = train.get_context()
    assert context.get_trial_id()


tuner = tune.Tuner(
    objective,
    param_space={"lr": tune.grid_search([4, 3, 2, 1])},
    tune_config=tune.TuneConfig(
        scheduler=ASHAScheduler(metric="mean_accuracy", mode="max", grace_period=2, max_t=8),
        max_concurrent_trials=1,
    ),
    run_config=train.RunConfig(failure_config=train.FailureConfig(max_failures=1), verbose=1),
)
results = tuner.fit()
best = results.get_best_result("mean_accuracy", "max")
print(
    json.dumps(
        {
            "iterations": [r.metrics["training_iteration"] for r in results],
            "best": best.config,
            "errors": results.num_errors,
        }
    )
)
