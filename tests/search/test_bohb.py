from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import prefect_tune as tune
from prefect_tune.error import InvalidArgument
from prefect_tune.schedulers import HyperBandForBOHB
from prefect_tune.search import Suggestion, make_source
from prefect_tune.search.bohb import TuneBOHB
from prefect_tune.search.density import ProductDensity

SPACE = {
    "x": tune.uniform(0, 1),
    "lr": tune.loguniform(1e-4, 1),
    "act": tune.choice(["a", "b", "c"]),
    "n": tune.randint(1, 20),
}


def at(budget: float, loss: float) -> dict[str, Any]:
    return {"loss": loss, "hyperband_info": {"budget": budget}}


def loss_of(config: dict[str, Any]) -> float:
    wrong = config["act"] != "b"
    return abs(config["x"] - 0.7) + abs(np.log10(config["lr"]) + 2) / 4 + 0.5 * wrong


def run(search: TuneBOHB, trials: int, budgets: tuple[float, ...] = (1,)) -> list[float]:
    losses = []
    for number in range(trials):
        config = search.suggest(f"t{number}")
        assert isinstance(config, dict)
        losses.append(loss_of(config))
        for budget in budgets:
            search.on_trial_result(f"t{number}", at(budget, losses[-1]))
        search.on_trial_complete(f"t{number}", {"loss": losses[-1]})
    return losses


def test_suggestions_get_better_than_random_ones() -> None:
    found = [run(TuneBOHB(SPACE, metric="loss", mode="min", seed=seed), 80) for seed in range(5)]
    early = np.mean([np.median(losses[:15]) for losses in found])
    late = np.mean([np.median(losses[50:]) for losses in found])
    assert late < 0.6 * early


def test_the_largest_budget_with_enough_results_counts() -> None:
    search = TuneBOHB({"x": tune.uniform(0, 1)}, {"random_fraction": 0}, 0, "loss", "min", seed=3)
    for number in range(30):
        config = search.suggest(f"t{number}")
        assert isinstance(config, dict)
        search.on_trial_result(f"t{number}", at(1, abs(config["x"] - 0.1)))
        search.on_trial_result(f"t{number}", at(9, abs(config["x"] - 0.9)))
    later = [search.suggest(f"u{number}") for number in range(20)]
    assert np.median([config["x"] for config in later if isinstance(config, dict)]) > 0.7


def test_where_more_is_better() -> None:
    search = TuneBOHB({"x": tune.uniform(0, 1)}, {"random_fraction": 0}, 0, "score", "max", seed=3)
    for number in range(30):
        config = search.suggest(f"t{number}")
        assert isinstance(config, dict)
        result = {"score": config["x"], "hyperband_info": {"budget": 1}}
        search.on_trial_result(f"t{number}", result)
    later = [search.suggest(f"u{number}") for number in range(20)]
    assert np.median([config["x"] for config in later if isinstance(config, dict)]) > 0.7


def test_a_failed_trial_is_a_bad_one() -> None:
    search = TuneBOHB({"x": tune.uniform(0, 1)}, {"random_fraction": 0}, 0, "loss", "min", seed=3)
    for number in range(40):
        config = search.suggest(f"t{number}")
        assert isinstance(config, dict)
        if config["x"] < 0.5:
            search.on_trial_complete(f"t{number}", error=True)
        else:
            search.on_trial_result(f"t{number}", at(1, 1.0))
    later = [search.suggest(f"u{number}") for number in range(20)]
    assert np.mean([config["x"] > 0.5 for config in later if isinstance(config, dict)]) > 0.8


def test_conditional_parameters_are_modelled() -> None:
    space = {
        "kind": tune.choice([{"name": "a", "p": tune.uniform(0, 1)}, {"name": "b"}]),
        "q": tune.uniform(0, 1),
    }
    search = TuneBOHB(space, metric="loss", mode="min", seed=1)
    for number in range(40):
        config = search.suggest(f"t{number}")
        assert isinstance(config, dict)
        search.on_trial_result(f"t{number}", at(1, config["kind"].get("p", 2.0)))
    later = [search.suggest(f"u{number}") for number in range(30)]
    kinds = [config["kind"] for config in later if isinstance(config, dict)]
    assert np.mean([kind["name"] == "a" for kind in kinds]) > 0.6


def test_begins_with_the_given_points() -> None:
    points = [{"x": 0.25, "act": "c"}, {"n": 7}]
    search = TuneBOHB(SPACE, metric="loss", mode="min", points_to_evaluate=points)
    first, second = search.suggest("1"), search.suggest("2")
    assert isinstance(first, dict)
    assert isinstance(second, dict)
    assert (first["x"], first["act"], second["n"]) == (0.25, "c", 7)


def test_paused_trials_leave_room() -> None:
    search = TuneBOHB(SPACE, metric="loss", mode="min", max_concurrent=2)
    assert search.suggest("1")
    assert search.suggest("2")
    assert search.suggest("3") is None
    search.on_pause("1")
    assert search.suggest("3")
    search.on_unpause("1")
    search.on_trial_complete("2")
    assert search.suggest("4") is None


@pytest.mark.parametrize(
    ("options", "argument"),
    [
        ({"max_concurrent": -1}, "max_concurrent"),
        ({"bohb_config": {"nonsense": 1}}, "bohb_config"),
        ({"bohb_config": {"num_samples": "x"}}, "bohb_config"),
        ({"space": 3}, "space"),
        ({"mode": "best"}, "mode"),
    ],
)
def test_wrong_arguments_are_named(options: dict[str, Any], argument: str) -> None:
    with pytest.raises(InvalidArgument, match=f"`{argument}"):
        TuneBOHB(**options)


def test_a_density_is_one_and_high_at_its_points() -> None:
    points = np.array([[0.2, 0], [0.25, 0], [0.3, 1]])
    density = ProductDensity(points, np.array([0.0, 3.0]), 1e-3)
    grid = np.linspace(-1, 2, 3001)
    total = sum(
        density.at(np.stack([grid, np.full_like(grid, category)], axis=1)).sum() * 0.001
        for category in range(3)
    )
    assert total == pytest.approx(1, abs=1e-3)
    near, far = density.at(np.array([[0.25, 0.0], [0.9, 2.0]]))
    assert near > 100 * far


def test_a_whole_sweep_with_its_scheduler(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv("PREFECT_TUNE_ORCHESTRATE", "0")

    class Descent(tune.Trainable):
        def setup(self, config: dict[str, Any]) -> None:
            self.config = config

        def step(self) -> dict[str, Any]:
            return {"loss": loss_of(self.config) + 1 / (self.iteration + 1)}

        def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
            return {}

        def load_checkpoint(self, checkpoint: Any) -> None:
            pass

    search = TuneBOHB(seed=2)
    results = tune.Tuner(
        Descent,
        param_space=SPACE,
        tune_config=tune.TuneConfig(
            "loss",
            "min",
            search,
            HyperBandForBOHB(max_t=4, reduction_factor=2),
            num_samples=14,
        ),
        run_config=tune.RunConfig(name="bohb", storage_path=str(tmp_path), verbose=0),
    ).fit()
    assert results.num_errors == 0
    steps = [result.metrics["training_iteration"] for result in results]
    assert set(steps) <= {1, 2, 4}
    assert 4 in steps
    assert results[0].metrics["hyperband_info"]["budget"] in (1, 2, 4)
    assert sorted(search._seen) == [1, 2, 4]


def test_without_a_metric_the_bare_number_counts() -> None:
    source = make_source(TuneBOHB({"x": tune.uniform(0, 1)}, seed=1), None, 20, mode="max")
    while isinstance(trial := source.next(), Suggestion):
        source.on_trial_complete(trial.trial_id, {"_metric": trial.config["x"]})
    rows, losses = source.searcher._seen[0]
    assert losses == pytest.approx([-row[0] for row in rows])


def test_a_mode_is_asked_for_before_a_trial() -> None:
    with pytest.raises(InvalidArgument, match="`mode`"):
        make_source(TuneBOHB(), SPACE, metric="loss")


def test_points_with_known_values_are_learnt_from() -> None:
    points = [{"x": float(x)} for x in np.linspace(0, 1, 30)]
    rewards = [abs(point["x"] - 0.8) for point in points]
    search = TuneBOHB(
        {"x": tune.uniform(0, 1)},
        {"random_fraction": 0},
        0,
        "loss",
        "min",
        points,
        seed=3,
        evaluated_rewards=rewards,
    )
    found = [search.suggest(f"t{number}")["x"] for number in range(20)]
    assert np.median(np.abs(np.array(found) - 0.8)) < 0.15
