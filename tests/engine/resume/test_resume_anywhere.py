"""A run that is killed behind any record and resumed comes to what an undisturbed one comes to."""

from __future__ import annotations

import functools
import random
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import prefect_tune as tune
from prefect_tune.coordinator.events import AttemptEnded, AttemptLaunched, Fate, ResultReported
from prefect_tune.experiment.trial import ERROR, PENDING, TERMINATED, Trial
from prefect_tune.schedulers import (
    ASHAScheduler,
    FIFOScheduler,
    HyperBandScheduler,
    MedianStoppingRule,
    PopulationBasedTraining,
)
from prefect_tune.search import Searcher, make_source
from prefect_tune.search.optuna import OptunaSearch
from prefect_tune.stopper import (
    MaximumIterationStopper,
    NoopStopper,
    Stopper,
    TrialPlateauStopper,
)
from tests.engine.simulated_run import Disk, Killed, simulate
from tests.schedulers.pausing import PausingScheduler


def loss(config: dict[str, Any], attempt: int, step: int) -> tuple[float, bool]:
    value = config.get("x", 0.0) + config.get("a", 0) * 0.1
    return (value - 0.4) ** 2 + 1.0 / step, False


def unlucky(config: dict[str, Any], attempt: int, step: int) -> tuple[float, bool]:
    """Some trials fail at first, some for good."""
    value, _ = loss(config, attempt, step)
    kind = int(config["x"] * 1000) % 5
    return value, step == 3 and (kind == 0 or (kind == 1 and attempt == 1))


def grid() -> dict[str, Any]:
    space = {name: tune.grid_search([0, 1, 2]) for name in "abc"}
    return {"source": make_source(None, space, 1), "scheduler": FIFOScheduler()}


def limited_grid() -> dict[str, Any]:
    space = {name: tune.grid_search([0, 1, 2]) for name in "abc"}
    return {
        "source": make_source(None, space, 1, max_concurrent=2),
        "scheduler": FIFOScheduler(),
        "stopper": MaximumIterationStopper(2),
    }


def asha() -> dict[str, Any]:
    space = {"x": tune.uniform(0, 1), "kind": tune.choice(["a", "b"])}
    return {
        "source": make_source(None, space, 9, seed=7),
        "scheduler": ASHAScheduler(metric="loss", mode="min", max_t=4, reduction_factor=2),
        "objective": unlucky,
        "max_failures": 1,
    }


def median() -> dict[str, Any]:
    rule = MedianStoppingRule(
        "training_iteration", "loss", "min", grace_period=1, min_samples_required=2
    )
    return {"source": make_source(None, {"x": tune.uniform(0, 1)}, 8, seed=3), "scheduler": rule}


def unseeded() -> dict[str, Any]:
    return {
        "source": make_source(None, {"x": tune.uniform(0, 1)}, 8),
        "scheduler": ASHAScheduler(metric="loss", mode="min", max_t=4, brackets=2),
    }


def optuna_random() -> dict[str, Any]:
    from optuna.samplers import RandomSampler

    search = OptunaSearch(sampler=RandomSampler(seed=5))
    space = {"x": tune.uniform(0, 1)}
    return {
        "source": make_source(search, space, 8, "loss", "min", seed=1),
        "scheduler": FIFOScheduler(),
    }


def optuna_tpe() -> dict[str, Any]:
    from optuna.samplers import TPESampler

    search = OptunaSearch(sampler=TPESampler(seed=5, n_startup_trials=3))
    space = {"x": tune.uniform(0, 1)}
    return {
        "source": make_source(search, space, 8, "loss", "min", seed=1),
        "scheduler": FIFOScheduler(),
        # What the sampler knows when it is asked depends on the order of ends with more.
        "slots": 1,
    }


def failing_with_checkpoints() -> dict[str, Any]:
    return {
        "source": make_source(None, {"x": tune.uniform(0, 1)}, 6, seed=11),
        "scheduler": FIFOScheduler(),
        "objective": unlucky,
        "max_failures": 1,
        "checkpoint_every": 2,
        "checkpoint_keep": 1,
    }


class CountingStopper(Stopper):
    """Ends the experiment after so many good results; with a state of its own."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.seen: dict[str, float] = {}

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        self.seen[trial_id] = min(self.seen.get(trial_id, 9.0), result["loss"])
        return result["training_iteration"] >= 3 and result["loss"] > 0.6

    def stop_all(self) -> bool:
        return sum(loss < 0.5 for loss in self.seen.values()) >= self.limit


def with_a_stopper() -> dict[str, Any]:
    return {
        "source": make_source(None, {"x": tune.uniform(0, 1)}, 9, seed=2),
        "scheduler": FIFOScheduler(),
        "stopper": CountingStopper(3) | TrialPlateauStopper("loss", std=0.01, num_results=2),
    }


class Climber(Searcher):
    """Goes on from the best so far; depends on all that it was told, and on its own dice."""

    def __init__(self) -> None:
        super().__init__("loss", "min")
        self.best = (9.0, 0.5)
        # A trial that is interrupted reports some iterations once more.
        self.seen: set[tuple[str, int]] = set()
        self.configs: dict[str, float] = {}
        self.dice = random.Random(4)

    def suggest(self, trial_id: str) -> dict[str, Any]:
        x = min(1.0, max(0.0, self.best[1] + self.dice.gauss(0.0, 0.2) + len(self.seen) / 1000))
        self.configs[trial_id] = x
        return {"x": x}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        self.seen.add((trial_id, result["training_iteration"]))

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        x = self.configs.pop(trial_id)
        if result is not None:
            self.best = min(self.best, (result["loss"], x))


def custom_searcher() -> dict[str, Any]:
    return {"source": make_source(Climber(), {}, 7, seed=1), "scheduler": FIFOScheduler()}


def pausing() -> dict[str, Any]:
    return {
        "source": make_source(None, {"x": tune.uniform(0, 1)}, 4, seed=3),
        "scheduler": PausingScheduler(2),
        "checkpoint_keep": 1,
    }


def hyperband() -> dict[str, Any]:
    return {
        "source": make_source(None, {"x": tune.uniform(0, 1)}, 9, seed=5),
        "scheduler": HyperBandScheduler(metric="loss", mode="min", max_t=4, reduction_factor=2),
        "checkpoint_every": 1,
    }


def pbt(synch: bool = False) -> dict[str, Any]:
    scheduler = PopulationBasedTraining(
        "training_iteration",
        "loss",
        "min",
        perturbation_interval=1,
        hyperparam_mutations={"x": [0.1, 0.3, 0.5, 0.7]},
        quantile_fraction=0.5,
        log_config=False,
        synch=synch,
    )
    scheduler.set_search_properties(None, None, seed=4)
    return {
        "source": make_source(None, {"x": tune.choice([0.1, 0.3, 0.5, 0.7])}, 4, seed=3),
        "scheduler": scheduler,
        "checkpoint_every": 1,
        "checkpoint_keep": 1,
    }


Make = Callable[[], dict[str, Any]]


def run(make: Make, disk: Disk, seed: int = 0, **options: Any) -> list[Trial]:
    arguments = {"stopper": NoopStopper(), "objective": loss, **make(), "seed": seed}
    return simulate(disk, **{**arguments, **options})


@functools.cache
def undisturbed(make: Make) -> list[Trial]:
    with Disk() as disk:
        return run(make, disk)


def killed_and_resumed(
    make: Make, disk: Disk, cuts: list[int], seed: int, **options: Any
) -> list[Trial]:
    """A run that is killed whenever so much more has been written."""
    for cut in cuts:
        disk.kill_at = disk.writes + cut
        try:
            return run(make, disk, seed, **options)
        except Killed:
            continue
    disk.kill_at = None
    return run(make, disk, seed, **options)


def resumed_behind_each_write(
    make: Make, **options: Any
) -> tuple[list[Trial], Iterator[tuple[int, list[Trial]]]]:
    """An undisturbed run, and what comes of what was on its disk behind each write."""
    with Disk() as whole:
        whole.copies = []
        trials = run(make, whole, **options)

    def resume() -> Iterator[tuple[int, list[Trial]]]:
        for cut, disk in enumerate(whole.copies, 1):
            with disk:
                yield cut, run(make, disk, **options)

    return trials, resume()


def check_journal(disk: Disk, trials: list[Trial]) -> None:
    """Each result once and in order; no finished trial is launched again."""
    results: Counter[str] = Counter()
    last: dict[tuple[str, int], int] = {}
    attempts: Counter[str] = Counter()
    ended: set[str] = set()
    complete: dict[str, bool] = {}
    for event in disk.events():
        if isinstance(event, AttemptLaunched):
            assert event.trial_id not in ended, "a finished trial is repeated"
            attempts[event.trial_id] += 1
            assert event.attempt == attempts[event.trial_id]
        elif isinstance(event, ResultReported):
            key = event.trial_id, event.attempt
            assert event.first_seq == last.get(key, 0) + 1
            last[key] = event.first_seq + len(event.results) - 1
            results[event.trial_id] += len(event.results)
            if event.stop:
                ended.add(event.trial_id)
            step = event.results[-1]["training_iteration"]
            complete[event.trial_id] = event.stop or step == 4
        elif isinstance(event, AttemptEnded) and event.fate in (Fate.TERMINATED, Fate.FAILED):
            ended.add(event.trial_id)
    assert {trial.trial_id: trial.results_seen for trial in trials if trial.results_seen} == results
    assert all(
        complete[t.trial_id] if t.status == TERMINATED else t.status == ERROR for t in trials
    )


def configs(trials: list[Trial]) -> list[bytes]:
    return sorted(orjson.dumps(trial.config, option=orjson.OPT_SORT_KEYS) for trial in trials)


def outcomes(trials: list[Trial]) -> list[tuple[Any, ...]]:
    """What has become of each configuration; the best one is in there."""
    return sorted(
        (
            orjson.dumps(trial.config, option=orjson.OPT_SORT_KEYS),
            trial.status,
            trial.last_result.get("training_iteration"),
            trial.last_result.get("loss"),
            # Who fails only at first may have been killed instead.
            trial.status == ERROR and trial.num_failures,
        )
        for trial in trials
    )


SEEDED = [grid, limited_grid, asha, median, optuna_random, optuna_tpe, failing_with_checkpoints]
#: Without a snapshot, and with one after each batch of events.
SNAPSHOTS = [None, 0.0]


@pytest.mark.parametrize("snapshots", SNAPSHOTS)
@pytest.mark.parametrize("make", SEEDED)
@settings(max_examples=10, deadline=None)
@given(cuts=st.lists(st.integers(1, 250), min_size=1, max_size=4), seed=st.integers(0, 99))
def test_the_same_trials_as_without_a_kill(make, snapshots, cuts, seed):
    expected = undisturbed(make)
    with Disk() as disk:
        trials = killed_and_resumed(make, disk, cuts, seed, snapshot_every_s=snapshots)
        assert configs(trials) == configs(expected)
        assert len({trial.trial_id for trial in trials}) == len(expected)
        check_journal(disk, trials)


@pytest.mark.parametrize("snapshots", SNAPSHOTS)
@pytest.mark.parametrize("make", SEEDED)
@settings(max_examples=6, deadline=None)
@given(turns=st.lists(st.integers(0, 60), min_size=1, max_size=3), seed=st.integers(0, 99))
def test_the_same_trials_as_without_an_interruption(make, snapshots, turns, seed):
    expected = undisturbed(make)
    with Disk() as disk:
        for turn in turns:
            run(make, disk, seed, interrupt_at=turn, snapshot_every_s=snapshots)
        trials = run(make, disk, seed, snapshot_every_s=snapshots)
        assert configs(trials) == configs(expected)
        check_journal(disk, trials)


@settings(max_examples=15, deadline=None)
@given(cuts=st.lists(st.integers(1, 150), min_size=1, max_size=4), seed=st.integers(0, 99))
def test_without_seeds_nothing_is_lost_or_repeated_either(cuts, seed):
    with Disk() as disk:
        trials = killed_and_resumed(unseeded, disk, cuts, seed)
        assert len(trials) == len(set(configs(trials))) == 8
        check_journal(disk, trials)


def small_grid() -> dict[str, Any]:
    space = {name: tune.grid_search([0, 1]) for name in "ab"}
    return {"source": make_source(None, space, 1), "scheduler": FIFOScheduler()}


ONE_BY_ONE = [
    small_grid,
    asha,
    median,
    optuna_tpe,
    custom_searcher,
    failing_with_checkpoints,
    with_a_stopper,
    pausing,
    hyperband,
    pbt,
]


@pytest.mark.parametrize("snapshots", [None, pytest.param(0.0, marks=pytest.mark.slow)])
@pytest.mark.parametrize("make", ONE_BY_ONE)
def test_killed_behind_each_single_write_everything_is_as_without(make, snapshots):
    """One slot: then the order of results does not depend on the interruption."""
    options = {"slots": 1, "iterations": 3, "snapshot_every_s": snapshots}
    trials, resumed = resumed_behind_each_write(make, **options)
    expected = outcomes(trials)
    for cut, trials in resumed:
        assert outcomes(trials) == expected, f"killed behind write {cut}"


def test_synchronous_pbt_loses_and_repeats_nothing_behind_any_write():
    """What is copied may differ: a checkpoint that was lost on its way is not copied."""
    make = functools.partial(pbt, synch=True)
    options = {"slots": 1, "iterations": 3, "snapshot_every_s": 0.0}
    _, resumed = resumed_behind_each_write(make, **options)
    for cut, trials in resumed:
        ends = [(trial.status, trial.last_result["training_iteration"]) for trial in trials]
        assert ends == [(TERMINATED, 3)] * 4, f"killed behind write {cut}"


class Limit(Stopper):
    """Ends the experiment after so many results, however many trials wait."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.count = 0

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        self.count += 1
        return False

    def stop_all(self) -> bool:
        return self.count >= self.limit

    def get_state(self) -> dict[str, Any]:
        return {"count": self.count}


@pytest.mark.parametrize("snapshots", SNAPSHOTS)
@pytest.mark.parametrize("make", [grid, optuna_random, custom_searcher])
def test_what_a_stop_left_waiting_runs_once_the_experiment_is_extended(make, snapshots):
    expected = undisturbed(make)
    with Disk() as disk:
        options = {"snapshot_every_s": snapshots}
        stopped = run(make, disk, stopper=Limit(7), **options)
        assert {trial.status for trial in stopped if trial.attempt} == {TERMINATED}
        assert {trial.status for trial in stopped if not trial.attempt} == {PENDING}
        ran = {trial.trial_id for trial in stopped if trial.attempt}
        for limit in (11, 12, 999):
            trials = run(make, disk, stopper=Limit(limit), **options)
        assert len(trials) == len(expected)
        if make is not custom_searcher:  # which learns from what was stopped early
            assert configs(trials) == configs(expected)
        # Nothing that had run was run again, and all that had waited was.
        assert all(trial.attempt == 1 for trial in trials)
        assert len(ran) < len(trials)


def test_a_finished_experiment_has_nothing_left_to_do():
    with Disk() as disk:
        trials = run(asha, disk)
        size = len(disk.records())
        again = run(asha, disk)
        assert [(t.trial_id, t.status, t.last_result) for t in again] == [
            (t.trial_id, t.status, t.last_result | without_constants(t)) for t in trials
        ]
        assert not any(b"AttemptLaunched" in record for record in disk.records()[size:])


def without_constants(trial: Trial) -> dict[str, Any]:
    """What a resumed experiment adds again to the results it reads from the journal."""
    return {
        "trial_id": trial.trial_id,
        "experiment_id": "run-1",
        "experiment_tag": trial.experiment_tag,
        "config": trial.config,
        "hostname": "host",
        "node_ip": "1.2.3.4",
        "pid": 1,
    }
