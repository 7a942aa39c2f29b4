"""A script of Ray 1.x: keyword reports, `suggest`, `local_dir`, arguments that are long gone."""

import json
import os
import tempfile
import time

from prefect_tune import tune
from prefect_tune.schedulers import AsyncHyperBandScheduler
from prefect_tune.suggest import ConcurrencyLimiter
from prefect_tune.suggest.optuna import OptunaSearch


def evaluation_fn(step, width, height):
    time.sleep(0.001)
    return (0.1 + width * step / 100) ** (-1) + height * 0.1


def easy_objective(config):
    width, height = config["width"], config["height"]
    for step in range(config["steps"]):
        intermediate_score = evaluation_fn(step, width, height)
        tune.report(iterations=step, mean_loss=intermediate_score)


root = tempfile.mkdtemp()
algo = ConcurrencyLimiter(OptunaSearch(), max_concurrent=2)
analysis = tune.run(
    easy_objective,
    name="exp",
    metric="mean_loss",
    mode="min",
    search_alg=algo,
    scheduler=AsyncHyperBandScheduler(),
    num_samples=6,
    config={
        "steps": 12,
        "width": tune.uniform(0, 20),
        "height": tune.uniform(-100, 100),
        "activation": tune.choice(["relu", "tanh"]),
    },
    resources_per_trial={"cpu": 1, "gpu": 0},
    local_dir=root,
    verbose=1,
    queue_trials=True,
    ray_auto_init=False,
    loggers=None,
    sync_to_driver=False,
    keep_checkpoints_num=2,
    checkpoint_score_attr="min-mean_loss",
    reuse_actors=True,
    log_to_file=True,
    raise_on_failed_trial=True,
)
print("Best hyperparameters found were: ", analysis.best_config)

best = analysis.best_result
positional = tune.run(
    easy_objective,
    "by_position",
    "mean_loss",
    "min",
    {"iterations": 2},
    None,
    {"steps": 5, "width": 1, "height": 2},
    {"cpu": 0.5},
    2,
    root,
    verbose=0,
)
print(
    json.dumps(
        {
            "trials": len(analysis.trials),
            "steps": analysis.best_config["steps"],
            "keys": sorted(analysis.best_config),
            "neg_mean_loss": best["neg_mean_loss"] == -best["mean_loss"],
            "logdir": os.path.realpath(analysis.best_logdir).startswith(
                os.path.realpath(os.path.join(root, "exp"))
            ),
            "asha": max(t.last_result["training_iteration"] for t in analysis.trials),
            "positional": [t.last_result["iterations"] for t in positional.trials],
            "positional_dir": os.path.basename(os.path.dirname(positional.trials[0].logdir)),
        }
    )
)
