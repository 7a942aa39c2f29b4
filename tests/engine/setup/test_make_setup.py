"""What is decided before anything starts."""

from __future__ import annotations

import pytest

import prefect_tune as tune
from prefect_tune.engine.setup.make_setup import make_setup
from prefect_tune.engine.setup.request import ExperimentRequest
from prefect_tune.error import InvalidArgument, TuneError
from prefect_tune.schedulers import ASHAScheduler, FIFOScheduler, MedianStoppingRule
from prefect_tune.search import BasicVariantGenerator, ConcurrencyLimiter
from prefect_tune.search.optuna import OptunaSearch
from prefect_tune.settings import TuneSettings
from prefect_tune.storage.journal.header import parse_header


def train(config): ...


def two_objectives():
    return OptunaSearch(metric=["loss", "size"], mode=["min", "min"])


@pytest.mark.parametrize(
    ("config", "objectives"),
    [
        ({}, (None, None)),
        ({"metric": "loss", "mode": "min"}, ("loss", "min")),
        ({"search_alg": OptunaSearch(metric="loss", mode="min")}, ("loss", "min")),
        ({"search_alg": two_objectives()}, (["loss", "size"], ["min", "min"])),
        (
            {"search_alg": ConcurrencyLimiter(two_objectives(), 2)},
            (["loss", "size"], ["min", "min"]),
        ),
        (
            {"metric": ["loss", "size"], "mode": ["min", "max"], "search_alg": OptunaSearch()},
            (["loss", "size"], ["min", "max"]),
        ),
    ],
)
def test_with_several_objectives_no_trial_is_the_best(config, objectives):
    request = ExperimentRequest(
        train, {"x": tune.uniform(0, 1)}, tune_config=tune.TuneConfig(**config)
    )
    setup = make_setup(request, TuneSettings())
    assert setup.objectives == objectives
    # Whoever reads the experiment later compares its trials in the same way.
    written = parse_header(setup.header(1.0, "a").encode())
    assert (written.arguments["metric"], written.arguments["mode"]) == objectives


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("scheduler", [ASHAScheduler, MedianStoppingRule])
def test_what_only_the_scheduler_was_told_is_what_trials_are_compared_by(scheduler, mode):
    config = tune.TuneConfig(scheduler=scheduler(metric="loss", mode=mode))
    setup = make_setup(ExperimentRequest(train, {}, tune_config=config), TuneSettings())
    assert (setup.metric, setup.mode) == ("loss", mode)


def test_a_scheduler_of_the_users_own_may_keep_its_mode_where_it_likes():
    class Own(ASHAScheduler):
        def __init__(self, metric, mode):
            self.mode = mode
            super().__init__(metric=metric, mode=mode)

    class Simple(FIFOScheduler):
        mode = "min"

    for scheduler in (Own("loss", "min"), Simple()):
        config = tune.TuneConfig(scheduler=scheduler)
        setup = make_setup(ExperimentRequest(train, {}, tune_config=config), TuneSettings())
        assert setup.mode == "min"


@pytest.mark.parametrize(
    ("trainable", "settings", "name", "named"),
    [
        (train, {}, "mine", True),
        (train, {}, None, False),
        (train, {"disable_dated_subdir": True}, None, True),
        ("registered", {}, None, True),
    ],
)
def test_only_a_dated_name_may_change(monkeypatch, trainable, settings, name, named):
    monkeypatch.setattr("prefect_tune.registry._trainables", {"registered": train})
    request = ExperimentRequest(trainable, run_config=tune.RunConfig(name=name))
    setup = make_setup(request, TuneSettings(**settings))
    assert setup.named is named
    assert setup.name.startswith("train_20") is not named


@pytest.mark.parametrize("storage", [{}, {"storage_path": "memory://bucket/x"}])
def test_a_name_may_have_directories_before_it(tmp_path, storage):
    run = tune.RunConfig(name="group/of/mine", **({"storage_path": str(tmp_path)} | storage))
    settings = TuneSettings(result_dir=str(tmp_path))
    setup = make_setup(ExperimentRequest(train, run_config=run), settings)
    assert setup.name == "mine"
    assert setup.places.root == str(tmp_path / "group" / "of")
    there = setup.places.location_of(setup.name)
    assert (there and there.url) == ("memory://bucket/x/group/of/mine" if storage else None)


@pytest.mark.parametrize(
    ("config", "limit"),
    [
        ({}, None),
        ({"max_concurrent_trials": 0}, None),
        ({"max_concurrent_trials": 3}, 3),
        ({"search_alg": BasicVariantGenerator(max_concurrent=2)}, 2),
        ({"search_alg": ConcurrencyLimiter(OptunaSearch(metric="x", mode="min"), 4)}, 4),
    ],
)
def test_how_many_trials_may_run_at_a_time(config, limit):
    setup = make_setup(ExperimentRequest(train, {}, tune.TuneConfig(**config)), TuneSettings())
    assert setup.max_running == limit
    assert setup.for_debugging().max_running == 1


@pytest.mark.parametrize("scheduler", [ASHAScheduler(), ASHAScheduler(metric="m", mode="max")])
def test_a_scheduler_begins_anew_with_each_experiment(scheduler):
    own = scheduler.metric is not None
    config = tune.TuneConfig(scheduler=scheduler, **({} if own else {"metric": "m", "mode": "max"}))
    request = ExperimentRequest(train, {}, tune_config=config)
    first = make_setup(request, TuneSettings())
    first.initial_states.mark_in_use()
    with pytest.raises(InvalidArgument, match=r"`scheduler`.*in use by another experiment"):
        make_setup(request, TuneSettings())
    scheduler._climbs["t1"] = "left over"
    first.initial_states.release()

    second = make_setup(request, TuneSettings())
    assert second.scheduler is scheduler
    assert scheduler._climbs == {}
    assert second.objectives == first.objectives


def test_formats_of_its_own_are_the_class_s_business():
    class Exports(tune.Trainable):
        def step(self): ...

        def export_model(self, export_formats, export_dir=None): ...

    class Known(Exports):
        export_model = tune.Trainable.export_model

    class Inner(Known):
        def _export_model(self, export_formats, export_dir):
            return {}

    def plan_of(trainable):
        return make_setup(ExperimentRequest(trainable, {}, export_formats=["own"]), TuneSettings())

    assert plan_of(Exports).export_formats == ("own",)
    assert plan_of(Inner).export_formats == ("own",)
    assert Inner().export_model(["own"]) == {}
    with pytest.raises(InvalidArgument, match="`export_formats`"):
        plan_of(Known)


def test_a_deleted_working_directory_is_said_before_anything_starts(tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(TuneError, match="working directory of this process was deleted"):
        make_setup(ExperimentRequest(train, {}), TuneSettings())
