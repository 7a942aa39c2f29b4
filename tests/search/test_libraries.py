"""Searchers on other libraries' optimisers; those whose library is not installed are skipped."""

from __future__ import annotations

import copy
import importlib.util
import logging
from typing import Any, ClassVar

import numpy as np
import pytest

from prefect_tune.error import InvalidArgument
from prefect_tune.search import FINISHED, SEARCHERS, Searcher, Suggestion, make_source
from prefect_tune.search.libraries.ax import AxSearch
from prefect_tune.search.libraries.base import LibrarySearcher
from prefect_tune.search.libraries.bayesopt import BayesOptSearch
from prefect_tune.search.libraries.flaml import CFO, BlendSearch
from prefect_tune.search.libraries.hyperopt import HyperOptSearch
from prefect_tune.search.libraries.nevergrad import NevergradSearch
from prefect_tune.search.libraries.skopt import SkOptSearch
from prefect_tune.search.libraries.zoopt import ZOOptSearch
from prefect_tune.space import choice, grid_search, loguniform, randint, randn, uniform
from prefect_tune.testing.searcher import SearcherConformance

LIBRARIES = [e.load() for e in SEARCHERS if issubclass(e.load(), LibrarySearcher)]


@pytest.fixture(autouse=True)
def _a_gaussian_process_is_looked_at_in_few_places(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 10,000 places the best is suggested; only how good it is needs as many."""
    if importlib.util.find_spec("bayes_opt") and not request.node.get_closest_marker("slow"):
        from bayes_opt.acquisition import AcquisitionFunction

        in_all, few = AcquisitionFunction._acq_min, {"n_random": 100, "n_smart": 1}
        monkeypatch.setattr(
            AcquisitionFunction, "_acq_min", lambda *given, **more: in_all(*given, **more | few)
        )


def needs(cls: type[Any]) -> None:
    try:
        cls.load_library()
    except InvalidArgument as error:
        pytest.skip(str(error))


class LibraryConformance(SearcherConformance):
    cls: type[Any]
    arguments: ClassVar[dict[str, Any]] = {}

    @pytest.fixture(autouse=True)
    def _library(self) -> None:
        needs(self.cls)

    def make(self) -> Searcher:
        searcher: Searcher = self.cls(**{"seed": 1, **self.arguments})
        return searcher


class TestHyperOpt(LibraryConformance):
    cls = HyperOptSearch

    def make(self) -> Searcher:
        return HyperOptSearch(random_state_seed=1, n_initial_points=3)


class TestBayesOpt(LibraryConformance):
    cls = BayesOptSearch

    def make(self) -> Searcher:
        return BayesOptSearch(random_search_steps=5)

    def space(self) -> dict[str, Any]:
        space = super().space()
        return {**space, "model": {**space["model"], "act": "relu"}}


@pytest.mark.slow
class TestSkOpt(LibraryConformance):
    cls = SkOptSearch
    # The default, but with fewer points to try in the model.
    arguments: ClassVar[dict[str, Any]] = {
        "optimizer": {
            "n_initial_points": 4,
            "acq_func": "EI",
            "acq_optimizer": "sampling",
            "acq_optimizer_kwargs": {"n_points": 100},
        }
    }


class TestBlendSearch(LibraryConformance):
    cls = BlendSearch


class TestCFO(LibraryConformance):
    cls = CFO


class TestZOOpt(LibraryConformance):
    cls = ZOOptSearch
    arguments: ClassVar[dict[str, Any]] = {"budget": 20}


class TestNevergrad(LibraryConformance):
    cls = NevergradSearch


@pytest.mark.slow
@pytest.mark.timeout(600)
class TestAx(LibraryConformance):
    cls = AxSearch
    # The last of the suggestions come from the model; one takes seconds of a processor.
    arguments: ClassVar[dict[str, Any]] = {"initialization_budget": 7}


#: Their models take seconds for each suggestion on a busy machine.
SLOW = ("SkOptSearch", "AxSearch")


@pytest.fixture(
    params=[
        pytest.param(
            cls,
            marks=[pytest.mark.slow, pytest.mark.timeout(900)] if cls.__name__ in SLOW else (),
            id=cls.__name__,
        )
        for cls in LIBRARIES
    ]
)
def cls(request: pytest.FixtureRequest) -> Any:
    needs(request.param)
    return request.param


def optimise(searcher: Any, space: dict[str, Any], objective: Any, trials: int, slots: int = 1):
    source = make_source(searcher, space, trials, metric="loss", mode="min", seed=7)
    running: list[Suggestion] = []
    found = []
    while True:
        suggestion = source.next() if len(running) < slots else None
        if isinstance(suggestion, Suggestion):
            running.append(suggestion)
        elif running:
            done = running.pop(0)
            found.append((objective(done.config), done.config))
            source.on_trial_complete(done.trial_id, {"loss": found[-1][0]})
        elif suggestion is FINISHED:
            return found


SPACE = {"x": uniform(-5, 5), "n": {"y": loguniform(1e-3, 1e3)}}


def bowl(config: dict[str, Any]) -> float:
    return float((config["x"] - 2) ** 2 + np.log10(config["n"]["y"] / 10) ** 2)


@pytest.mark.slow
def test_each_finds_better_than_random(cls):
    found = optimise(cls(), SPACE, bowl, 30)
    assert min(loss for loss, _ in found) < 0.6
    later = [loss for loss, _ in found[15:]]
    assert np.median(later) < 8  # of random points it is 10


def test_each_suggests_different_points_while_others_run(cls):
    found = optimise(cls(), SPACE, bowl, 16, slots=4)
    assert len({(c["x"], c["n"]["y"]) for _, c in found}) == len(found)


def test_points_are_tried_first_and_as_given(cls, caplog):
    points = [{"x": 1, "n": {"y": 10.0}}, {"n/y": 2.0}, {"x": 99}]
    with caplog.at_level(logging.WARNING):
        found = optimise(cls(points_to_evaluate=points), SPACE, bowl, 5)
    assert found[0][1] == {"x": 1, "n": {"y": 10.0}}
    assert found[1][1]["n"]["y"] == 2.0
    assert found[2][1]["x"] == 99
    assert "99 is outside of" in caplog.text


def test_known_rewards_are_not_run_again(cls):
    points = [{"x": x, "n": {"y": 10.0}} for x in np.linspace(-4, 4, 9)]
    rewards = [bowl(point) for point in points]
    searcher = cls(points_to_evaluate=points, evaluated_rewards=rewards)
    found = optimise(searcher, SPACE, bowl, 6)
    assert all(config not in points for _, config in found)


@pytest.mark.parametrize(
    ("arguments", "space", "named"),
    [
        ({"points_to_evaluate": [{"z": 1}]}, SPACE, "`points_to_evaluate`.*'z' is not in"),
        (
            {"points_to_evaluate": [{"x": 9}], "evaluated_rewards": [1.0]},
            SPACE,
            "`points_to_evaluate`.*'x' is 9",
        ),
        (
            {"points_to_evaluate": [{"x": 1}], "evaluated_rewards": []},
            SPACE,
            "`evaluated_rewards`.*one entry per point",
        ),
        (
            {"points_to_evaluate": [{"x": 1}], "evaluated_rewards": [float("nan")]},
            SPACE,
            "`evaluated_rewards`.*has nan",
        ),
        ({"points_to_evaluate": 3}, SPACE, "`points_to_evaluate`.*list of dicts, got 3"),
        ({"points_to_evaluate": [3]}, SPACE, "`points_to_evaluate`.*list of dicts"),
        (
            {"points_to_evaluate": [{"x": 1}], "evaluated_rewards": 3},
            SPACE,
            "`evaluated_rewards`.*must be a list, got 3",
        ),
        ({}, {"x": grid_search([1, 2])}, "`param_space`.*grid_search at 'x'"),
        ({"space": {"x": grid_search([1, 2])}}, None, "`space`.*grid_search at 'x'"),
        ({"space": 3}, None, "`space`.*must be a dict"),
    ],
)
def test_bad_input_is_refused_before_a_trial(cls, arguments, space, named):
    with pytest.raises(InvalidArgument, match=named):
        make_source(cls(**arguments), space, 3, metric="loss", mode="min")


def test_several_metrics_are_refused(cls):
    with pytest.raises(InvalidArgument, match=f"`metric`.*{cls.__name__} optimises one metric"):
        make_source(cls(), SPACE, 3, metric=["a", "b"], mode=["min", "max"])


def test_a_mode_is_asked_for(cls):
    with pytest.raises(InvalidArgument, match="`mode`"):
        make_source(cls(), SPACE, 3, metric="loss")


def test_a_state_of_another_searcher_is_refused(cls, tmp_path):
    cls(space=SPACE, metric="a", mode="min").save(tmp_path / "state")
    other = next(c for c in (HyperOptSearch, CFO) if c is not cls)
    needs(other)
    with pytest.raises(InvalidArgument, match=f"of {cls.__name__}, not of {other.__name__}"):
        other(metric="a", mode="min").restore(tmp_path / "state")


def test_a_copy_goes_on_by_itself(cls):
    searcher = cls(space=SPACE, metric="loss", mode="min")
    for number in range(3):
        config = searcher.suggest(str(number))
        searcher.on_trial_complete(str(number), {"loss": bowl(config)})
    twin = copy.deepcopy(searcher)
    assert twin.suggest("3") == searcher.suggest("3")


def test_a_searcher_used_again_goes_on_with_what_it_has_learnt(cls):
    searcher = cls()
    optimise(searcher, SPACE, bowl, 12)
    optimizer = searcher.__dict__.get("_optimizer")
    found = optimise(searcher, {**SPACE, "constant": 3}, bowl, 3)
    assert searcher.__dict__.get("_optimizer") is optimizer
    assert all(config["constant"] == 3 for _, config in found)


def test_another_space_begins_anew(cls):
    searcher = cls()
    optimise(searcher, SPACE, bowl, 3)
    found = optimise(searcher, {"z": uniform(0, 1)}, lambda config: config["z"], 3)
    assert all(set(config) == {"z"} for _, config in found)


def test_a_space_without_variables(cls):
    assert [c for _, c in optimise(cls(), {"c": 1}, lambda config: 1.0, 2)] == [{"c": 1}] * 2


def test_normal_and_integer_domains(cls):
    space = {"normal": randn(10, 2), "whole": randint(0, 5), "sizes": loguniform(1, 2)}
    for _, config in optimise(cls(), space, lambda c: abs(c["normal"] - 12), 8):
        assert -10 < config["normal"] < 30
        assert type(config["whole"]) is int
        assert 0 <= config["whole"] < 5


def test_conditional_spaces(cls):
    if cls is BayesOptSearch:
        pytest.skip("knows no choices")
    space = {
        "model": choice([{"kind": "a", "lr": uniform(0, 1)}, {"kind": "b", "k": randint(1, 9)}])
    }
    for _, config in optimise(cls(), space, lambda c: c["model"].get("lr", 2.0), 10):
        assert set(config["model"]) in ({"kind", "lr"}, {"kind", "k"})


def test_a_library_that_raises_does_not_end_the_sweep(monkeypatch, caplog):
    class Broken(LibrarySearcher):
        library, extra = "json", "none"

        def _begin(self, parameters):
            pass

        def _ask(self, trial_id):
            raise RuntimeError("singular matrix")

        def _tell(self, ticket, point, loss):
            raise RuntimeError("still singular")

    with caplog.at_level(logging.WARNING):
        found = optimise(Broken(), SPACE, bowl, 4)
    assert len({config["x"] for _, config in found}) == 4
    assert "Broken: json raised RuntimeError: singular matrix; a random point" in caplog.text
    assert "still singular" in caplog.text


def test_a_missing_library_is_one_line_with_the_command(monkeypatch):
    def missing(name: str) -> Any:
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(InvalidArgument) as caught:
        HyperOptSearch()
    assert "pip install 'prefect-tune[hyperopt]'" in str(caught.value)
    assert "\n" not in str(caught.value)


class TestBayesOptArguments:
    @pytest.fixture(autouse=True)
    def _library(self) -> None:
        needs(BayesOptSearch)

    @pytest.mark.parametrize(
        ("utility", "kind"),
        [
            ({"kind": "ucb", "kappa": 2.5, "xi": 0.0}, "UpperConfidenceBound"),
            ({"kind": "ei", "xi": 0.1}, "ExpectedImprovement"),
            ({"kind": "poi", "xi": 0.1}, "ProbabilityOfImprovement"),
        ],
    )
    def test_utility_kwargs_choose_the_acquisition_function(self, utility, kind):
        searcher = BayesOptSearch(utility_kwargs=utility, metric="loss", mode="min")
        optimise(searcher, SPACE, bowl, 12)
        base = searcher._optimizer.acquisition_function.base_acquisition
        assert type(base).__name__ == kind
        for name in ("kappa", "xi"):
            if hasattr(base, name):
                assert getattr(base, name) == utility[name]

    @pytest.mark.parametrize("utility", [{"kind": "best"}, {"kind": "ucb", "kapa": 1}])
    def test_unknown_utility_is_refused(self, utility):
        with pytest.raises(InvalidArgument, match=r"`utility_kwargs`.*Known"):
            BayesOptSearch(utility_kwargs=utility)

    def test_choices_are_refused_by_name(self):
        with pytest.raises(InvalidArgument, match="'act'"):
            make_source(BayesOptSearch(), {"act": choice(["a", "b"])}, 1, "loss", "min")

    def test_bounds_as_the_library_writes_them(self):
        searcher = BayesOptSearch(space={"b/z": (1e-4, 1e-2)}, metric="loss", mode="min")
        assert 1e-4 <= searcher.suggest("1")["b"]["z"] <= 1e-2

    def test_it_finishes_when_all_it_suggests_is_known(self):
        space = {"n": randint(0, 3)}
        found = optimise(BayesOptSearch(patience=3), space, lambda c: c["n"], 50)
        assert len(found) <= 3

    def test_results_that_are_no_numbers_do_not_end_it(self):
        def odd(config):
            return [float("nan"), float("inf"), 1.0][int(config["x"] * 10) % 3]

        assert len(optimise(BayesOptSearch(random_search_steps=2), SPACE, odd, 8)) == 8


@pytest.mark.parametrize("cls", [BlendSearch, CFO])
def test_flaml_goes_on_when_it_comes_to_a_point_that_it_knows(cls):
    needs(cls)
    source = make_source(cls(), {"n": randint(0, 4), "m": randint(0, 4)}, 40, "loss", "min")
    for _ in range(40):
        suggestion = source.next()
        assert isinstance(suggestion, Suggestion)
        source.on_trial_complete(suggestion.trial_id, {"loss": suggestion.config["n"]})


def test_zoopt_goes_on_when_it_finds_no_new_point():
    needs(ZOOptSearch)
    space = {**SPACE, "c": choice(["a", "b"])}
    assert len(optimise(ZOOptSearch(seed=3), space, bowl, 150)) == 150


def test_zoopt_takes_its_own_dimensions():
    needs(ZOOptSearch)
    from zoopt import ValueType

    dimensions = {
        "x": (ValueType.CONTINUOUS, [-1, 1], 0.01),
        "n": (ValueType.DISCRETE, [0, 3], True),
        "c": (ValueType.GRID, ["a", "b"]),
    }
    search = ZOOptSearch(budget=9, dim_dict=dimensions, metric="loss", mode="min")
    for number in range(4):
        config = search.suggest(str(number))
        assert -1 <= config["x"] <= 1
        assert config["n"] in range(4)
        assert config["c"] in ("a", "b")


def test_hyperopt_takes_its_own_expressions():
    needs(HyperOptSearch)
    from hyperopt import hp

    space = {
        "lr": hp.loguniform("lr", -10, -1),
        "model": hp.choice("model", [{"n": hp.randint("n", 5)}, {"w": hp.quniform("w", 0, 4, 2)}]),
        "fixed": 3,
    }
    searcher = HyperOptSearch(space=space, metric="loss", mode="min")
    seen = set()
    for number in range(12):
        config = searcher.suggest(str(number))
        searcher.on_trial_complete(str(number), {"loss": config["lr"]})
        assert np.exp(-10) <= config["lr"] <= np.exp(-1)
        assert config["fixed"] == 3
        seen |= set(config["model"])
    assert seen == {"n", "w"}


class TestAxClients:
    SPACE: ClassVar[dict[str, Any]] = {
        "kind": choice(["a", "b"]),
        "net": {"width": randint(1, 5), "fixed": 4, "lr": loguniform(1e-4, 1e-2)},
    }

    @pytest.fixture(autouse=True)
    def _library(self) -> None:
        needs(AxSearch)

    def search(self, client: Any, **arguments: Any) -> None:
        searcher = AxSearch(ax_client=client, **arguments)
        assert (searcher.metric, searcher.mode) == ("score", "max")
        for number in range(4):
            config = searcher.suggest(str(number))
            assert config["kind"] in ("a", "b")
            assert config["net"]["width"] in range(1, 5)
            assert config["net"]["fixed"] == 4
            assert 1e-4 <= config["net"]["lr"] <= 1e-2
            searcher.on_trial_complete(str(number), {"score": number}, error=number == 2)

    def test_the_service_client_of_the_users_own(self):
        from ax.service.ax_client import AxClient
        from ax.service.utils.instantiation import ObjectiveProperties

        client = AxClient(random_seed=1, verbose_logging=False)
        client.create_experiment(
            parameters=AxSearch.convert_search_space(self.SPACE),
            objectives={"score": ObjectiveProperties(minimize=False)},
        )
        point = {"kind": "a", "net": {"width": 3, "lr": 0.01}}
        self.search(client, points_to_evaluate=[point])
        statuses = [trial.status.name for trial in client.experiment.trials.values()]
        assert statuses == ["COMPLETED", "COMPLETED", "FAILED", "COMPLETED"]
        assert client.experiment.trials[0].arm.parameters["net/width"] == 3

    def test_a_client_without_an_experiment_is_refused(self):
        from ax.api.client import Client
        from ax.service.ax_client import AxClient

        for client in (Client(), AxClient(verbose_logging=False), 3):
            with pytest.raises(InvalidArgument, match=r"`ax_client`.*without an experiment"):
                AxSearch(ax_client=client)


class TestNevergradSpaces:
    @pytest.fixture(autouse=True)
    def _library(self) -> None:
        needs(NevergradSearch)

    def test_a_dict_of_parameters_as_the_library_writes_them(self):
        import nevergrad as ng

        space = ng.p.Dict(
            kind=ng.p.Choice(["a", "b"]),
            net=ng.p.Dict(width=ng.p.Scalar(lower=0, upper=5).set_integer_casting()),
            lr=ng.p.Log(lower=1e-4, upper=1e-2),
            fixed=3,
        )
        points = [{"kind": "b", "net": {"width": 4}, "lr": 0.01}]
        search = NevergradSearch(space=space, metric="x", mode="min", points_to_evaluate=points)
        configs = []
        for number in range(12):
            configs.append(search.suggest(str(number)))
            search.on_trial_complete(str(number), {"x": configs[-1]["lr"]})
        assert configs[0] == {"kind": "b", "net": {"width": 4}, "lr": 0.01, "fixed": 3}
        for config in configs:
            assert config["kind"] in ("a", "b")
            assert config["net"]["width"] in range(6)
            assert 1e-4 <= config["lr"] <= 1e-2 + 1e-9  # nevergrad computes it by logarithms
            assert config["fixed"] == 3
        assert search._optimizer.num_tell == 12

    def test_an_optimizer_of_the_users_own_with_names(self):
        import nevergrad as ng

        optimizer = ng.optimizers.OnePlusOne(2, budget=100)
        search = NevergradSearch(optimizer, space=["net/height", "width"], metric="x", mode="max")
        for number in range(60):
            config = search.suggest(str(number))
            loss = abs(config["net"]["height"] - 14) + abs(config["width"] + 3)
            search.on_trial_complete(str(number), {"x": -loss})
        # It has no bounds, and starts at 0.
        assert optimizer.num_tell == 60
        assert optimizer.recommend().value[0] > 2

    def test_an_optimizer_of_named_arguments(self):
        import nevergrad as ng

        named = ng.p.Instrumentation(rate=ng.p.Scalar(lower=1, upper=2), kind=ng.p.Choice([1, 2]))
        optimizer = ng.optimizers.OnePlusOne(named, budget=10)
        points = [{"rate": 1.5, "kind": 2}]
        search = NevergradSearch(optimizer, metric="x", mode="min", points_to_evaluate=points)
        assert search.suggest("0") == points[0]
        search.on_trial_complete("0", {"x": 1})
        assert 1 <= search.suggest("1")["rate"] <= 2
        assert optimizer.num_tell == 1

    @pytest.mark.parametrize(
        ("names", "told"), [(["a"], "the 2 elements"), (None, "and its names")]
    )
    def test_the_elements_of_an_array_need_names(self, names, told):
        import nevergrad as ng

        with pytest.raises(InvalidArgument, match=f"`space`.*{told}"):
            NevergradSearch(ng.optimizers.OnePlusOne(2), space=names, metric="x", mode="min")

    def test_a_scalar_needs_bounds(self):
        import nevergrad as ng

        space = ng.p.Dict(a=ng.p.Dict(b=ng.p.Scalar()))
        with pytest.raises(InvalidArgument, match=r"'a/b' is .*lower and upper"):
            NevergradSearch(space=space, metric="x", mode="min")

    @pytest.mark.parametrize(("optimizer", "most"), [("Cobyla", 1), ("OnePlusOne", 20)])
    def test_optimizers_that_evaluate_in_turn_bound_the_running_trials(self, optimizer, most):
        source = make_source(NevergradSearch(optimizer), {"x": uniform(0, 1)}, 50, "loss", "min")
        suggested = [source.next() for _ in range(20)]
        assert sum(isinstance(one, Suggestion) for one in suggested) == most


class TestSkOptOptimizers:
    @pytest.fixture(autouse=True)
    def _library(self) -> None:
        needs(SkOptSearch)

    def test_an_optimizer_of_the_users_own(self):
        from skopt import Optimizer
        from skopt.space import Categorical, Real

        optimizer = Optimizer(
            [(0, 20), Real(1e-4, 1, prior="log-uniform"), ["a", "b"], Categorical(["only"])],
            base_estimator="RF",
            n_initial_points=3,
            random_state=1,
        )
        search = SkOptSearch(
            optimizer,
            ["width", "lr", "kind", "fixed"],
            metric="loss",
            mode="min",
            points_to_evaluate=[[3, 0.1, "b", "only"]],
        )
        configs = []
        for number in range(6):
            configs.append(search.suggest(str(number)))
            search.on_trial_complete(str(number), {"loss": configs[-1]["width"]})
        assert configs[0] == {"width": 3, "lr": 0.1, "kind": "b", "fixed": "only"}
        assert all(c["width"] in range(21) and 1e-4 <= c["lr"] <= 1 for c in configs)
        assert optimizer.Xi[0] == [3, 0.1, "b", "only"]
        assert optimizer.yi == [config["width"] for config in configs]

    def test_its_dimensions_need_names(self):
        from skopt import Optimizer

        with pytest.raises(InvalidArgument, match=r"`space`: must name the 2 dimensions"):
            SkOptSearch(Optimizer([(0, 20), (-100, 100)]), ["width"], metric="loss", mode="min")

    def test_dimensions_beside_domains(self):
        from skopt.space import Integer, Real

        space = {
            "lr": Real(1e-4, 1e-2, prior="log-uniform"),
            "net/width": Integer(3, 4),
            "depth": (8, 9),
            "kind": ["a", "b"],
            "batch": [16, 64],
            "rate": uniform(5, 6),
            "pair": [uniform(0, 1), 7],
        }
        config = SkOptSearch(space=space, metric="loss", mode="min").suggest("1")
        assert 1e-4 <= config["lr"] <= 1e-2
        assert config["net"]["width"] in (3, 4)
        assert config["depth"] in (8, 9)
        assert config["kind"] in ("a", "b")
        assert config["batch"] in (16, 64)
        assert 5 <= config["rate"] <= 6
        assert 0 <= config["pair"][0] <= 1
        assert config["pair"][1] == 7

    def test_anything_else_is_refused(self):
        with pytest.raises(InvalidArgument, match=r"`optimizer`.*got int"):
            SkOptSearch(3)
