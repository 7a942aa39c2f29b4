"""A choice between whole sub-spaces, and a grid inside a choice's alternatives."""

import json

import prefect_tune as tune


def trainable(config):
    opt = config["optimizer"]
    tune.report({"loss": opt["lr"], "kind": opt["name"]})


space = {
    "optimizer": tune.choice(
        [
            {"name": "sgd", "lr": tune.uniform(0.1, 0.2), "momentum": tune.choice([0.0, 0.9])},
            {"name": "adam", "lr": tune.loguniform(1e-4, 1e-3), "betas": [0.9, 0.999]},
        ]
    ),
    "dropout": tune.grid_search([0.0, 0.5]),
    "scheduler": {"type": tune.grid_search(["cosine", {"step": tune.choice([5])}])},
}
analysis = tune.run(trainable, config=space, num_samples=10, metric="loss", mode="min", verbose=0)


def fits(opt):
    if opt["name"] == "sgd":
        return 0.1 <= opt["lr"] <= 0.2 and opt["momentum"] in (0.0, 0.9) and len(opt) == 3
    return 1e-4 <= opt["lr"] <= 1e-3 and opt["betas"] == [0.9, 0.999] and len(opt) == 3


configs = [trial.config for trial in analysis.trials]
print(
    json.dumps(
        {
            "trials": len(configs),
            "all_fit": all(fits(c["optimizer"]) for c in configs),
            "kinds": sorted({c["optimizer"]["name"] for c in configs}),
            "grid": [[c["dropout"], c["scheduler"]["type"]] for c in configs[:4]],
            "best_kind": analysis.best_config["optimizer"]["name"],
        }
    )
)
