from __future__ import annotations

import math
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefect_tune.error import InvalidArgument
from prefect_tune.experiment.trial import PAUSED, PENDING, RUNNING, TERMINATED, Trial
from prefect_tune.schedulers import HyperBandForBOHB, HyperBandScheduler
from prefect_tune.testing.simulation import SimulatedController, Simulation


def make(cls: type[HyperBandScheduler] = HyperBandScheduler, **options: Any) -> HyperBandScheduler:
    return cls(**{"metric": "score", "mode": "max", **options})


class Sweep:
    """Trials by hand: each runs when it is told to, and its state follows the answer."""

    def __init__(self, scheduler: HyperBandScheduler, trials: int) -> None:
        self.scheduler = scheduler
        self.controller = SimulatedController(slots=999)
        self.controller.stop_trial = self.drop  # type: ignore[method-assign]
        self.trials: list[Trial] = []
        for _ in range(trials):
            self.add()

    def add(self) -> Trial:
        trial = Trial(f"t{len(self.trials)}", {})
        self.trials.append(trial)
        self.controller.add(trial)
        self.scheduler.on_trial_add(self.controller, trial)
        return trial

    def drop(self, trial: Trial) -> None:
        self.scheduler.on_trial_remove(self.controller, trial)
        self.controller.finish(trial)

    def report(self, trial: Trial, time: float, score: float) -> str:
        trial.status = RUNNING
        result = {"training_iteration": time, "score": score}
        answer = self.scheduler.on_trial_result(self.controller, trial, result)
        if answer == "PAUSE":
            trial.status = PAUSED
        elif answer == "STOP":
            self.end(trial)
        return answer

    def end(self, trial: Trial) -> None:
        self.scheduler.on_trial_complete(self.controller, trial, {})
        self.controller.finish(trial)

    def fail(self, trial: Trial) -> None:
        self.scheduler.on_trial_error(self.controller, trial)
        self.controller.finish(trial)

    def alive(self) -> list[str]:
        return [trial.trial_id for trial in self.controller.get_live_trials()]

    def may_run(self) -> set[str]:
        """Ids of those that would be chosen if they waited."""
        found = set()
        for _ in self.trials:
            trial = self.scheduler.choose_trial_to_run(self.controller)
            if trial is None:
                break
            found.add(trial.trial_id)
            trial.status = RUNNING
        for trial in self.trials:
            if trial.trial_id in found:
                trial.status = PAUSED
        return found


def milestones(scheduler: HyperBandScheduler, trials: int) -> list[float]:
    """Where trials added one after the other first wait."""
    sweep = Sweep(scheduler, trials)
    return [scheduler.run_until(trial).thresholds[0][1] for trial in sweep.trials]


def test_brackets_of_81_epochs_are_those_of_the_paper() -> None:
    # Table 1 of the paper, with one trial more where the formula of n is rounded up.
    found = milestones(make(max_t=81, reduction_factor=3), 143)
    assert found == [81] * 5 + [27] * 8 + [9] * 15 + [3] * 34 + [1] * 81


def test_with_a_model_the_strictest_bracket_comes_first() -> None:
    found = milestones(make(HyperBandForBOHB, max_t=81, reduction_factor=3), 144)
    assert found == [1] * 81 + [3] * 34 + [9] * 15 + [27] * 8 + [81] * 5 + [1]


def test_a_bracket_too_short_for_one_step_is_left_out() -> None:
    assert milestones(make(max_t=2, reduction_factor=3), 6) == [2] * 6


def test_the_best_of_a_bracket_go_on_through_all_its_milestones() -> None:
    sweep = Sweep(make(max_t=81), 5 + 8 + 15 + 34 + 81)
    strict = sweep.trials[-81:]
    survivors = strict
    for milestone, left in ((1, 27), (3, 9), (9, 3), (27, 1)):
        for trial in survivors[:-1]:
            assert sweep.report(trial, milestone, int(trial.trial_id[1:])) == "PAUSE"
        assert sweep.report(survivors[-1], milestone, 999) == "CONTINUE"
        survivors = survivors[-left:]
        assert [t for t in strict if not t.is_finished()] == survivors
    assert sweep.report(survivors[0], 80, 1) == "CONTINUE"
    assert sweep.report(survivors[0], 81, 1) == "STOP"
    assert strict[0].status == TERMINATED
    assert len(sweep.alive()) == 5 + 8 + 15 + 34


def test_of_eight_trials_a_third_is_kept_rounded_up() -> None:
    sweep = Sweep(make(max_t=81), 13)
    eight = sweep.trials[5:]
    for trial, score in zip(eight, (3, 8, 1, 7, 2, 9, 4), strict=False):
        sweep.report(trial, 27, score)
    assert sweep.report(eight[-1], 27, 5) == "STOP"
    assert {trial.trial_id for trial in eight} & set(sweep.alive()) == {"t6", "t8", "t10"}
    assert sweep.may_run() >= {"t6", "t8", "t10"}


def test_the_least_is_best_where_it_is_to_be_minimised() -> None:
    sweep = Sweep(make(max_t=81, mode="min"), 13)
    for score, trial in enumerate(sweep.trials[5:]):
        sweep.report(trial, 27, score)
    assert sweep.alive()[5:] == ["t5", "t6", "t7"]


def test_a_trial_that_reports_nan_is_the_worst() -> None:
    sweep = Sweep(make(max_t=81), 13)
    for score, trial in enumerate(sweep.trials[5:12]):
        sweep.report(trial, 27, math.nan if score == 6 else -score)
    sweep.report(sweep.trials[12], 27, -100)
    assert sweep.alive()[5:] == ["t5", "t6", "t7"]


def test_waits_between_milestones_only() -> None:
    sweep = Sweep(make(max_t=81), 6)
    trial = sweep.trials[5]
    assert sweep.report(trial, 26, 1) == "CONTINUE"
    assert sweep.scheduler.run_until(trial).thresholds == (("training_iteration", 27),)
    assert sweep.report(sweep.trials[0], 80, 1) == "CONTINUE"


@pytest.mark.parametrize("how", ["end", "fail", "drop"])
@pytest.mark.parametrize("rounds", [1, 2])
def test_nobody_waits_for_a_trial_that_is_gone(how: str, rounds: int) -> None:
    # Ray Tune leaves the others paused for ever if it happens behind the first halving.
    sweep = Sweep(make(max_t=81), 28)
    group = sweep.trials[13:]
    milestone = 9
    for _ in range(rounds):
        *others, last = [trial for trial in group if not trial.is_finished()]
        for score, trial in enumerate(others):
            assert sweep.report(trial, milestone, score) == "PAUSE"
        if milestone == 9 and rounds == 2:
            sweep.report(last, milestone, 99)
        milestone *= 3
    last.status = PENDING if how == "drop" else RUNNING
    before = len([trial for trial in group if not trial.is_finished()])
    getattr(sweep, how)(last)
    left = {trial.trial_id for trial in group if not trial.is_finished()}
    assert len(left) == min(before - 1, math.ceil(15 / 3**rounds))
    assert left <= sweep.may_run()


def test_who_jumps_over_milestones_waits_there_without_stopping_the_others() -> None:
    sweep = Sweep(make(max_t=81), 13)
    for trial in sweep.trials[5:12]:
        sweep.report(trial, 70, 1)
    assert sweep.report(sweep.trials[12], 81, 2) == "PAUSE"
    assert len(sweep.alive()) == 5 + 3
    waiting = [t for t in sweep.trials[5:12] if not t.is_finished()]
    assert {t.trial_id for t in waiting} <= sweep.may_run()
    assert sweep.report(waiting[0], 81, 2) == "PAUSE"
    assert sweep.report(waiting[1], 81, 2) == "STOP"
    assert len(sweep.alive()) == 5


def test_all_at_the_end_at_once_end() -> None:
    sweep = Sweep(make(max_t=81), 13)
    for trial in sweep.trials[5:12]:
        sweep.report(trial, 81, 1)
    assert sweep.report(sweep.trials[12], 81, 2) == "STOP"
    assert len(sweep.alive()) == 5


def test_the_last_ones_may_run_on() -> None:
    sweep = Sweep(make(max_t=9, stop_last_trials=False), 3)
    assert sweep.report(sweep.trials[0], 9, 1) == "CONTINUE"
    assert sweep.report(sweep.trials[0], 90, 1) == "CONTINUE"
    assert sweep.scheduler.run_until(sweep.trials[0]).thresholds == ()


def test_who_goes_on_after_an_interruption_stays_in_its_bracket() -> None:
    sweep = Sweep(make(max_t=81), 13)
    sweep.report(sweep.trials[5], 20, 1)
    sweep.scheduler.on_trial_add(sweep.controller, sweep.trials[5])
    sweep.report(sweep.trials[5], 18, 1)
    assert sweep.report(sweep.trials[5], 27, 1) == "PAUSE"


def test_the_bracket_that_is_least_done_goes_first() -> None:
    sweep = Sweep(make(max_t=81), 13)
    sweep.report(sweep.trials[0], 60, 1)
    for trial in sweep.trials:
        trial.status = PENDING
    assert sweep.scheduler.choose_trial_to_run(sweep.controller) is sweep.trials[5]


def test_describes_its_brackets() -> None:
    sweep = Sweep(make(max_t=81), 6)
    text = sweep.scheduler.debug_string()
    assert "5 of 5 trials until 81, 0 halvings left" in text
    assert "1 of 8 trials until 27, 1 halvings left" in text


@pytest.mark.parametrize(
    ("options", "argument"),
    [
        ({"max_t": 0.5}, "max_t"),
        ({"max_t": math.inf}, "max_t"),
        ({"reduction_factor": 1}, "reduction_factor"),
        ({"reduction_factor": 1.000001}, "reduction_factor"),
        ({"mode": "best"}, "mode"),
        ({"time_attr": ""}, "time_attr"),
    ],
)
@pytest.mark.parametrize("cls", [HyperBandScheduler, HyperBandForBOHB])
def test_wrong_arguments_are_named(cls: Any, options: dict[str, Any], argument: str) -> None:
    with pytest.raises(InvalidArgument, match=f"`{argument}`"):
        make(cls, **options)


def test_without_a_metric_it_does_not_start() -> None:
    with pytest.raises(InvalidArgument, match="`metric`"):
        Sweep(HyperBandScheduler(), 1)


def last_milestones(max_t: int, eta: float) -> set[int]:
    """Where the brackets end: each milestone is rounded down, as in Ray Tune."""
    found = set()
    for s in range(round(math.log(max_t) / math.log(eta)) + 1):
        milestone = int(max_t * eta**-s)
        for _ in range(s):
            milestone = int(min(milestone * eta, max_t))
        found.add(milestone)
    return found


@settings(max_examples=60, deadline=None)
@given(
    cls=st.sampled_from([HyperBandScheduler, HyperBandForBOHB]),
    trials=st.integers(1, 40),
    slots=st.integers(1, 6),
    pending=st.integers(1, 12),
    max_t=st.integers(1, 27),
    eta=st.sampled_from([1.5, 2, 3, 4]),
    seed=st.integers(0, 999),
    last=st.booleans(),
)
def test_no_course_of_trials_leaves_one_behind(
    cls: Any, trials: int, slots: int, pending: int, max_t: int, eta: float, seed: int, last: bool
) -> None:
    dice = random.Random(seed)
    ends = [dice.choice([2, 5, max_t, 3 * max_t]) for _ in range(trials)]
    scores = [dice.random() for _ in range(trials)]
    broken = {(dice.randrange(trials), dice.randrange(1, max_t + 1)) for _ in range(trials // 3)}
    simulation = Simulation(
        lambda index, step: {"score": scores[index]} if step <= ends[index] else None,
        num_trials=trials,
        scheduler=make(cls, max_t=max_t, reduction_factor=eta, stop_last_trials=last),
        slots=slots,
        pending=pending,
        duration=lambda index, step: 0.5 + scores[index],
        failure=lambda index, step: (index, step) in broken,
    ).run()  # raises if trials are left that nobody will run
    assert simulation.is_over
    best = max(range(trials), key=scores.__getitem__)
    done = [step for trial, step, _ in simulation.decisions if int(trial) == best]
    if not broken:  # the best trial is never ended before its own end, or that of its bracket
        assert max(done) in (ends[best], *last_milestones(max_t, eta))


class Searcher:
    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    def on_pause(self, trial_id: str) -> None:
        self.told.append(("pause", trial_id))

    def on_unpause(self, trial_id: str) -> None:
        self.told.append(("unpause", trial_id))


def test_the_model_hears_of_milestones_and_of_who_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    searcher = Searcher()
    monkeypatch.setattr(SimulatedController, "search_alg", searcher)
    sweep = Sweep(make(HyperBandForBOHB, max_t=9, reduction_factor=3), 9)
    result = {"training_iteration": 1, "score": 3.0}
    sweep.trials[0].status = RUNNING
    assert sweep.scheduler.on_trial_result(sweep.controller, sweep.trials[0], result) == "PAUSE"
    assert result["hyperband_info"] == {"budget": 1}
    sweep.trials[0].status = PAUSED
    for trial in sweep.trials[1:]:
        sweep.report(trial, 1, int(trial.trial_id[1:]) / 10)
    assert searcher.told[0] == ("pause", "t0")
    assert searcher.told[-2:] == [("unpause", "t0"), ("unpause", "t7")]
    early = {"training_iteration": 2, "score": 3.0}
    sweep.scheduler.on_trial_result(sweep.controller, sweep.trials[0], early)
    assert "hyperband_info" not in early


def test_a_bracket_that_is_not_filled_waits_for_others_while_any_trial_can_go_on() -> None:
    sweep = Sweep(make(HyperBandForBOHB, max_t=9, reduction_factor=3), 3)
    for trial in sweep.trials[:2]:
        assert sweep.report(trial, 1, 1) == "PAUSE"
    assert sweep.may_run() == {"t2"}
    later = sweep.add()
    assert sweep.report(sweep.trials[2], 1, 2) == "PAUSE"
    assert sweep.may_run() == {"t3"}
    assert sweep.report(later, 1, 3) == "PAUSE"  # nobody else could run: it is halved, see below
    assert sweep.may_run() == {"t1", "t2", "t3"}
    assert sweep.alive() == ["t1", "t2", "t3"]


def test_with_a_model_the_bracket_that_was_begun_first_goes_first() -> None:
    sweep = Sweep(make(HyperBandForBOHB, max_t=9, reduction_factor=3), 10)
    for trial in sweep.trials[:5]:
        assert sweep.report(trial, 1, 1) == "PAUSE"
    assert sweep.scheduler.choose_trial_to_run(sweep.controller) is sweep.trials[5]


def test_of_brackets_that_are_not_filled_only_the_first_is_halved() -> None:
    sweep = Sweep(make(HyperBandForBOHB, max_t=9, reduction_factor=3), 11)
    for trial in sweep.trials[9:]:  # the second bracket waits at 3
        assert sweep.report(trial, 3, 1) == "PAUSE"
    sweep.drop(sweep.trials[0])
    for trial in sweep.trials[1:9]:
        assert sweep.report(trial, 1, int(trial.trial_id[1:])) == "PAUSE"
    assert sweep.may_run() == {"t6", "t7", "t8"}
    assert {"t9", "t10"} <= set(sweep.alive())
