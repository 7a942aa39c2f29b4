from __future__ import annotations

import copy
import logging
from collections import Counter
from typing import Any

import numpy as np
import pytest

from prefect_tune.error import InvalidArgument, TuneError
from prefect_tune.experiment.decision import NEVER, RunUntil
from prefect_tune.experiment.trial import Trial
from prefect_tune.schedulers import ASHAScheduler, AsyncHyperBandScheduler, MedianStoppingRule
from prefect_tune.testing.simulation import SimulatedController, Simulation

CONTROLLER = SimulatedController(slots=1)


def asha(**options: Any) -> ASHAScheduler:
    return ASHAScheduler(**{"metric": "score", "mode": "max", **options})


def added(scheduler: ASHAScheduler, *trial_ids: str) -> list[Trial]:
    trials = [Trial(trial_id, {}) for trial_id in trial_ids]
    for trial in trials:
        scheduler.on_trial_add(CONTROLLER, trial)
    return trials


def report(scheduler: ASHAScheduler, trial: Trial, t: Any, score: Any) -> str:
    return scheduler.on_trial_result(CONTROLLER, trial, {"training_iteration": t, "score": score})


def next_stop(scheduler: ASHAScheduler, trial: Trial) -> float:
    ((name, value),) = scheduler.run_until(trial).thresholds
    assert name == "training_iteration"
    return value


def test_stops_what_is_strictly_worse_than_the_quantile() -> None:
    scheduler = asha(reduction_factor=2)
    first, second, third, fourth = added(scheduler, "1", "2", "3", "4")
    assert report(scheduler, first, 1, 10) == "CONTINUE"
    assert report(scheduler, second, 1, 5) == "STOP"
    # The stopped trial counts: the median of 10 and 5 is 7.5.
    assert report(scheduler, third, 1, 7.5) == "CONTINUE"
    assert report(scheduler, fourth, 1, 7.4) == "STOP"


def test_mode_min_turns_the_comparison() -> None:
    scheduler = asha(mode="min", reduction_factor=2)
    first, second, third = added(scheduler, "1", "2", "3")
    assert report(scheduler, first, 1, 10) == "CONTINUE"
    assert report(scheduler, second, 1, 5) == "CONTINUE"
    assert report(scheduler, third, 1, 8) == "STOP"


def test_waits_at_rungs_and_at_the_end() -> None:
    scheduler = asha(max_t=50, grace_period=2, reduction_factor=3)
    (trial,) = added(scheduler, "1")
    seen = []
    for t in range(1, 51):
        if scheduler.run_until(trial).reached({"training_iteration": t}):
            seen.append(t)
            assert report(scheduler, trial, t, 1) == ("STOP" if t == 50 else "CONTINUE")
    assert seen == [2, 6, 18, 50]


def test_without_stop_at_the_end_it_waits_at_rungs_only() -> None:
    scheduler = asha(max_t=50, grace_period=2, reduction_factor=3, stop_last_trials=False)
    (trial,) = added(scheduler, "1")
    for t in (2, 6, 18):
        assert next_stop(scheduler, trial) == t
        report(scheduler, trial, t, 1)
    assert scheduler.run_until(trial) == NEVER
    assert report(scheduler, trial, 50, -9) == "CONTINUE"
    assert report(scheduler, trial, 5000, -9) == "CONTINUE"


def test_skipped_rung_is_filled_by_later_results() -> None:
    scheduler = asha(reduction_factor=4)
    good, late = added(scheduler, "good", "late")
    report(scheduler, good, 1, 9)
    report(scheduler, good, 4, 9)
    assert report(scheduler, late, 5, 9) == "CONTINUE"  # judged at 4, not at 1
    assert next_stop(scheduler, late) == 1  # so any result counts now
    assert report(scheduler, late, 6, 8) == "STOP"


def test_skipped_rung_stays_empty_if_trials_do_not_end_at_max_t() -> None:
    scheduler = asha(reduction_factor=4, stop_last_trials=False)
    good, late = added(scheduler, "good", "late")
    report(scheduler, good, 1, 9)
    report(scheduler, good, 4, 9)
    assert report(scheduler, late, 5, 9) == "CONTINUE"
    assert next_stop(scheduler, late) == 16
    assert report(scheduler, late, 6, 8) == "CONTINUE"


def test_last_result_is_recorded_on_completion() -> None:
    scheduler = asha(reduction_factor=2)
    first, second = added(scheduler, "1", "2")
    scheduler.on_trial_complete(CONTROLLER, first, {"training_iteration": 1, "score": 10})
    assert report(scheduler, second, 1, 9) == "STOP"


def test_none_is_not_recorded_and_warned_about(caplog: pytest.LogCaptureFixture) -> None:
    scheduler = asha()
    (trial,) = added(scheduler, "1")
    with caplog.at_level(logging.WARNING, logger="prefect_tune"):
        assert report(scheduler, trial, 1, None) == "CONTINUE"
    assert "None" in caplog.text
    assert next_stop(scheduler, trial) == 1


def test_metric_that_is_no_number_is_named() -> None:
    scheduler = asha()
    (trial,) = added(scheduler, "1")
    with pytest.raises(InvalidArgument, match=r"`metric`.*'good'.*'score'"):
        report(scheduler, trial, 1, "good")
    with pytest.raises(InvalidArgument, match="`time_attr`"):
        report(scheduler, trial, "one", 1)
    assert report(scheduler, trial, np.int64(1), np.float32(0.5)) == "CONTINUE"


def test_retried_trial_is_not_judged_again_at_the_same_rung() -> None:
    scheduler = asha(reduction_factor=2)
    good, flaky = added(scheduler, "good", "flaky")
    report(scheduler, flaky, 1, 5)
    report(scheduler, good, 1, 9)
    scheduler.on_trial_error(CONTROLLER, flaky)
    scheduler.on_trial_add(CONTROLLER, flaky)
    assert next_stop(scheduler, flaky) == 2
    assert report(scheduler, flaky, 1, 0) == "CONTINUE"


def test_unknown_trial_is_an_error() -> None:
    scheduler = asha()
    (trial,) = added(scheduler, "1")
    scheduler.on_trial_remove(CONTROLLER, trial)
    with pytest.raises(TuneError, match="does not know trial '1'"):
        report(scheduler, trial, 1, 1)
    scheduler.on_trial_remove(CONTROLLER, trial)
    scheduler.on_trial_complete(CONTROLLER, trial, {"training_iteration": 1, "score": 1})


def test_brackets_are_drawn_by_softmax_over_their_rungs() -> None:
    scheduler = asha(max_t=27, reduction_factor=3, brackets=4, random_state=3)
    drawn = Counter(next_stop(scheduler, t) for t in added(scheduler, *map(str, range(20_000))))
    weights = {1: np.e**4, 3: np.e**3, 9: np.e**2, 27: np.e}
    for milestone, weight in weights.items():
        share = drawn[milestone] / 20_000
        assert share == pytest.approx(weight / sum(weights.values()), abs=0.02)


@pytest.mark.parametrize("state", [7, np.random.RandomState(7), np.random.default_rng(7)])
def test_bracket_draw_is_reproducible(state: Any) -> None:
    def draws() -> list[float]:
        scheduler = asha(brackets=3, random_state=copy.deepcopy(state))
        return [next_stop(scheduler, trial) for trial in added(scheduler, *"abcdefghijklmnop")]

    assert draws() == draws()
    assert len(set(draws())) > 1


def test_default_draw_follows_numpy_random() -> None:
    def draws() -> list[float]:
        np.random.seed(11)
        scheduler = asha(brackets=3)
        return [next_stop(scheduler, trial) for trial in added(scheduler, *"abcdefghijklmnop")]

    before = np.random.get_state()
    try:
        assert draws() == draws()
    finally:
        np.random.set_state(before)


def test_brackets_are_drawn_as_by_numpys_own_generator() -> None:
    np.random.seed(12)
    odds = np.exp([4.0, 3.0, 2.0]) / np.exp([4.0, 3.0, 2.0]).sum()
    wanted = [[1, 3, 9][np.random.choice(3, p=odds)] for _ in range(30)]
    np.random.seed(12)
    scheduler, found = asha(max_t=27, reduction_factor=3, brackets=3), []
    for number in range(30):
        trial = Trial(f"t{number}", {})
        scheduler.on_trial_add(SimulatedController(1), trial)
        found.append(scheduler.run_until(trial).thresholds[0][1])
    assert found == wanted


def test_one_bracket_leaves_numpy_random_alone() -> None:
    before = np.random.get_state()[1].tolist()  # type: ignore[index]
    added(asha(), *"abc")
    assert np.random.get_state()[1].tolist() == before  # type: ignore[index]


def test_saves_most_of_the_work() -> None:
    simulation = Simulation(
        lambda index, step: {"score": index * 37 % 100 - 1 / step},
        num_trials=100,
        scheduler=asha(max_t=64),
        slots=8,
    ).run()
    assert simulation.num_results < 0.3 * 100 * 64
    finished = {trial_id for trial_id, step, _ in simulation.decisions if step == 64}
    best = f"{next(i for i in range(100) if i * 37 % 100 == 99):05d}"
    assert best in finished


def test_finished_trials_leave_only_numbers_behind() -> None:
    scheduler = asha(max_t=4)
    Simulation(lambda i, step: {"score": i}, num_trials=50, scheduler=scheduler).run()
    assert scheduler.get_state()["_climbs"] == {}


def test_metric_and_mode_of_the_experiment() -> None:
    scheduler = ASHAScheduler()
    with pytest.raises(InvalidArgument, match=r"`metric`.*metric and a mode"):
        scheduler.on_trial_add(CONTROLLER, Trial("1", {}))
    assert scheduler.set_search_properties("loss", "min")
    assert scheduler.metric == "loss"
    assert not scheduler.set_search_properties("loss", None)
    assert not scheduler.set_search_properties(None, "min")
    scheduler.on_trial_add(CONTROLLER, Trial("1", {}))


def test_mode_alone_takes_the_anonymous_metric() -> None:
    scheduler = ASHAScheduler(mode="max")
    assert scheduler.set_search_properties(None, None)
    assert scheduler.metric == "_metric"
    other = ASHAScheduler(mode="max")
    assert other.set_search_properties("score", None)
    assert other.metric == "score"


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("max_t", 0),
        ("max_t", float("inf")),
        ("max_t", float("nan")),
        ("max_t", "10"),
        ("grace_period", 0),
        ("grace_period", 101),
        ("reduction_factor", 1),
        ("reduction_factor", 0.5),
        ("brackets", 0),
        ("brackets", 1.5),
        ("brackets", True),
        ("mode", "maximum"),
        ("metric", ""),
        ("metric", 3),
        ("time_attr", None),
        ("random_state", "seed"),
    ],
)
def test_bad_arguments_are_named(argument: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"`{argument}`") as caught:
        asha(**{argument: value})
    assert isinstance(caught.value, InvalidArgument)


def test_asha_is_async_hyperband() -> None:
    assert ASHAScheduler is AsyncHyperBandScheduler
    scheduler = asha()
    (trial,) = added(scheduler, "1")
    assert scheduler.run_until(trial) == RunUntil((("training_iteration", 1.0),))


@pytest.mark.parametrize(
    ("arguments", "named"),
    [({"brackets": 10**6}, "brackets"), ({"reduction_factor": 1 + 1e-9}, "reduction_factor")],
)
def test_more_brackets_or_rungs_than_can_be_of_use_are_named(arguments, named):
    with pytest.raises(InvalidArgument, match=f"`{named}`"):
        ASHAScheduler(**arguments)


@pytest.mark.parametrize("kind", [ASHAScheduler, MedianStoppingRule])
def test_results_without_the_time_attribute_are_told_about_once(caplog, kind):
    scheduler = kind(time_attr="epochs", metric="acc", mode="max")
    controller, trial = SimulatedController(1), Trial("t1", {})
    scheduler.on_trial_add(controller, trial)
    for epoch in (1, 2):
        result = {"epoch": epoch, "acc": 0.5, "training_iteration": epoch}
        assert scheduler.on_trial_result(controller, trial, result) == kind.CONTINUE
    (record,) = caplog.records
    assert "'epochs'" in record.getMessage()
    assert "'epoch', 'acc'" in record.getMessage()


def test_a_stop_at_max_t_is_told_from_one_at_a_rung() -> None:
    scheduler = asha(max_t=9, grace_period=1, reduction_factor=3)
    good, bad = added(scheduler, "good", "bad")
    assert report(scheduler, good, 1, 2.0) == scheduler.CONTINUE
    assert report(scheduler, bad, 1, 1.0) == scheduler.STOP
    why = scheduler.why_stopped({"training_iteration": 1, "score": 1.0})
    assert why == "others were better at training_iteration=1"
    assert report(scheduler, good, 9, 2.0) == scheduler.STOP
    assert scheduler.why_stopped({"training_iteration": 9, "score": 2.0}) == "it ran to max_t=9"
