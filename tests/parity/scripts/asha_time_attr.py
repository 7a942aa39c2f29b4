"""ASHA counts another time than iterations, minimises, and lets finished trials go on."""

import json

import prefect_tune as tune
from prefect_tune.schedulers import AsyncHyperBandScheduler


def objective(config):
    for epoch in range(1, 9):
        tune.report({"loss": config["base"] / epoch, "samples_seen": epoch * 100})


def sweep(**arguments):
    scheduler = AsyncHyperBandScheduler(
        time_attr="samples_seen",
        metric="loss",
        mode="min",
        grace_period=200,
        reduction_factor=2,
        brackets=1,
        **arguments,
    )
    analysis = tune.run(
        objective,
        config={"base": tune.grid_search([4, 8, 2, 6, 1])},
        scheduler=scheduler,
        max_concurrent_trials=1,
        verbose=0,
    )
    return [[t.config["base"], t.last_result["samples_seen"]] for t in analysis.trials]


print(
    json.dumps(
        {
            "stops_at_max_t": sweep(max_t=600),
            "goes_on_after_max_t": sweep(max_t=600, stop_last_trials=False),
        }
    )
)
