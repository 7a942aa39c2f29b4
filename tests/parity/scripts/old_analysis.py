"""What 1.x offered to look at results, during and after a run."""

import json
import os

import prefect_tune as tune
from prefect_tune import ExperimentAnalysis


def train(config, reporter):
    for i in range(config["n"]):
        reporter(timesteps_total=i * 10, score=config["a"] * i, done=i == 2)


def legacy(config, checkpoint_dir=None):
    name, trial_id = tune.get_trial_name(), tune.get_trial_id()
    directory = os.path.basename(tune.get_trial_dir())
    tune.report(0.5)
    tune.report(
        _metric=0.25,
        inside=tune.is_session_enabled(),
        named=name == f"legacy_{trial_id}" and directory.startswith(name),
    )


space = {
    "n": 5,
    "a": tune.grid_search([1, 2]),
    "alpha": tune.sample_from(lambda spec: spec.config.a * 10),
    "beta": tune.sample_from(lambda spec: spec.config["alpha"] + 1),
}
analysis = tune.run(train, config=space, verbose=0)
frames = analysis.fetch_trial_dataframes()
analysis.set_filetype("json")
loaded = ExperimentAnalysis(analysis.experiment_path, default_metric="score", default_mode="max")
old = tune.run(legacy, verbose=0).trials[0].last_result
print(
    json.dumps(
        {
            "configs": [trial.config for trial in analysis.trials],
            "scores": [trial.last_result["score"] for trial in analysis.trials],
            "timesteps": [trial.last_result["timesteps_total"] for trial in analysis.trials],
            "best_config": analysis.get_best_config(metric="score", mode="max"),
            "best_logdir": analysis.get_best_logdir("score", "max")
            == analysis.get_best_trial("score", "max").logdir,
            "frames": sorted(len(frame) for frame in frames.values()),
            "json_frames": sorted(len(frame) for frame in analysis.trial_dataframes.values()),
            "configs_by_dir": sorted(c["a"] for c in analysis.get_all_configs().values()),
            "prefixed": sorted(next(iter(analysis.get_all_configs(prefix=True).values()))),
            "results": sorted(result["score"] for result in analysis.results.values()),
            "loaded": [loaded.best_config, len(loaded.trials), loaded.best_trial.status],
            "max_frame": sorted(analysis.dataframe(metric="score", mode="max")["score"]),
            "stats": sorted(trial.metric_analysis["score"]["max"] for trial in analysis.trials),
            "metric": [old["_metric"], old["inside"], old["named"]],
            "outside": [tune.is_session_enabled()],
        }
    )
)
