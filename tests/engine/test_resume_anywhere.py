"""A run that is killed behind any record and resumed comes to what an undisturbed one comes to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import prefect_tune as tune
from prefect_tune.coordinator.events import AttemptEnded, AttemptLaunched, Fate, ResultReported
from prefect_tune.coordinator.records import decode_event
from prefect_tune.experiment.trial import ERROR, TERMINATED, Trial
from prefect_tune.schedulers import ASHAScheduler, FIFOScheduler, MedianStoppingRule
from prefect_tune.search import make_source
from prefect_tune.search.optuna import OptunaSearch
from prefect_tune.stopper import MaximumIterationStopper, NoopStopper

from .simulated_run import Disk, Killed, simulate


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
        "source": make_source(None, space, 12, seed=7),
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


Make = Callable[[], dict[str, Any]]


def run(make: Make, disk: Disk, seed: int = 0, interrupt_at: int | None = None) -> list[Trial]:
    arguments = {"stopper": NoopStopper(), "objective": loss, **make(), "seed": seed}
    return simulate(disk, **arguments, interrupt_at=interrupt_at)


def killed_and_resumed(make: Make, cuts: list[int], seed: int) -> tuple[Disk, list[Trial]]:
    """A run that is killed whenever its journal has grown by so many records."""
    disk = Disk()
    for cut in cuts:
        disk.room = len(disk.records) + cut
        try:
            trials = run(make, disk, seed)
        except Killed:
            continue
        return disk, trials
    disk.room = None
    return disk, run(make, disk, seed)


def check_journal(disk: Disk, trials: list[Trial]) -> None:
    """Each result once and in order; no finished trial is launched again."""
    results: Counter[str] = Counter()
    last: dict[tuple[str, int], int] = {}
    attempts: Counter[str] = Counter()
    ended: set[str] = set()
    complete: dict[str, bool] = {}
    for event in map(decode_event, disk.records):
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
            complete[event.trial_id] = event.stop or last[key] == 4
        elif isinstance(event, AttemptEnded) and event.fate in (Fate.TERMINATED, Fate.FAILED):
            ended.add(event.trial_id)
    assert {trial.trial_id: trial.results_seen for trial in trials if trial.results_seen} == results
    assert all(
        complete[t.trial_id] if t.status == TERMINATED else t.status == ERROR for t in trials
    )


def configs(trials: list[Trial]) -> list[bytes]:
    return sorted(orjson.dumps(trial.config, option=orjson.OPT_SORT_KEYS) for trial in trials)


SEEDED = [grid, limited_grid, asha, median, optuna_random, optuna_tpe]


@pytest.mark.parametrize("make", SEEDED)
@settings(max_examples=15, deadline=None)
@given(cuts=st.lists(st.integers(1, 150), min_size=1, max_size=4), seed=st.integers(0, 99))
def test_the_same_trials_as_without_a_kill(make, cuts, seed):
    undisturbed = run(make, Disk())
    disk, trials = killed_and_resumed(make, cuts, seed)
    assert configs(trials) == configs(undisturbed)
    assert len({trial.trial_id for trial in trials}) == len(undisturbed)
    check_journal(disk, trials)


@pytest.mark.parametrize("make", SEEDED)
@settings(max_examples=10, deadline=None)
@given(turns=st.lists(st.integers(0, 60), min_size=1, max_size=3), seed=st.integers(0, 99))
def test_the_same_trials_as_without_an_interruption(make, turns, seed):
    undisturbed = run(make, Disk())
    disk = Disk()
    for turn in turns:
        run(make, disk, seed, interrupt_at=turn)
    trials = run(make, disk, seed)
    assert configs(trials) == configs(undisturbed)
    check_journal(disk, trials)


@settings(max_examples=15, deadline=None)
@given(cuts=st.lists(st.integers(1, 150), min_size=1, max_size=4), seed=st.integers(0, 99))
def test_without_seeds_nothing_is_lost_or_repeated_either(cuts, seed):
    disk, trials = killed_and_resumed(unseeded, cuts, seed)
    assert len(trials) == len(set(configs(trials))) == 8
    check_journal(disk, trials)


@pytest.mark.parametrize("make", [grid, asha, optuna_tpe])
def test_killed_behind_each_single_record(make):
    whole = Disk()
    undisturbed = run(make, whole)
    for cut in range(1, len(whole.records)):
        disk, trials = killed_and_resumed(make, [cut], seed=cut)
        assert configs(trials) == configs(undisturbed), cut
        check_journal(disk, trials)


def test_a_finished_experiment_has_nothing_left_to_do():
    disk = Disk()
    trials = run(asha, disk)
    size = len(disk.records)
    again = run(asha, disk)
    assert [(t.trial_id, t.status, t.last_result) for t in again] == [
        (t.trial_id, t.status, t.last_result | without_constants(t)) for t in trials
    ]
    assert not any(b"AttemptLaunched" in record for record in disk.records[size:])


def without_constants(trial: Trial) -> dict[str, Any]:
    """What a resumed experiment adds again to the results it reads from the journal."""
    return {
        "trial_id": trial.trial_id,
        "experiment_id": "",
        "experiment_tag": trial.experiment_tag,
        "config": trial.config,
        "hostname": "host",
        "node_ip": "1.2.3.4",
        "pid": 1,
    }
