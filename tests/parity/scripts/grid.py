"""A parabola over a grid; the results as a data frame."""

import json

import prefect_tune as tune


def objective(config):
    for step in range(1, 6):
        loss = (config["x"] - 2) ** 2 + config["y"] / step
        tune.report({"loss": loss, "step": step})


analysis = tune.run(
    objective,
    config={
        "y": tune.grid_search([1.0, 10.0]),
        "x": tune.grid_search([0, 2, 3]),
        "constant": "c",
    },
    metric="loss",
    mode="min",
    verbose=0,
)
df = analysis.dataframe()
print("Best config:", analysis.best_config)

print(
    json.dumps(
        {
            "configs": [trial.config for trial in analysis.trials],
            "statuses": [trial.status for trial in analysis.trials],
            "iterations": [t.last_result["training_iteration"] for t in analysis.trials],
            "losses": [round(trial.last_result["loss"], 6) for trial in analysis.trials],
            "tags": [trial.experiment_tag for trial in analysis.trials],
            "evaluated_params": [trial.evaluated_params for trial in analysis.trials],
            "best_config": analysis.best_config,
            "best_loss": analysis.best_result["loss"],
            "rows": len(df),
            "config_columns": sorted(c for c in df.columns if c.startswith("config/")),
            "smallest_in_frame": df["loss"].min(),
            "is_done": df["done"].all().item(),
            "rows_of_best": len(analysis.best_dataframe),
            "results_df": sorted(analysis.results_df["loss"].round(6)),
        }
    )
)
