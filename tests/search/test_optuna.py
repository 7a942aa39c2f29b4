from __future__ import annotations

import builtins
import logging

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefect_tune import space as tune
from prefect_tune.error import InvalidArgument
from prefect_tune.search import FINISHED, OptunaSearch, Suggestion, make_source


def run(source, objective, metric="score"):
    trials = []
    while (suggestion := source.next()) is not FINISHED:
        assert isinstance(suggestion, Suggestion)
        trials.append(suggestion)
        source.on_trial_complete(suggestion.trial_id, {metric: objective(suggestion.config)})
    return trials


def source_of(searcher, space=None, num_samples=1, **arguments):
    arguments = {"metric": "score", "mode": "max", **arguments}
    return make_source(searcher, space or {}, num_samples, **arguments)


EVERYTHING = {
    "uniform": tune.uniform(-1, 1),
    "quniform": tune.quniform(0, 0.3, 0.1),
    "loguniform": tune.loguniform(1e-4, 1),
    "qloguniform": tune.qloguniform(0.5, 8, 0.5),
    "randint": tune.randint(0, 3),
    "qrandint": tune.qrandint(0, 10, 5),
    "lograndint": tune.lograndint(1, 100),
    "qlograndint": tune.qlograndint(2, 64, 2),
    "randn": tune.randn(3, 2),
    "qrandn": tune.qrandn(3, 2, 0.5),
    "choice": tune.choice(["a", None, 1.5]),
    "weighted": tune.choice([1, 1, True]),
    "objects": tune.choice([[1, 2], (3,), len]),
    "list": [tune.uniform(0, 1), {"x": tune.randint(0, 2)}],
}


def test_all_domains():
    for trial in run(source_of(OptunaSearch(seed=0), EVERYTHING, 30), lambda c: c["uniform"]):
        for name, domain in EVERYTHING.items():
            if name != "list":
                assert domain.is_valid(trial.config[name]), name
        assert 0 <= trial.config["list"][0] <= 1
        assert trial.config["list"][1]["x"] in (0, 1)
        assert isinstance(trial.config["randint"], int)


def test_it_learns():
    space = {"x": tune.uniform(-10, 10), "n": {"y": tune.uniform(-10, 10)}}

    def objective(config):
        return (config["x"] - 2) ** 2 + (config["n"]["y"] + 3) ** 2

    source = source_of(OptunaSearch(seed=1), space, 80, mode="min")
    scores = [objective(trial.config) for trial in run(source, objective)]
    assert sum(scores[-20:]) < sum(scores[:20]) / 3
    assert source.searcher.study.best_value == min(scores)
    assert set(source.searcher.study.best_params) == {"x", "n/y"}


def test_of_a_normal_distribution_the_probability_is_searched():
    points = [{"x": 5.0}]
    source = source_of(OptunaSearch(seed=1, points_to_evaluate=points), {"x": tune.randn(3, 2)}, 60)
    trials = run(source, lambda config: -abs(config["x"] - 4))
    assert trials[0].config["x"] == 5.0
    assert source.searcher.study.trials[0].params == {"x": pytest.approx(0.841, abs=1e-3)}
    distances = [abs(trial.config["x"] - 4) for trial in trials]
    assert sum(distances[-20:]) < sum(distances[:20]) / 2


def test_conditional_spaces_have_one_parameter_per_branch_and_distribution():
    space = {
        "m": tune.choice(
            [
                {"kind": "sgd", "lr": tune.loguniform(1e-3, 1), "same": tune.uniform(0, 1)},
                {"kind": "adam", "lr": tune.randint(1, 5), "same": tune.uniform(0, 1)},
                tune.uniform(5, 6),
            ]
        ),
        "f": tune.sample_from(lambda spec: {"domain": tune.randint(0, 3)}),
    }
    source = source_of(OptunaSearch(seed=1), space, 30)
    trials = run(source, lambda config: 1.0)
    kinds = {c["kind"] if isinstance(c := trial.config["m"], dict) else "float" for trial in trials}
    assert kinds == {"sgd", "adam", "float"}
    for trial in trials:
        model = trial.config["m"]
        if isinstance(model, float):
            assert 5 <= model <= 6
        elif model["kind"] == "adam":
            assert isinstance(model["lr"], int)
        assert trial.config["f"]["domain"] in (0, 1, 2)
    names = {name for trial in source.searcher.study.trials for name in trial.params}
    assert names == {"m", "m/lr", "m/same", "m/lr@2", "m@2"}


def test_points_come_first_nested_flat_and_partial():
    space = {
        "x": tune.uniform(0, 1),
        "n": {"y": tune.choice(["a", "b"])},
        "m": tune.choice([{"kind": 1, "lr": tune.uniform(0, 1)}, {"kind": 2}]),
    }
    points = [
        {"x": 0.1, "n": {"y": "b"}, "m": {"kind": 1, "lr": 0.25}},
        {"x": 0.2, "n/y": "a", "m": {"kind": 2}},
        {"x": 0.3},
    ]
    first, second, third = run(
        source_of(OptunaSearch(points_to_evaluate=points), space, 3), lambda config: 1.0
    )
    assert first.config == points[0]
    assert second.config == {"x": 0.2, "n": {"y": "a"}, "m": {"kind": 2}}
    assert third.config["x"] == 0.3


@given(st.integers(0, 10_000))
def test_every_config_of_a_space_can_be_a_point(seed):
    branch = tune.choice([{"kind": "a", "lr": tune.loguniform(1e-3, 1)}, tune.randint(0, 3), [1]])
    space = {**EVERYTHING, "branch": branch}
    (variant,) = tune.generate_variants(space, random_state=seed)
    source = source_of(OptunaSearch(points_to_evaluate=[variant.config]), space)
    assert source.next().config == variant.config


@pytest.mark.parametrize(
    "point", [{"z": 1}, {"n": {"z": 1}}, {"n": {"y": "c"}}, {"m": {"kind": 3}}, {"n": 1}]
)
def test_wrong_points_are_named_before_any_trial(point):
    space = {
        "n": {"y": tune.choice(["a", "b"])},
        "m": tune.choice([{"kind": 1, "lr": tune.uniform(0, 1)}]),
    }
    with pytest.raises(InvalidArgument, match="`points_to_evaluate`"):
        source_of(OptunaSearch(points_to_evaluate=[point]), space)


def test_evaluated_rewards_are_learnt_and_not_run():
    points = [{"x": 0.5, "m": [1]}, {"x": 0.7, "m": [2]}]
    space = {"x": tune.uniform(0, 1), "m": tune.choice([[1], [2]])}
    searcher = OptunaSearch(points_to_evaluate=points, evaluated_rewards=[3.0, 9.0], seed=0)
    trials = run(source_of(searcher, space, 2), lambda config: 1.0)
    assert [trial.config["x"] for trial in trials] != [0.5, 0.7]
    assert len(searcher.study.trials) == 4
    assert searcher.study.best_value == 9.0
    assert searcher.study.best_params["x"] == 0.7


def test_add_evaluated_point():
    searcher = OptunaSearch({"x": tune.uniform(0, 1)}, "score", "max")
    searcher.add_evaluated_point({"x": 0.5}, 2.0, intermediate_values=[1.0, 2.0])
    searcher.add_evaluated_point({"x": 0.6}, 3.0, pruned=True)
    searcher.add_evaluated_point({"x": 0.7}, float("nan"), error=True)
    states = [trial.state.name for trial in searcher._ot_study.trials]
    assert states == ["COMPLETE", "PRUNED", "FAIL"]
    assert searcher.study.trials[0].intermediate_values == {1: 1.0, 2: 2.0}
    with pytest.raises(InvalidArgument, match="`points_to_evaluate`"):
        searcher.add_evaluated_point({"x": 5}, 2.0)


def test_several_objectives():
    searcher = OptunaSearch(seed=0, metric=["a", "b"], mode=["min", "max"])
    source = make_source(searcher, {"x": tune.uniform(0, 1)}, 10)
    assert not source.wants_results
    for _ in range(10):
        trial = source.next()
        x = trial.config["x"]
        source.on_trial_result(trial.trial_id, {"a": x, "b": x, "training_iteration": 1})
        source.on_trial_complete(trial.trial_id, {"a": x, "b": 1 - x})
    assert len(searcher.study.best_trials) == 1
    assert [direction.name for direction in searcher.study.directions] == ["MINIMIZE", "MAXIMIZE"]

    class Listening(OptunaSearch):
        def on_trial_result(self, trial_id, result):
            pass

    assert Listening(metric=["a", "b"], mode=["min", "max"]).wants_results


def test_define_by_run():
    def space(trial):
        kind = trial.suggest_categorical("model/kind", ["a", "b"])
        if kind == "a":
            trial.suggest_float("model/x", 0, 1)
        return {"data": "d"}

    points = [{"model": {"kind": "a", "x": 0.5}}]
    searcher = OptunaSearch(space, points_to_evaluate=points, seed=0)
    trials = run(source_of(searcher, {"more": 1}, 10), lambda config: 1.0)
    assert trials[0].config == {"model": {"kind": "a", "x": 0.5}, "data": "d", "more": 1}
    assert {trial.config["model"]["kind"] for trial in trials} == {"a", "b"}
    assert all(
        ("x" in c["model"]) == (c["model"]["kind"] == "a") for c in (t.config for t in trials)
    )


def test_wrong_define_by_run_functions():
    with pytest.raises(InvalidArgument, match="`space`"):
        source_of(OptunaSearch(lambda: None))
    source = source_of(OptunaSearch(lambda trial: 3))
    with pytest.raises(InvalidArgument, match="`space`"):
        source.next()
    searcher = OptunaSearch(
        lambda trial: None, points_to_evaluate=[{"x": 1}], evaluated_rewards=[1.0]
    )
    with pytest.raises(InvalidArgument, match="define-by-run") as caught:
        source_of(searcher).next()
    assert isinstance(caught.value, TypeError)


def test_optuna_distributions_as_a_space():
    space = {
        "x": optuna.distributions.FloatDistribution(0, 1),
        "n/y": optuna.distributions.IntDistribution(1, 3),
    }
    searcher = OptunaSearch(space, points_to_evaluate=[{"n": {"y": 2}}])
    first, second = run(source_of(searcher, num_samples=2), lambda config: 1.0)
    assert first.config["n"]["y"] == 2
    assert set(second.config) == {"x", "n"}
    with pytest.raises(InvalidArgument, match="'z'"):
        source_of(OptunaSearch(space, points_to_evaluate=[{"z": 2}]))


def test_own_space_keeps_its_constants_and_takes_metric_and_mode():
    searcher = OptunaSearch({"x": tune.uniform(0, 1), "c": 5})
    trial = source_of(searcher, {"more": 1}).next()
    assert set(trial.config) == {"x", "c", "more"}
    assert (searcher.metric, searcher.mode) == ("score", "max")
    with pytest.raises(InvalidArgument, match="`param_space`"):
        source_of(OptunaSearch({"x": tune.uniform(0, 1)}), {"y": tune.uniform(0, 1)})


def test_a_bare_number_is_the_default_metric():
    source = make_source(OptunaSearch(), {"x": tune.uniform(0, 1)}, 1, mode="min")
    trial = source.next()
    source.on_trial_complete(trial.trial_id, {"_metric": 4.0})
    assert source.searcher.study.best_value == 4.0


def test_intermediate_values_are_reported_once_per_step(recwarn):
    source = source_of(OptunaSearch(), {"x": tune.uniform(0, 1)})
    assert source.wants_results
    trial = source.next()
    for step, score in [(1, 1.0), (2, 2.0), (1, 1.0), (2, 2.0), (3, 3.0)]:
        result = {"score": score, "training_iteration": step}
        source.on_trial_result(trial.trial_id, result)
    source.on_trial_result(trial.trial_id, {"other": 1, "training_iteration": 4})
    source.on_trial_complete(trial.trial_id, {"score": 3.0})
    (frozen,) = source.searcher.study.trials
    assert frozen.intermediate_values == {1: 1.0, 2: 2.0, 3: 3.0}
    assert not recwarn.list


def test_failures_and_nan_are_failed_trials():
    source = source_of(OptunaSearch(), {"x": tune.uniform(0, 1)}, 4)
    for result, error in [
        ({"score": 1.0}, True),
        (None, False),
        ({"score": float("nan")}, False),
        ({"score": float("inf")}, False),
    ]:
        source.on_trial_complete(source.next().trial_id, result, error)
    states = [trial.state.name for trial in source.searcher.study.trials]
    assert states == ["FAIL", "FAIL", "FAIL", "COMPLETE"]


def test_stored_studies_continue_and_survive_a_restore(tmp_path):
    url = f"sqlite:///{tmp_path}/study.db"
    space = {"x": tune.uniform(0, 1), "f": tune.sample_from(lambda config: config["x"])}

    def make():
        return OptunaSearch(
            storage=url, study_name="s", seed=0, points_to_evaluate=[{"x": 0.25}, {"x": 0.75}]
        )

    first = source_of(make(), space, 3)
    trials = [first.next()]
    second = source_of(make(), space, 3)
    second.restore_state(first.save_state())
    second.on_trial_complete(trials[0].trial_id, {"score": 1.0})
    trials += run(second, lambda config: 2.0)
    assert [trial.config["x"] for trial in trials[:2]] == [0.25, 0.75]
    assert len(trials) == 3
    stored = optuna.load_study(study_name="s", storage=url)
    assert [trial.state.name for trial in stored.trials] == ["COMPLETE"] * 3


def test_any_sampler():
    sampler = optuna.samplers.NSGAIISampler(seed=0)
    run(source_of(OptunaSearch(sampler=sampler), {"x": tune.uniform(0, 1)}, 4), lambda config: 1.0)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"sampler": "tpe"}, "sampler"),
        ({"sampler": optuna.samplers.TPESampler}, "sampler"),
        ({"points_to_evaluate": {"x": 1}}, "points_to_evaluate"),
        ({"points_to_evaluate": [{"x": 1}], "evaluated_rewards": []}, "evaluated_rewards"),
        ({"mode": "maximum"}, "mode"),
    ],
)
def test_wrong_arguments_are_named(arguments, named):
    with pytest.raises(InvalidArgument, match=f"`{named}`"):
        OptunaSearch(**arguments)


class Odd(tune.Domain):
    def linear_quantile(self):
        return str


def test_what_only_shows_with_the_experiment():
    space = {"x": tune.uniform(0, 1)}
    with pytest.raises(InvalidArgument, match="`mode`"):
        make_source(OptunaSearch(), space, metric="score")
    with pytest.raises(InvalidArgument, match=r"`param_space`.*Odd.*'n/r'"):
        source_of(OptunaSearch(), {"n": {"r": Odd()}})
    with pytest.raises(InvalidArgument, match="`space`"):
        OptunaSearch(metric="score", mode="max").suggest("a")
    with pytest.raises(InvalidArgument, match="`mode`"):
        make_source(OptunaSearch(metric=["a", "b"]), space, mode="min")


@pytest.mark.parametrize(
    ("point", "reward", "named"),
    [
        ({"x": 7}, 1.0, "`points_to_evaluate`.*7"),
        ({"x": 0.5}, [1.0, 2.0], r"`evaluated_rewards`.*\[1.0, 2.0\]"),
    ],
)
def test_wrong_known_points_are_named_before_any_trial(point, reward, named):
    search = OptunaSearch(points_to_evaluate=[point], evaluated_rewards=[reward])
    with pytest.raises(InvalidArgument, match=named):
        source_of(search, {"x": tune.uniform(0, 1)})


def test_a_space_of_its_own_is_named_so():
    with pytest.raises(InvalidArgument, match=r"`space`.*must be a dict"):
        source_of(OptunaSearch([1, 2]))


def test_a_given_sampler_is_not_seeded(caplog):
    OptunaSearch(sampler=optuna.samplers.RandomSampler(), seed=3)
    assert "seed=3 is ignored" in caplog.text


def test_optuna_is_not_asked_to_announce_studies(caplog):
    with caplog.at_level(logging.INFO):
        before = optuna.logging.get_verbosity()
        source_of(OptunaSearch(), {"x": tune.uniform(0, 1)}).next()
        assert optuna.logging.get_verbosity() == before


def test_missing_optuna_says_what_to_install(monkeypatch):
    real = builtins.__import__

    def fake(name, *arguments, **more):
        if name == "optuna":
            raise ImportError(name)
        return real(name, *arguments, **more)

    monkeypatch.setattr(builtins, "__import__", fake)
    with pytest.raises(InvalidArgument, match=r"pip install 'prefect-tune\[optuna\]'"):
        OptunaSearch()


def configs_of(searcher, space=None, num_samples=1):
    return [trial.config for trial in run(source_of(searcher, space, num_samples), lambda c: 1.0)]


def test_points_are_tried_as_they_are_given():
    space = {
        "step": tune.quniform(0, 1, 0.25),
        "bounded": tune.uniform(0, 10),
        "constant": 3,
        "twice": tune.sample_from(lambda spec: spec.config.constant * 2),
    }
    point = {"step": 0.3, "bounded": 50, "constant": 4}
    search = OptunaSearch(seed=1, points_to_evaluate=[point])
    first, second = configs_of(search, space, 2)
    assert first == {**point, "twice": 8}
    assert second["constant"] == 3
    assert search.study.trials[0].params == {"step": 0.3, "bounded": 50}


def test_points_replace_constants_of_a_define_by_run_function(caplog):
    def space(trial):
        trial.suggest_int("n/x", 0, 9)
        return {"n": {"y": 4}}

    points = [{"n": {"x": 1, "y": 5}, "z": 7}]
    first, second = configs_of(OptunaSearch(space, points_to_evaluate=points), None, 2)
    assert first == {"n": {"x": 1, "y": 5}}
    assert second["n"]["y"] == 4
    assert "'z'" in caplog.text


@pytest.mark.parametrize("value", [None, "5", float("nan"), True, 0])
def test_points_that_the_study_has_no_place_for_are_named(value):
    for space in (
        {"a": tune.loguniform(0.1, 10)},
        OptunaSearch({"a": optuna.distributions.FloatDistribution(0.1, 10, log=True)}),
    ):
        own = isinstance(space, OptunaSearch)
        search = space if own else OptunaSearch()
        search._points = [{"a": value}]
        with pytest.raises(InvalidArgument, match=r"points_to_evaluate.*'a'"):
            source_of(search, None if own else space)


def test_more_points_than_samples_are_told(caplog):
    points = [{"x": n} for n in range(5)]
    assert (
        len(configs_of(OptunaSearch(points_to_evaluate=points), {"x": tune.randint(0, 9)}, 3)) == 3
    )
    assert "leaves out 2 of the 5 points_to_evaluate" in caplog.text


def test_rewards_that_are_no_numbers_are_named():
    with pytest.raises(InvalidArgument, match="evaluated_rewards"):
        OptunaSearch(points_to_evaluate=[{"x": 1}], evaluated_rewards=[float("nan")])


def test_a_restored_search_takes_its_new_space():
    first = source_of(OptunaSearch(seed=1), {"x": tune.uniform(0, 1), "c": tune.choice([1, 2])}, 3)
    run(first, lambda config: config["x"])
    space = {"x": tune.uniform(5, 6), "c": tune.choice(["a", "b", "c"]), "k": 7}
    second = source_of(OptunaSearch(seed=1), space, 9)
    second.restore_state(first.save_state())
    trials = run(second, lambda config: config["x"])
    assert len(trials) == 6
    for trial in trials:
        assert 5 <= trial.config["x"] <= 6
        assert trial.config["c"] in ("a", "b", "c")
        assert trial.config["k"] == 7
    assert len(second.searcher.study.trials) == 9


def test_a_stored_study_of_another_space_goes_on(tmp_path):
    def search(space):
        url = f"sqlite:///{tmp_path}/study.db"
        return OptunaSearch(space, storage=url, study_name="s", metric="score", mode="max")

    choice = optuna.distributions.CategoricalDistribution
    for choices in ([1, 2], ["a", "b", "c"]):
        for trial in run(
            source_of(search({"c": choice(choices)}), None, 2, metric=None, mode=None),
            lambda c: 1.0,
        ):
            assert trial.config["c"] in choices
    with pytest.raises(InvalidArgument, match=r"mode.*maximize"):
        OptunaSearch(
            {"c": choice([1])},
            "score",
            "min",
            storage=f"sqlite:///{tmp_path}/study.db",
            study_name="s",
        ).suggest("id")


def test_a_search_can_be_used_again():
    search = OptunaSearch(seed=1)
    space = {"x": tune.uniform(0, 1)}
    configs = configs_of(search, space, 2) + configs_of(search, space, 2)
    assert len({config["x"] for config in configs}) == 4
    assert len(search.study.trials) == 4
    assert configs_of(search, {"y": tune.randint(0, 1)}) == [{"y": 0}]
    run(source_of(search, space, 1, mode="min"), lambda config: 1.0)
    assert [d.name for d in search.study.directions] == ["MINIMIZE"]
    assert len(search.study.trials) == 1


def test_a_space_as_distributions():
    space = {
        "a": tune.choice([2, 3]),
        "b": {"x": tune.qrandint(0, 4, 2), "y": 4},
        "l": tune.uniform(0, 1),
    }
    converted = OptunaSearch.convert_search_space(space)
    assert converted == {
        "a": optuna.distributions.CategoricalDistribution([2, 3]),
        "b/x": optuna.distributions.IntDistribution(0, 4, step=2),
        "l": optuna.distributions.FloatDistribution(0, 1),
    }
    (config,) = configs_of(OptunaSearch(converted))
    assert set(config) == {"a", "b", "l"}
    for wrong in (
        tune.grid_search([1]),
        tune.sample_from(lambda: 1),
        tune.choice([{"y": tune.uniform(0, 1)}]),
        tune.randn(),
    ):
        with pytest.raises(InvalidArgument, match="'x'"):
            OptunaSearch.convert_search_space({"x": wrong})
