"""Experiments as objects, alone and several at a time."""

from __future__ import annotations

import os
import threading

import pytest

import prefect_tune as tune
from prefect_tune.engine.signals import handle_signals, relay_signals
from prefect_tune.error import InvalidArgument, InvalidTrainable, TrialFailed
from prefect_tune.experiment import Experiment, convert_to_experiment_list
from prefect_tune.logger import Logger
from prefect_tune.schedulers import FIFOScheduler
from prefect_tune.search import Searcher
from prefect_tune.stopper import DictStopper


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    monkeypatch.setenv("PREFECT_TUNE_ORCHESTRATE", "0")


def train(config):
    if config.get("fails"):
        raise RuntimeError("no luck")
    for step in range(3):
        tune.report(score=config["a"] * (step + 1))


class Steps(tune.Trainable):
    def step(self):
        return {"score": self.config["a"]}


def test_members(tmp_path):
    experiment = Experiment(
        "mine", train, stop={"score": 3}, config={"a": 1}, local_dir=str(tmp_path), num_samples=2
    )

    assert experiment.run_identifier == "train"
    assert isinstance(experiment.stopper, DictStopper)
    assert experiment.path == experiment.checkpoint_dir == str(tmp_path / "mine")
    assert experiment.local_dir == str(tmp_path)
    assert experiment.public_spec == {"stop": {"score": 3}, "num_samples": 2}
    assert experiment.spec["config"] == {"a": 1}
    assert Experiment.get_trainable_name(lambda config: 1) == "lambda"


def test_an_experiment_may_have_loggers_of_its_own(tmp_path):
    class Notes(Logger):
        def _init(self):
            self.seen = os.path.join(self.logdir, "seen.txt")

        def on_result(self, result):
            with open(self.seen, "a") as file:
                file.write(f"{result['score']} ")

    experiments = [
        Experiment(
            name, train, config={"a": 2}, loggers=loggers, local_dir=str(tmp_path), upload_dir=None
        )
        for name, loggers in (("with", [Notes]), ("without", None))
    ]

    noted, plain = tune.run_experiments(experiments, verbose=0)

    with open(os.path.join(noted.logdir, "seen.txt")) as file:
        assert file.read() == "2 4 6 "
    assert not os.path.exists(os.path.join(plain.logdir, "seen.txt"))
    with pytest.raises(TypeError, match="no argument `upload_dir`"):
        Experiment("a", train, upload_dir="s3://bucket")


def test_specifications():
    spec = {"run": train, "stop": {"score": 1}, "config": {"a": 1}, "env": "CartPole"}

    experiment = Experiment.from_json("mine", spec)

    assert experiment.arguments["config"] == {"a": 1, "env": "CartPole"}
    assert spec["config"] == {"a": 1}
    found = convert_to_experiment_list({"mine": spec, "other": experiment})
    assert [item.name for item in found] == ["mine", "mine"]
    assert convert_to_experiment_list(experiment) == [experiment]
    assert convert_to_experiment_list(None) == []


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("train", "a list of them"),
        ([1], "a list of them"),
        ({"a": {"config": {}}}, "'a' has no `run`"),
        ({"a": {"run": train, "sotp": 1}}, "'a' has `sotp`"),
        ({"a": {"run": "unheard of"}}, "unheard of"),
        ({"a": {"run": 3}}, "not callable"),
    ],
)
def test_wrong_experiments(wrong, message):
    with pytest.raises(InvalidArgument, match=message):
        tune.run_experiments(wrong)


def test_wrong_arguments_of_an_experiment():
    with pytest.raises(TypeError, match="`colour`"):
        Experiment("mine", train, colour=3)
    with pytest.raises(InvalidArgument, match="`name`"):
        Experiment("", train)
    with pytest.raises(InvalidTrainable):
        Experiment("mine", 3)


def test_an_experiment_brings_its_arguments_and_run_the_others(tmp_path):
    experiment = Experiment("mine", train, config={"a": tune.grid_search([1, 2])})

    analysis = tune.run(
        experiment, metric="score", mode="max", storage_path=str(tmp_path), verbose=0
    )

    assert analysis.best_config == {"a": 2}
    assert os.path.basename(analysis.experiment_path) == "mine"


@pytest.mark.parametrize("concurrent", [True, False])
def test_experiments_of_one_name_have_directories_of_their_own(tmp_path, concurrent):
    experiments = [
        Experiment("same", train, config={"a": a}, storage_path=str(tmp_path / place))
        for a, place in [(1, "here"), (2, "here"), (3, "there")]
    ]

    trials = tune.run_experiments(experiments, concurrent=concurrent, verbose=0)

    assert [trial.last_result["score"] for trial in trials] == [3, 6, 9]
    found = [os.path.relpath(trial.local_dir, tmp_path) for trial in trials]
    assert found == ["here/same", "here/same_2", "there/same"]


@pytest.mark.parametrize("concurrent", [True, False])
def test_several_experiments(tmp_path, concurrent):
    told = []

    class Told(tune.Callback):
        def on_trial_complete(self, iteration, trials, trial, **info):
            told.append(str(trial))

    trials = tune.run_experiments(
        {
            "functions": {"run": train, "config": {"a": tune.grid_search([1, 2])}},
            "classes": {"run": Steps, "config": {"a": 5}, "stop": {"training_iteration": 2}},
        },
        storage_path=str(tmp_path),
        concurrent=concurrent,
        callbacks=[Told()],
        # Whoever reports first, none is stopped before its last result.
        scheduler=tune.create_scheduler("asha", metric="score", mode="max", grace_period=3),
        verbose=0,
    )

    assert [trial.status for trial in trials] == ["TERMINATED"] * 3
    assert [trial.last_result["score"] for trial in trials] == [3, 6, 5]
    assert sorted(os.listdir(tmp_path)) == ["classes", "functions"]
    assert len(told) == 3


def test_each_experiment_is_judged_and_searched_by_itself(tmp_path):
    """Ray Tune judges the trials of all by one scheduler, and refuses a searcher for several."""
    judged, asked = {}, {}

    class Seen(FIFOScheduler):
        def on_trial_add(self, controller, trial):
            judged.setdefault(id(self), []).append(trial.trainable_name)
            super().on_trial_add(controller, trial)

    class Own(Searcher):
        def suggest(self, trial_id):
            asked[id(self)] = asked.get(id(self), 0) + 1
            return {"a": asked[id(self)]}

        def on_trial_complete(self, trial_id, result=None, error=False):
            pass

    scheduler, searcher = Seen(), Own("score", "max")
    trials = tune.run_experiments(
        {"functions": {"run": train, "num_samples": 2}, "classes": {"run": Steps}},
        storage_path=str(tmp_path),
        concurrent=False,
        stop={"training_iteration": 1},
        scheduler=scheduler,
        search_alg=searcher,
        verbose=0,
    )

    assert [trial.config["a"] for trial in trials] == [1, 2, 1]
    assert sorted(map(len, judged.values())) == [1, 2]
    assert id(scheduler) not in judged
    assert id(searcher) not in asked


def test_a_failure_is_raised_when_all_have_ended(tmp_path):
    experiments = [
        Experiment("bad", train, config={"fails": True}),
        Experiment("good", train, config={"a": 1}),
    ]
    with pytest.raises(TrialFailed, match=r"(?s)1 of 2 trials failed.*no luck"):
        tune.run(experiments, storage_path=str(tmp_path), verbose=0)
    analysis = tune.run(
        experiments, storage_path=str(tmp_path), verbose=0, raise_on_failed_trial=False
    )
    assert [trial.status for trial in analysis.trials] == ["ERROR", "TERMINATED"]


def test_a_signal_reaches_the_sweeps_of_all_threads():
    import signal

    begun, ended = threading.Barrier(3), []

    def sweep():
        interrupted = threading.Event()
        with handle_signals(lambda reason: (ended.append(reason), interrupted.set())):
            begun.wait(20)
            assert interrupted.wait(20)

    threads = [threading.Thread(target=sweep) for _ in range(2)]
    with relay_signals() as interruption:
        for thread in threads:
            thread.start()
        begun.wait(20)
        signal.raise_signal(signal.SIGINT)
        for thread in threads:
            thread.join(20)
        late = []
        late_one = threading.Thread(target=lambda: handle_signals(late.append).__enter__())
        late_one.start()
        late_one.join(20)

    assert ended == ["SIGINT received"] * 2
    assert late == ["SIGINT received"], "a sweep that begins later is ended too"
    assert interruption.signal is signal.SIGINT
