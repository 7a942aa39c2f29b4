from __future__ import annotations

from prefect_tune.schedulers import (
    SCHEDULERS,
    ASHAScheduler,
    FIFOScheduler,
    HyperBandForBOHB,
    HyperBandScheduler,
    MedianStoppingRule,
    TrialScheduler,
)
from prefect_tune.simulation.pausing_scheduler import PausingScheduler
from prefect_tune.testing.scheduler import SchedulerConformance


class TestFIFO(SchedulerConformance):
    def make_scheduler(self) -> TrialScheduler:
        return FIFOScheduler()


class TestASHA(SchedulerConformance):
    def make_scheduler(self) -> TrialScheduler:
        return ASHAScheduler(metric="score", mode="max", max_t=20, grace_period=2)


class TestASHAWithBracketsMinimising(SchedulerConformance):
    def make_scheduler(self) -> TrialScheduler:
        return ASHAScheduler(
            metric="score", mode="min", max_t=20, reduction_factor=2, brackets=3, random_state=5
        )


class TestASHAByTimeWithoutEnd(SchedulerConformance):
    def make_scheduler(self) -> TrialScheduler:
        return ASHAScheduler(
            time_attr="time_total_s",
            metric="score",
            mode="max",
            max_t=30,
            reduction_factor=2.5,
            stop_last_trials=False,
        )


class TestMedian(SchedulerConformance):
    def make_scheduler(self) -> TrialScheduler:
        return MedianStoppingRule(metric="score", mode="max", grace_period=5)


class TestMedianPausing(SchedulerConformance):
    def make_scheduler(self) -> TrialScheduler:
        return MedianStoppingRule(
            time_attr="training_iteration",
            metric="score",
            mode="max",
            grace_period=3,
            min_time_slice=2,
            hard_stop=False,
        )


class TestHyperBand(SchedulerConformance):
    def make_scheduler(self) -> TrialScheduler:
        return HyperBandScheduler(metric="score", mode="max", max_t=9, reduction_factor=3)


class TestHyperBandMinimisingWithoutEnd(SchedulerConformance):
    def make_scheduler(self) -> TrialScheduler:
        return HyperBandScheduler(
            "time_total_s", "score", "min", max_t=16, reduction_factor=2, stop_last_trials=False
        )


class TestHyperBandForBOHB(SchedulerConformance):
    def make_scheduler(self) -> TrialScheduler:
        return HyperBandForBOHB(metric="score", mode="max", max_t=9, reduction_factor=3)


class RayStyle(FIFOScheduler):
    """As users write them: a known base class and one hook of their own."""

    def __init__(self) -> None:
        self._metric = "score"

    def on_trial_result(self, controller, trial, result):  # type: ignore[no-untyped-def]
        if result.get("score", 1) < 0.1 and result["training_iteration"] > 3:
            return TrialScheduler.STOP
        return TrialScheduler.CONTINUE


class TestCustomScheduler(SchedulerConformance):
    def make_scheduler(self) -> TrialScheduler:
        return RayStyle()


class TestPausing(SchedulerConformance):
    def make_scheduler(self) -> TrialScheduler:
        return PausingScheduler(slice_length=3)


def test_every_registered_scheduler_is_tried() -> None:
    suites = [suite for suite in globals().values() if isinstance(suite, type)]
    tried = {
        type(suite().make_scheduler())
        for suite in suites
        if hasattr(suite, "make_scheduler")
        if suite is not SchedulerConformance
    }
    assert {entry.load() for entry in SCHEDULERS} <= tried
