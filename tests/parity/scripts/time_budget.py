"""Sampling without end until the time is up."""

import datetime
import json
import time

import prefect_tune as tune


def objective(config):
    for i in range(1000):
        time.sleep(0.05)
        tune.report({"score": config["x"] * i})


begin = time.monotonic()
results = tune.Tuner(
    objective,
    param_space={"x": tune.uniform(0, 1)},
    tune_config=tune.TuneConfig(num_samples=-1, time_budget_s=2.0, metric="score", mode="max"),
    run_config=tune.RunConfig(stop={"training_iteration": 4}),
).fit()
took = time.monotonic() - begin

analysis = tune.run(
    objective,
    config={"x": 1},
    time_budget_s=datetime.timedelta(seconds=1),
    verbose=0,
)
print(
    json.dumps(
        {
            "several": len(results) >= 2,
            "statuses": sorted({"ERROR" if r.error else "TERMINATED" for r in results}),
            "at_most_four": all(r.metrics.get("training_iteration", 0) <= 4 for r in results),
            "ended": took < 20,
            "one": [t.status for t in analysis.trials],
            "cut": analysis.trials[0].last_result.get("training_iteration", 0) < 100,
        }
    )
)
