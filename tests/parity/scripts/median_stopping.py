"""The median rule, one trial after the other so that the outcome is the same each time."""

import json

import prefect_tune as tune
from prefect_tune.schedulers import MedianStoppingRule


def easy_objective(config):
    for step in range(10):
        tune.report({"mean_loss": config["height"] + 1.0 / (step + 1), "step": step})


scheduler = MedianStoppingRule(
    time_attr="training_iteration", grace_period=3, min_samples_required=2
)
analysis = tune.run(
    easy_objective,
    metric="mean_loss",
    mode="min",
    scheduler=scheduler,
    config={"height": tune.grid_search([5, 3, 9, 1, 4, 2])},
    max_concurrent_trials=1,
    verbose=0,
)
print(
    json.dumps(
        {
            "iterations": [
                [t.config["height"], t.last_result["training_iteration"]] for t in analysis.trials
            ],
            "statuses": [t.status for t in analysis.trials],
            "best": analysis.best_config,
        }
    )
)
