"""Fractions of CPUs, bundles, resources by configuration, and what a trial sees of them."""

import json
import os

import prefect_tune as tune
from prefect_tune import PlacementGroupFactory


def train(config):
    resources = tune.get_context().get_trial_resources()
    needs = resources.required_resources
    tune.report(
        {
            "cpus": needs.get("CPU", 0),
            "bundles": len(resources.bundles),
            "gpus": os.environ.get("CUDA_VISIBLE_DEVICES", ""),
        }
    )


def sweep(trainable, **arguments):
    analysis = tune.run(trainable, config={"n": tune.grid_search([1, 2])}, verbose=0, **arguments)
    return [[t.last_result["cpus"], t.last_result["bundles"]] for t in analysis.trials]


def conflict():
    try:
        sweep(tune.with_resources(train, {"cpu": 1}), resources_per_trial={"cpu": 2})
    except (ValueError, tune.TuneError):
        return "error"
    return "nothing"


print(
    json.dumps(
        {
            "default": sweep(train),
            "half": sweep(train, resources_per_trial={"cpu": 0.5}),
            "two": sweep(train, resources_per_trial={"cpu": 2}),
            "bundles": sweep(
                train, resources_per_trial=PlacementGroupFactory([{"CPU": 1}, {"CPU": 1}])
            ),
            "with_resources": sweep(tune.with_resources(train, {"cpu": 2})),
            "with_factory": sweep(
                tune.with_resources(train, PlacementGroupFactory([{"CPU": 0.5}]))
            ),
            "by_config": sweep(
                tune.with_resources(
                    train, lambda config: PlacementGroupFactory([{"CPU": config["n"]}])
                )
            ),
            "conflict": conflict(),
        }
    )
)
