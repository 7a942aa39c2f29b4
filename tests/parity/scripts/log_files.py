"""What is in `result.json` and `progress.csv`."""

import csv
import json
import os

import numpy as np

import prefect_tune as tune


def train(config):
    for i in range(3):
        result = {
            "mean_loss": 1.0 / (i + 1),
            "array": np.arange(2),
            "np": np.float64(i),
            "nested": {"a": i, "b": {"c": "text"}},
            "flag": True,
            "nothing": None,
        }
        tune.report(result)


analysis = tune.run(
    train, config={"lr": tune.grid_search([0.5]), "net": {"layers": [1, 2]}}, verbose=0
)
(trial,) = analysis.trials
with open(os.path.join(trial.local_path, "result.json")) as file:
    rows = [json.loads(line) for line in file]
with open(os.path.join(trial.local_path, "progress.csv"), newline="") as file:
    table = list(csv.DictReader(file))

COMMON = (
    "date done experiment_tag hostname iterations_since_restore node_ip pid time_since_restore "
    "time_this_iter_s time_total_s timestamp training_iteration trial_id"
).split()
print(
    json.dumps(
        {
            "rows": len(rows),
            "table_rows": len(table),
            "own": {
                k: rows[2][k] for k in ("mean_loss", "array", "np", "nested", "flag", "nothing")
            },
            "config": rows[0]["config"],
            "missing_in_json": [k for k in COMMON if k not in rows[0] and k != "experiment_tag"],
            "done": [row["done"] for row in rows],
            "iterations": [row["training_iteration"] for row in rows],
            "own_columns": sorted(
                c for c in table[0] if c.split("/")[0] in ("mean_loss", "nested", "np", "flag")
            ),
            "missing_in_csv": [k for k in COMMON if k not in table[0] and k != "experiment_tag"],
            "config_columns": sorted(c for c in table[0] if c.startswith("config/")),
            "nested_cells": [row["nested/a"] for row in table],
            "frame_length": len(next(iter(analysis.trial_dataframes.values()))),
        }
    )
)
