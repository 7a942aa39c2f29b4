from __future__ import annotations

import json
import math
import random
from collections import Counter
from pathlib import Path
from time import sleep
from typing import Any

import numpy as np
import pytest

import prefect_tune as tune
from prefect_tune.error import InvalidArgument, TuneError
from prefect_tune.experiment.checkpoints import Progress, TrialCheckpoint
from prefect_tune.experiment.trial import PAUSED, PENDING, RUNNING, Trial
from prefect_tune.schedulers import PopulationBasedTraining, PopulationBasedTrainingReplay
from prefect_tune.schedulers.mutations import explore, perturbed_tag
from prefect_tune.search.optuna import OptunaSearch
from prefect_tune.testing.simulation import SimulatedController

CHECKPOINT = TrialCheckpoint("t/checkpoint_1", Progress(1))


def make(**options: Any) -> PopulationBasedTraining:
    return PopulationBasedTraining(
        **{
            "time_attr": "training_iteration",
            "metric": "score",
            "mode": "max",
            "perturbation_interval": 5,
            "hyperparam_mutations": {"lr": [0.1, 0.2, 0.4]},
            **options,
        }
    )


class Population(SimulatedController):
    """Trials by hand, all with a checkpoint; remembers who was told to copy whom."""

    def __init__(self, scheduler: PopulationBasedTraining, count: int, **config: Any) -> None:
        super().__init__(slots=999)
        self.scheduler = scheduler
        self.copies: list[tuple[str, str]] = []
        self.saved: list[str] = []
        self.trials = [self.join(f"t{number}", **config) for number in range(count)]

    def join(self, name: str, **config: Any) -> Trial:
        trial = Trial(name, {"lr": 0.2, **config}, experiment_tag=f"{name}_lr=0.2")
        trial.checkpoints = (CHECKPOINT,)
        trial.status = RUNNING
        self.add(trial)
        self.scheduler.on_trial_add(self, trial)
        return trial

    def restore_trial_from(
        self,
        trial: Trial,
        source: Trial,
        checkpoint: TrialCheckpoint | None = None,
        config: dict[str, Any] | None = None,
        experiment_tag: str = "",
    ) -> bool:
        self.copies.append((trial.trial_id, source.trial_id))
        assert config is not None
        trial.config, trial.experiment_tag = config, experiment_tag
        return True

    def save_checkpoint(self, trial: Trial) -> None:
        self.saved.append(trial.trial_id)

    def report(self, number: int, time: float, score: float) -> str:
        trial = self.trials[number]
        trial.status = RUNNING
        result = {"training_iteration": time, "score": score}
        answer = self.scheduler.on_trial_result(self, trial, result)
        if answer == "PAUSE":
            trial.status = PAUSED
        return answer


def test_the_worst_copy_the_best() -> None:
    population = Population(make(), 8)
    for time in (5, 10):
        for number in reversed(range(8)):
            assert population.report(number, time, number) in ("CONTINUE", "PAUSE")
    # Nobody was good in the first round: each was the worst when it came.
    assert [name for name, _ in population.copies] == ["t1", "t0"]
    assert {source for _, source in population.copies} <= {"t6", "t7"}
    assert population.saved == ["t7", "t6"]


def test_the_least_is_best_where_it_is_to_be_minimised() -> None:
    population = Population(make(mode="min"), 4)
    for number in range(4):
        population.report(number, 5, number)
    assert population.copies == []  # t0 was alone when it came, and so was not among the best
    for number in range(4):
        population.report(number, 10, number)
    assert population.copies == [("t3", "t0")]


def test_looks_at_trials_only_at_the_end_of_their_intervals() -> None:
    population = Population(make(), 4)
    scheduler, (trial, *_) = population.scheduler, population.trials
    assert not scheduler.run_until(trial).reached({"training_iteration": 4})
    assert scheduler.run_until(trial).reached({"training_iteration": 5})
    population.report(0, 7, 1)
    assert not scheduler.run_until(trial).reached({"training_iteration": 11})
    assert scheduler.run_until(trial).reached({"training_iteration": 12})


def test_nothing_happens_before_the_burn_in_period_is_over() -> None:
    population = Population(make(burn_in_period=12), 4)
    for time in (5, 10, 12):
        for number in range(4):
            population.report(number, time, -number)
    assert {name for name, _ in population.copies} <= {"t2", "t3"}
    assert not population.scheduler.run_until(population.trials[0]).reached(
        {"training_iteration": 11}
    )


def test_a_trial_without_a_checkpoint_is_never_copied_and_told_of_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    population = Population(make(), 4)
    for trial in population.trials:
        trial.checkpoints = ()
    for time in (5, 10, 15, 20):
        for number in range(4):
            population.report(number, time, number if time < 15 else -number)
    assert population.copies == []
    assert caplog.text.count("it has no checkpoint") == 1


def test_trials_take_turns_where_others_wait() -> None:
    population = Population(make(), 4)
    population.trials[3].status = PENDING
    assert population.report(0, 5, 1) == "PAUSE"
    assert population.scheduler.choose_trial_to_run(population) is population.trials[3]
    population.trials[3].status = RUNNING
    assert population.scheduler.choose_trial_to_run(population) is population.trials[0]


def test_in_step_all_wait_for_each_other() -> None:
    population = Population(make(synch=True), 4)
    for number in range(3):
        assert population.report(number, 5, number) == "PAUSE"
        assert population.scheduler.choose_trial_to_run(population) is None
    assert population.report(3, 5, 3) == "PAUSE"
    assert population.copies == [("t0", "t3")]
    assert population.scheduler.choose_trial_to_run(population) is not None


def test_nothing_is_drawn_for_a_configuration_that_has_all() -> None:
    population = Population(make(hyperparam_mutations={"lr": [0.1, 0.2]}), 4)
    dice, _ = population.scheduler._generators()
    before = dice.getstate()
    population.scheduler.on_trial_error(population, population.trials[0])
    population.scheduler.on_trial_add(population, population.trials[0])
    assert dice.getstate() == before


def test_in_step_the_worst_is_the_first_to_become_a_copy() -> None:
    population = Population(make(synch=True), 8)
    for number in (3, 0, 7, 1, 6, 4, 2, 5):
        population.report(number, 5, number)
    assert [name for name, _ in population.copies] == ["t0", "t1"]


@pytest.mark.parametrize("how", ["complete", "error", "remove"])
def test_in_step_nobody_waits_for_a_trial_that_is_gone(how: str) -> None:
    population = Population(make(synch=True), 4)
    for number in range(3):
        population.report(number, 5, number)
    gone = population.trials[3]
    arguments = ({},) if how == "complete" else ()
    getattr(population.scheduler, f"on_trial_{how}")(population, gone, *arguments)
    population.finish(gone)
    assert population.copies == [("t0", "t2")]
    assert population.scheduler.choose_trial_to_run(population) is not None


def test_in_step_results_may_lie_further_apart_than_an_interval() -> None:
    population = Population(make(synch=True, perturbation_interval=1), 3)
    for time in (5, 10, 15):
        for number in range(3):
            population.report(number, time, number)
        assert population.scheduler.choose_trial_to_run(population) is not None


def test_a_copy_is_tagged_and_keeps_its_first_tag() -> None:
    population = Population(make(resample_probability=0), 4)
    for time in (5, 10, 15):
        for number in range(4):
            population.report(number, time, number)
    assert population.trials[0].experiment_tag.count("@perturbed[") == 1
    assert population.trials[0].experiment_tag.startswith("t0_lr=0.2@perturbed[lr=")


def test_what_a_configuration_lacks_is_drawn() -> None:
    mutations = {"lr": tune.uniform(2, 3), "deep": {"units": [3, 4]}, "f": lambda: 7}
    population = Population(make(hyperparam_mutations=mutations), 1, deep={})
    config = population.trials[0].config
    assert config["lr"] == 0.2
    assert config["deep"]["units"] in (3, 4)
    assert config["f"] == 7
    assert population.trials[0].evaluated_params == {"deep/units": config["deep"]["units"], "f": 7}


def test_the_own_function_has_the_last_word() -> None:
    population = Population(make(custom_explore_fn=lambda config: {**config, "own": 1}), 4)
    for time in (5, 10):
        for number in range(4):
            population.report(number, time, number)
    assert population.copies
    assert population.trials[0].config["own"] == 1
    broken = Population(make(custom_explore_fn=lambda config: None), 4)
    for number in range(4):
        broken.report(number, 5, number)
    with pytest.raises(TuneError, match="custom_explore_fn"):
        broken.report(0, 10, 0)


def test_values_that_are_no_number_are_the_worst() -> None:
    population = Population(make(), 4)
    for time in (5, 10):
        for number in range(4):
            population.report(number, time, math.nan if number == 2 else number)
    assert {name for name, _ in population.copies} == {"t2"}


def explored(mutations: dict[str, Any], probability: float, **config: Any) -> Counter[Any]:
    dice, stream = random.Random(3), np.random.RandomState(3)
    return Counter(
        str(explore(config, mutations, probability, (1.2, 0.8), dice, stream)["x"])
        for _ in range(4000)
    )


def test_values_of_a_list_move_to_a_neighbour() -> None:
    found = explored({"x": [1, 2, 3, 4]}, 0.0, x=2)
    assert set(found) == {"1", "3"}
    assert abs(found["1"] - 2000) < 200
    assert set(explored({"x": [1, 2]}, 0.0, x=1)) == {"1", "2"}
    assert set(explored({"x": tune.choice(["a", "b", "c"])}, 0.0, x="a")) == {"a", "b"}
    assert set(explored({"x": [1, 2]}, 0.0, x=9)) == {"1", "2"}


def test_numbers_are_multiplied_and_whole_ones_rounded() -> None:
    assert set(explored({"x": tune.uniform(0, 1)}, 0.0, x=10.0)) == {"12.0", "8.0"}
    assert set(explored({"x": lambda: 1}, 0.0, x=8)) == {"10", "6"}


def test_the_share_that_is_drawn_anew() -> None:
    found = explored({"x": lambda: "new"}, 0.25, x=10.0)
    assert abs(found["new"] - 1000) < 120
    assert set(explored({"x": {"y": [1, 2]}}, 0.0, x={"y": 1, "z": 0})) == {
        "{'y': 1, 'z': 0}",
        "{'y': 2, 'z': 0}",
    }


def test_tags_name_what_may_change() -> None:
    config = {"lr": 0.12345, "deep": {"n": 3}, "other": 1}
    tag = perturbed_tag("0_a=1@perturbed[lr=1]", config, {"lr": [1], "deep": {"n": [3]}})
    assert tag == "0_a=1@perturbed[lr=0.1235,deep/n=3]"


@pytest.mark.parametrize(
    ("options", "argument"),
    [
        ({"perturbation_interval": 0}, "perturbation_interval"),
        ({"burn_in_period": -1}, "burn_in_period"),
        ({"quantile_fraction": 0}, "quantile_fraction"),
        ({"quantile_fraction": 0.51}, "quantile_fraction"),
        ({"resample_probability": 1.5}, "resample_probability"),
        ({"perturbation_factors": (1.2, 0)}, "perturbation_factors"),
        ({"perturbation_factors": ()}, "perturbation_factors"),
        ({"perturbation_factors": 1.2}, "perturbation_factors"),
        ({"hyperparam_mutations": {}}, "hyperparam_mutations"),
        ({"hyperparam_mutations": {"lr": 3}}, r"hyperparam_mutations\['lr'\]"),
        ({"hyperparam_mutations": {"lr": []}}, r"hyperparam_mutations\['lr'\]"),
        (
            {"hyperparam_mutations": {"a": {"lr": tune.grid_search([1])}}},
            r"hyperparam_mutations\['a'\]\['lr'\]",
        ),
        ({"custom_explore_fn": 3}, "custom_explore_fn"),
        ({"mode": "best"}, "mode"),
    ],
)
def test_wrong_arguments_are_named(options: dict[str, Any], argument: str) -> None:
    with pytest.raises(InvalidArgument, match=f"`{argument}`"):
        make(**options)


def test_a_searcher_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for search in (OptunaSearch(), "optuna"):
        monkeypatch.setattr(SimulatedController, "search_alg", search)
        with pytest.raises(InvalidArgument, match=r"`search_alg`.*PopulationBasedTraining"):
            Population(make(), 1)
    monkeypatch.setattr(SimulatedController, "search_alg", "random")
    Population(make(), 1)


def test_a_config_of_another_shape_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="`hyperparam_mutations`"):
        Population(make(hyperparam_mutations={"lr": {"x": [1]}}), 1)


def test_results_without_the_metric_are_refused_unless_allowed() -> None:
    result = {"training_iteration": 9}
    population = Population(make(), 1)
    with pytest.raises(TuneError, match="'score'"):
        population.scheduler.on_trial_result(population, population.trials[0], result)
    population = Population(make(require_attrs=False), 1)
    assert (
        population.scheduler.on_trial_result(population, population.trials[0], result) == "CONTINUE"
    )


def test_the_same_seed_makes_the_same_population() -> None:
    def course(seed: int | None) -> list[Any]:
        scheduler = make(hyperparam_mutations={"lr": tune.uniform(0, 1)})
        scheduler.set_search_properties(None, None, seed=seed)
        population = Population(scheduler, 12)
        for time in range(5, 60, 5):
            for number in range(12):
                population.report(number, time, (number * 7 + time) % 11)
        return [*population.copies, *(trial.config["lr"] for trial in population.trials)]

    assert course(3) == course(3)
    assert course(3) != course(4)
    assert course(None) != course(None)


def test_describes_the_population() -> None:
    population = Population(make(), 4)
    for number in range(4):
        population.report(number, 5, number)
    assert "Population of 4, best first: t3 (3), t2 (2)" in population.scheduler.debug_string()


# --- real sweeps -------------------------------------------------------------------------------


class Adding(tune.Trainable):
    def setup(self, config: dict[str, Any]) -> None:
        self.total = 0.0

    def step(self) -> dict[str, Any]:
        sleep(0.02)  # so that checkpoints get to storage meanwhile
        self.total += self.config["lr"]
        return {"score": self.total, "lr": self.config["lr"], "done": self.iteration >= 15}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        (Path(checkpoint_dir) / "total").write_text(str(self.total))

    def load_checkpoint(self, checkpoint_dir: str) -> None:
        self.total = float((Path(checkpoint_dir) / "total").read_text())

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.total = 0.0
        return True


@pytest.mark.parametrize("options", [{}, {"synch": True}, {"reuse": True}], ids=str)
def test_classes_copy_each_other_and_the_schedule_of_one_is_run_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, options: dict[str, bool]
) -> None:
    monkeypatch.setenv("PREFECT_TUNE_ORCHESTRATE", "0")
    pbt = make(
        perturbation_interval=3,
        quantile_fraction=0.5,
        resample_probability=0,
        hyperparam_mutations={"lr": tune.uniform(0, 1)},
        synch=options.get("synch", False),
    )

    def fit(name: str, scheduler: Any, **config: Any) -> Any:
        return tune.Tuner(
            Adding,
            param_space=config,
            tune_config=tune.TuneConfig(
                scheduler=scheduler, reuse_actors=options.get("reuse", False)
            ),
            run_config=tune.RunConfig(name=name, storage_path=str(tmp_path), verbose=0),
        ).fit()

    tune.init(num_cpus=4)
    try:
        results = fit("pbt", pbt, lr=tune.grid_search([0.1, 0.4, 0.5, 0.9]))
        assert results.num_errors == 0
        lineages = {result.metrics["trial_id"]: results.lineage(result) for result in results}
        copied = [trial_id for trial_id, copies in lineages.items() if copies]
        assert copied
        picture = results.plot("lineage")
        drawn = picture.figure.axes[0].texts  # the arrows
        assert len(drawn) == len(results._experiment_analysis.copies())
        assert [axes.get_ylabel() for axes in picture.figure.axes[1:]] == ["lr"]
        for result in results:
            copies = lineages[result.metrics["trial_id"]]
            own = [copy for copy in copies if copy.trial_id == result.metrics["trial_id"]]
            if own:
                assert result.config == own[-1].config
                assert result.metrics["experiment_tag"] == own[-1].experiment_tag
        assert len((tmp_path / "pbt" / "pbt_global.txt").read_text().splitlines()) >= len(copied)
        policy_file = tmp_path / "pbt" / f"pbt_policy_{copied[0]}.txt"
        again = fit("again", PopulationBasedTrainingReplay(str(policy_file)))
    finally:
        tune.shutdown()
    changed = json.loads(policy_file.read_text().splitlines()[-1])[5]
    assert again[0].config == changed
    assert again[0].metrics["training_iteration"] == 16


# --- replay ------------------------------------------------------------------------------------


class Replayed(SimulatedController):
    def __init__(self) -> None:
        super().__init__(slots=1)
        self.changes: list[dict[str, Any]] = []

    def change_trial(self, trial: Trial, **changes: Any) -> bool:
        self.changes.append(changes)
        return True


def policy(path: Path, *rows: list[Any]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_a_schedule_is_run_again(tmp_path: Path) -> None:
    file = policy(
        tmp_path / "pbt_policy_a.txt",
        ["7", "8", 3, 3, {"lr": 99}, {"lr": 98}],  # overwritten by what follows
        ["2", "3", 4, 5, {"lr": 1}, {"lr": 2}],
        ["0", "2", 10, 9, {"lr": 2}, {"lr": 4}],
    )
    scheduler, controller = PopulationBasedTrainingReplay(file), Replayed()
    trial = Trial("x", {"lr": 7}, experiment_tag="0_lr=7")
    scheduler.on_trial_add(controller, trial)
    assert trial.config == {"lr": 1}
    answers = [
        scheduler.on_trial_result(controller, trial, {"training_iteration": step})
        for step in range(1, 12)
        if step != 9
    ]
    assert [i for i, answer in enumerate(answers) if answer == "PAUSE"] == [4, 8]
    assert [change["config"] for change in controller.changes] == [{"lr": 2}, {"lr": 4}]
    assert controller.changes[0]["experiment_tag"] == "0_lr=7@perturbed[lr=2]"
    with pytest.raises(InvalidArgument, match="`num_samples`"):
        scheduler.on_trial_add(controller, Trial("y", {}))


@pytest.mark.parametrize("text", ["", "nonsense", "[1, 2]", '["a", "b", 1, "x", {}, {}]', "3"])
def test_another_file_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "file").write_text(text)
    with pytest.raises(InvalidArgument, match="`policy_file`"):
        PopulationBasedTrainingReplay(str(tmp_path / "file"))
    with pytest.raises(InvalidArgument, match="`policy_file`: there is no file"):
        PopulationBasedTrainingReplay(str(tmp_path / "absent"))


def test_a_file_of_an_experiment_with_other_parameters_is_refused(tmp_path: Path) -> None:
    file = policy(tmp_path / "pbt_policy_a.txt", ["0", "1", 4, 5, {"lr": 1}, {"lr": 2}])
    scheduler = PopulationBasedTrainingReplay(file)
    with pytest.raises(InvalidArgument, match=r"`policy_file`: .* have no 'units'"):
        scheduler.on_trial_add(Replayed(), Trial("x", {"lr": 7, "units": 3}))


def test_a_score_that_is_not_a_number_is_the_worst() -> None:
    scheduler, controller = make(), SimulatedController(9)
    for name, score in (("a", 1.0), ("b", math.nan), ("c", -math.inf), ("d", math.inf)):
        trial = Trial(name, {"lr": 1.0})
        controller.add(trial)
        scheduler.on_trial_add(controller, trial)
        scheduler.on_trial_result(controller, trial, {"training_iteration": 99, "score": score})
    assert [name for _, _, name in scheduler._ranked] == ["b", "c", "a", "d"]
