"""The examples of Ray Tune's user guide, in its order and our own words.

Each one is what a user has after ``from ray import tune`` has become ``import prefect_tune as
tune``. Sizes are small; what an example needs and is still to come is in `test_still_to_come`.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest

import prefect_tune as tune
from prefect_tune.experiment.trial import Trial


def easy(config):
    for step in range(3):
        tune.report(mean_loss=config.get("a", 1) / (step + 1), step=step)


def where(config):
    tune.report(devices=os.environ.get("CUDA_VISIBLE_DEVICES"), pid=os.getpid())


# --- Resources ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "resources",
    [
        {"cpu": 1},
        {"cpu": 2, "gpu": 1},
        {"cpu": 0.5},
        {"cpu": 0.5, "gpu": 0.5},
        tune.PlacementGroupFactory([{"CPU": 2}]),
        tune.PlacementGroupFactory([{"CPU": 1}, {"CPU": 1}, {"CPU": 1}], strategy="PACK"),
        tune.PlacementGroupFactory([{"CPU": 1, "GPU": 1}]),
    ],
    ids=str,
)
def test_resources_of_a_trial(resources):
    analysis = tune.run(where, resources_per_trial=resources, num_samples=2, verbose=0)
    gpus = (
        resources.get("gpu", 0)
        if isinstance(resources, dict)
        else (resources.required_resources.get("GPU", 0))
    )
    for trial in analysis.trials:
        devices = trial.last_result["devices"]
        assert devices == "" if not gpus else devices in ("0", "1")


def test_a_request_that_no_node_can_satisfy_says_so_before_a_trial_starts():
    with pytest.raises((tune.TuneError, ValueError), match=r"cpu|CPU"):
        tune.run(where, resources_per_trial={"cpu": 64}, verbose=0)


def test_waiting_for_a_gpu_where_none_can_be_asked_about_says_so():
    from prefect_tune.utils import wait_for_gpu

    def train(config):
        wait_for_gpu(retry=1, delay_s=0)
        tune.report(score=1)

    analysis = tune.run(
        train,
        resources_per_trial={"gpu": 1},
        env_vars={"PATH": ""},
        raise_on_failed_trial=False,
        verbose=0,
    )
    (trial,) = analysis.trials
    assert trial.status == Trial.ERROR
    assert "RuntimeError" in Path(trial.logdir, "error.txt").read_text()


# --- Parallelism, search, scheduler ------------------------------------------------------------


def test_concurrency_limiter_and_asynchronous_hyperband():
    from prefect_tune.schedulers import AsyncHyperBandScheduler
    from prefect_tune.suggest import ConcurrencyLimiter
    from prefect_tune.suggest.optuna import OptunaSearch

    search = ConcurrencyLimiter(OptunaSearch(seed=1), max_concurrent=2)
    analysis = tune.run(
        easy,
        config={"a": tune.uniform(0, 1)},
        metric="mean_loss",
        mode="min",
        num_samples=4,
        search_alg=search,
        scheduler=AsyncHyperBandScheduler(),
        verbose=0,
    )
    assert len(analysis.trials) == 4
    assert 0 <= analysis.best_config["a"] <= 1


def test_joining_a_cluster(no_cluster):
    from distributed import LocalCluster

    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster:
        tune.init(address=cluster.scheduler_address)
        assert len(tune.run(easy, num_samples=2, verbose=0).trials) == 2
        tune.shutdown()


# --- The search space --------------------------------------------------------------------------


def test_a_space_with_everything():
    def report_config(config):
        tune.report(score=config["uniform"])

    analysis = tune.run(
        report_config,
        config={
            "alpha": tune.sample_from(lambda spec: np.random.uniform(100)),
            "beta": tune.sample_from(lambda spec: spec.config.alpha * np.random.normal()),
            "uniform": tune.uniform(-5, -1),
            "constant": "relu",
            "nn_layers": [
                tune.grid_search([16, 64]),
                tune.grid_search([16, 64]),
            ],
        },
        num_samples=2,
        verbose=0,
    )
    configs = [trial.config for trial in analysis.trials]
    assert len(configs) == 8
    assert sorted(c["nn_layers"] for c in configs) == sorted(
        [[a, b] for a in (16, 64) for b in (16, 64)] * 2
    )
    assert {c["constant"] for c in configs} == {"relu"}
    assert len({c["alpha"] for c in configs}) > 1


@pytest.mark.parametrize(("samples", "trials"), [(1, 9), (2, 18)])
def test_the_samples_multiply_the_grid(samples, trials):
    space = {"x": tune.grid_search([1, 2, 3]), "y": tune.grid_search([4, 5, 6])}
    analysis = tune.run(lambda_free, config=space, num_samples=samples, verbose=0)
    assert len(analysis.trials) == trials


def lambda_free(config):
    tune.report(score=config["x"] * config["y"])


# --- Reporting ---------------------------------------------------------------------------------


class Easy(tune.Trainable):
    def setup(self, config):
        self.x = 0
        self.a = config["a"]

    def step(self):
        self.x += 1
        return {"score": self.a * self.x}

    def save_checkpoint(self, directory):
        path = os.path.join(directory, "x.json")
        Path(path).write_text(json.dumps(self.x))
        return path

    def load_checkpoint(self, path):
        self.x = json.loads(Path(path).read_text())


def test_a_class_reports_what_step_returns():
    analysis = tune.run(Easy, config={"a": 2}, stop={"training_iteration": 4}, verbose=0)
    (trial,) = analysis.trials
    assert trial.last_result["score"] == 8
    assert trial.last_result["training_iteration"] == 4
    assert trial.last_result["time_total_s"] > 0


# --- Checkpoints -------------------------------------------------------------------------------


def with_checkpoints(config, checkpoint_dir=None):
    first = 0
    if checkpoint_dir:
        first = json.loads(Path(checkpoint_dir, "checkpoint").read_text())["step"] + 1
    for step in range(first, config["steps"]):
        with tune.checkpoint_dir(step=step) as directory:
            Path(directory, "checkpoint").write_text(json.dumps({"step": step}))
        tune.report(step=step, first=first)


def test_a_function_saves_and_is_restored(results):
    analysis = tune.run(
        with_checkpoints, name="saved", config={"steps": 3}, metric="step", mode="max", verbose=0
    )
    (trial,) = analysis.trials
    checkpoints = sorted(path.name for path in Path(trial.logdir).glob("checkpoint_*"))
    assert checkpoints == ["checkpoint_000000", "checkpoint_000001", "checkpoint_000002"]
    assert not list(Path(trial.logdir).glob("*temp*"))
    restored = tune.run(
        with_checkpoints,
        config={"steps": 5},
        restore=analysis.get_best_checkpoint(trial, "step", "max"),
        verbose=0,
    )
    (trial,) = restored.trials
    assert (trial.last_result["first"], trial.last_result["step"]) == (3, 4)


def test_a_class_saves_and_is_restored():
    analysis = tune.run(
        Easy,
        config={"a": 1},
        checkpoint_freq=2,
        checkpoint_at_end=True,
        stop={"training_iteration": 5},
        metric="score",
        mode="max",
        verbose=0,
    )
    (trial,) = analysis.trials
    names = sorted(path.name for path in Path(trial.logdir).glob("checkpoint_*"))
    assert len(names) == 3
    again = tune.run(
        Easy,
        config={"a": 1},
        restore=analysis.get_last_checkpoint(trial, "score", "max"),
        stop={"training_iteration": 7},
        verbose=0,
    )
    assert again.trials[0].last_result["score"] == 7


def test_durable_needs_no_more_than_the_trainable(tmp_path):
    class DurableEasy(tune.DurableTrainable, Easy):
        pass

    upload = tmp_path / "cloud"
    for trainable in (tune.durable(with_checkpoints), DurableEasy):
        analysis = tune.run(
            trainable,
            name=f"durable_{getattr(trainable, '__name__', 'function')}",
            config={"steps": 2, "a": 1},
            stop={"training_iteration": 2},
            sync_config=tune.SyncConfig(sync_to_driver=False, upload_dir=f"file://{upload}"),
            verbose=0,
        )
        assert [trial.status for trial in analysis.trials] == [Trial.TERMINATED]
    assert len(list(upload.iterdir())) == 2


# --- Fault tolerance ---------------------------------------------------------------------------


def test_a_failed_trial_goes_on_from_its_checkpoint(tmp_path):
    marker = tmp_path / "has_failed"

    def fails_once(config, checkpoint_dir=None):
        first = 0
        if checkpoint_dir:
            first = int(Path(checkpoint_dir, "step").read_text()) + 1
        for step in range(first, 4):
            with tune.checkpoint_dir(step=step) as directory:
                Path(directory, "step").write_text(str(step))
            tune.report(step=step, first=first)
            if step == 1 and not marker.exists():
                marker.touch()
                raise RuntimeError("once")

    analysis = tune.run(fails_once, max_failures=3, verbose=0)
    (trial,) = analysis.trials
    assert trial.last_result["step"] == 3
    assert trial.last_result["first"] == 2


def test_an_experiment_is_resumed_by_name():
    tune.run(easy, name="again", num_samples=2, verbose=0)
    analysis = tune.run(easy, name="again", num_samples=3, resume=True, verbose=0)
    assert len(analysis.trials) == 3
    assert len({trial.trial_id for trial in analysis.trials}) == 3


def test_an_interrupted_experiment_is_saved_and_resumed(caplog):
    class CtrlC(tune.Callback):
        def on_trial_result(self, iteration, trials, trial, result, **info):
            if result["step"] == 1:
                os.kill(os.getpid(), signal.SIGINT)

    def slow(config):
        for step in range(20):
            tune.report(step=step)
            time.sleep(0.05)

    with pytest.raises(tune.ExperimentInterrupted) as interrupted:
        tune.run(slow, name="interrupted", callbacks=[CtrlC()], verbose=1)
    partial = interrupted.value.analysis
    assert partial.trials[0].last_result["step"] < 19
    assert "resume=True" in caplog.text
    analysis = tune.run(slow, name="interrupted", resume=True, verbose=0)
    (trial,) = analysis.trials
    assert trial.trial_id == partial.trials[0].trial_id
    assert (trial.status, trial.last_result["step"]) == (Trial.TERMINATED, 19)


# --- What a person sees ------------------------------------------------------------------------


def test_the_status_table(capsys):
    reporter = tune.CLIReporter(metric_columns=["mean_loss", "training_iteration"])
    tune.run(
        easy,
        config={"a": tune.grid_search([1, 2])},
        metric="mean_loss",
        mode="min",
        progress_reporter=reporter,
    )
    text = capsys.readouterr().out
    assert "== Status ==" in text
    assert "Using FIFO scheduling algorithm." in text
    assert "Number of trials: 2/2 (2 TERMINATED)" in text
    heading = [line for line in text.splitlines() if "Trial name" in line][-1]
    columns = [column.strip() for column in heading.strip("| ").split("|")]
    assert columns[:5] == ["Trial name", "status", "loc", "a", "mean_loss"]


def test_tensorboard_gets_metrics_and_parameters():
    from tensorboardX.proto.event_pb2 import Event

    analysis = tune.run(easy, config={"a": 2.0}, verbose=0)
    (file,) = Path(analysis.trials[0].logdir).glob("events.out.tfevents.*")
    data, drawn, plugins = file.read_bytes(), [], set()
    while data:
        size = int.from_bytes(data[:8], "little")
        event = Event.FromString(data[12 : 12 + size])
        data = data[12 + size + 4 :]
        for value in event.summary.value:
            plugins.add(value.metadata.plugin_data.plugin_name)
            if value.tag == "ray/tune/mean_loss" and value.HasField("simple_value"):
                drawn.append((event.step, value.simple_value))
    assert drawn == [(1, 2.0), (2, 1.0), (3, pytest.approx(2 / 3))]
    assert "hparams" in plugins


# --- Large data --------------------------------------------------------------------------------


def test_large_data_goes_with_with_parameters():
    def with_data(config, data=None):
        tune.report(total=float(data.sum()) + config["a"])

    data = np.ones(1_000_000)
    analysis = tune.run(
        tune.with_parameters(with_data, data=data), config={"a": 1}, num_samples=2, verbose=0
    )
    assert [trial.last_result["total"] for trial in analysis.trials] == [1_000_001.0] * 2


# --- Stopping ----------------------------------------------------------------------------------


def test_stop_by_a_dict():
    analysis = tune.run(
        Easy, config={"a": 1}, stop={"training_iteration": 10, "score": 3}, verbose=0
    )
    assert analysis.trials[0].last_result["score"] == 3


def test_stop_by_a_function():
    def stopper(trial_id, result):
        return result["score"] > 5

    analysis = tune.run(Easy, config={"a": 2}, stop=stopper, verbose=0)
    assert analysis.trials[0].last_result["score"] == 6


def test_stop_by_a_stopper_ends_all_trials():
    from prefect_tune import Stopper

    class CustomStopper(Stopper):
        def __init__(self):
            self.should_stop = False

        def __call__(self, trial_id, result):
            if not self.should_stop and result["score"] > 10:
                self.should_stop = True
            return self.should_stop

        def stop_all(self):
            return self.should_stop

    analysis = tune.run(
        Easy, config={"a": tune.grid_search([1, 4])}, stop=CustomStopper(), verbose=0
    )
    assert {trial.status for trial in analysis.trials} == {Trial.TERMINATED}
    assert analysis.get_best_trial("score", "max").last_result["score"] > 10


# --- Logging -----------------------------------------------------------------------------------


def test_where_results_are(results):
    analysis = tune.run(
        easy, name="my_experiment", local_dir=str(results / "here"), num_samples=2, verbose=0
    )
    experiment = results / "here" / "my_experiment"
    assert {Path(trial.logdir).parent for trial in analysis.trials} == {experiment}
    for trial in analysis.trials:
        files = {path.name for path in Path(trial.logdir).iterdir()}
        assert {"params.json", "params.pkl", "progress.csv", "result.json"} <= files
        assert any(name.startswith("events.out.tfevents") for name in files)
    assert analysis.dataframe("mean_loss", "min")["mean_loss"].tolist() == [1 / 3, 1 / 3]


def test_names_of_trials():
    def trial_str_creator(trial):
        return f"{trial.trainable_name}_{trial.trial_id}_123"

    analysis = tune.run(
        easy, name="example", num_samples=2, trial_name_creator=trial_str_creator, verbose=0
    )
    for trial in analysis.trials:
        assert str(trial) == f"easy_{trial.trial_id}_123"


def test_uploads_to_storage(tmp_path):
    copied = []

    def custom_sync(source, target):
        copied.append(target)

    command = "cp -r {source} " + str(tmp_path / "by_hand") + " && echo to {target}"
    for number, sync in enumerate((None, custom_sync, command)):
        upload = tmp_path / f"upload_{number}"
        analysis = tune.run(
            easy,
            name="uploaded",
            local_dir=str(tmp_path / f"local_{number}"),
            sync_config=tune.SyncConfig(upload_dir=f"file://{upload}", sync_to_cloud=sync),
            verbose=0,
        )
        assert analysis.trials[0].status == Trial.TERMINATED
    assert list((tmp_path / "upload_0").rglob("progress.csv"))
    assert not (tmp_path / "upload_1").exists()
    assert list((tmp_path / "by_hand").rglob("progress.csv"))
    assert copied


def test_syncers_of_containers_are_accepted():
    from prefect_tune.integration.docker import DockerSyncer
    from prefect_tune.integration.kubernetes import NamespacedKubernetesSyncer

    for syncer in (DockerSyncer, NamespacedKubernetesSyncer("ray")):
        sync_config = tune.SyncConfig(sync_to_driver=syncer)
        analysis = tune.run(easy, sync_config=sync_config, verbose=0)
        assert analysis.trials[0].status == Trial.TERMINATED


def loud(config):
    print("to stdout")
    print("to stderr", file=sys.stderr)
    tune.report(score=1)


@pytest.mark.parametrize(
    ("log_to_file", "files"),
    [
        (True, {"stdout": "to stdout", "stderr": "to stderr"}),
        ("std_combined.log", {"std_combined.log": "to std"}),
        (
            ("my_stdout.log", "my_stderr.log"),
            {"my_stdout.log": "stdout", "my_stderr.log": "stderr"},
        ),
    ],
    ids=["True", "one name", "two names"],
)
def test_output_goes_to_files(log_to_file, files):
    analysis = tune.run(loud, log_to_file=log_to_file, verbose=0)
    logdir = Path(analysis.trials[0].logdir)
    for name, text in files.items():
        assert text in (logdir / name).read_text()


# --- Callbacks, debugging ----------------------------------------------------------------------


def test_callbacks():
    got = []

    class MyCallback(tune.Callback):
        def on_trial_result(self, iteration, trials, trial, result, **info):
            got.append(f"Got result: {result['mean_loss']}")

    tune.run(easy, callbacks=[MyCallback()], verbose=0)
    assert got == ["Got result: 1.0", "Got result: 0.5", f"Got result: {1 / 3}"]


def test_local_mode_runs_in_this_process(no_cluster):
    tune.init(local_mode=True)
    analysis = tune.run(where, num_samples=2, verbose=0)
    assert {trial.last_result["pid"] for trial in analysis.trials} == {os.getpid()}


def test_fail_fast_ends_the_others():
    def fails(config):
        tune.report(score=1)
        if config["a"] == 0:
            raise RuntimeError("bad")
        for _ in range(600):
            time.sleep(0.05)
            tune.report(score=1)

    with pytest.raises(tune.TuneError):
        tune.run(fails, config={"a": tune.grid_search([0, 1, 2])}, fail_fast=True, verbose=0)


# --- Environment variables ---------------------------------------------------------------------


def test_variables_of_the_guide(monkeypatch, results):
    monkeypatch.setenv("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    monkeypatch.setenv("TUNE_DISABLE_DATED_SUBDIR", "1")
    monkeypatch.setenv("TUNE_DISABLE_STRICT_METRIC_CHECKING", "1")
    monkeypatch.setenv("TUNE_MAX_LEN_IDENTIFIER", "20")
    monkeypatch.setenv("TUNE_RESULT_DIR", str(results / "elsewhere"))
    analysis = tune.run(
        easy, config={"a": tune.uniform(0, 1)}, metric="not_reported", mode="max", verbose=0
    )
    logdir = Path(analysis.trials[0].logdir)
    assert logdir.parent == results / "elsewhere" / "easy"
    assert not list(logdir.glob("*.csv"))


def test_variables_without_a_meaning_here_say_so_once(monkeypatch):
    names = {
        "TUNE_CLUSTER_SSH_KEY": "~/key",
        "TUNE_PLACEMENT_GROUP_PREFIX": "mine",
        "TUNE_SYNCER_VERBOSITY": "3",
    }
    for name, value in names.items():
        monkeypatch.setenv(name, value)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        tune.run(easy, verbose=0)
        tune.run(easy, verbose=0)
    texts = [str(warning.message) for warning in caught]
    for name in names:
        assert sum(f"{name} has no effect: " in text for text in texts) == 1


# --- Search algorithms -------------------------------------------------------------------------


def test_bayesian_optimisation_with_a_limit_of_parallel_trials():
    from prefect_tune.suggest import ConcurrencyLimiter
    from prefect_tune.suggest.bayesopt import BayesOptSearch

    def objective(config):
        for step in range(2):
            tune.report(mean_loss=(config["width"] - 10) ** 2 + abs(config["height"]), step=step)

    algo = BayesOptSearch(utility_kwargs={"kind": "ucb", "kappa": 2.5, "xi": 0.0})
    algo = ConcurrencyLimiter(algo, max_concurrent=2)
    analysis = tune.run(
        objective,
        search_alg=algo,
        metric="mean_loss",
        mode="min",
        num_samples=12,
        config={"width": tune.uniform(0, 20), "height": tune.uniform(-100, 100)},
        verbose=0,
    )
    assert len(analysis.trials) == 12
    assert len({trial.config["width"] for trial in analysis.trials}) == 12
    assert set(analysis.best_config) == {"width", "height"}
