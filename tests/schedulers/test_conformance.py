from __future__ import annotations

import pytest

from prefect_tune.error import InvalidArgument
from prefect_tune.schedulers import (
    PB2,
    SCHEDULERS,
    ASHAScheduler,
    FIFOScheduler,
    HyperBandForBOHB,
    HyperBandScheduler,
    MedianStoppingRule,
    MultiObjectiveASHAScheduler,
    PopulationBasedTraining,
    PopulationBasedTrainingReplay,
    PromotionASHAScheduler,
    ResourceChangingScheduler,
    TrialScheduler,
)
from prefect_tune.testing.scheduler import SchedulerConformance
from tests.schedulers.pausing import PausingScheduler


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


class TestPBT(SchedulerConformance):
    def make_scheduler(self) -> TrialScheduler:
        return PopulationBasedTraining(
            "training_iteration",
            "score",
            "max",
            perturbation_interval=3,
            hyperparam_mutations={"x": [1, 2, 3]},
            require_attrs=False,
        )


class TestPBTInStep(SchedulerConformance):
    def make_scheduler(self) -> TrialScheduler:
        return PopulationBasedTraining(
            "time_total_s",
            "score",
            "min",
            perturbation_interval=4,
            burn_in_period=5,
            hyperparam_mutations={"x": [1, 2, 3]},
            require_attrs=False,
            synch=True,
        )


class TestPB2(SchedulerConformance):
    def make_scheduler(self) -> TrialScheduler:
        return PB2(
            "training_iteration",
            "score",
            "max",
            perturbation_interval=8,
            hyperparam_bounds={"x": [0, 1]},
            require_attrs=False,
        )


class TestResourceChanging(SchedulerConformance):
    def make_scheduler(self) -> TrialScheduler:
        return ResourceChangingScheduler(
            ASHAScheduler(metric="score", mode="max", max_t=20, reduction_factor=2)
        )


class TestPromotionASHA(SchedulerConformance):
    def make_scheduler(self) -> TrialScheduler:
        return PromotionASHAScheduler(metric="score", mode="max", max_t=20, reduction_factor=3)


class TestMultiObjectiveASHA(SchedulerConformance):
    def make_scheduler(self) -> TrialScheduler:
        return MultiObjectiveASHAScheduler(["score", "time_total_s"], ["max", "min"], max_t=20)

    def test_second_metric_is_refused(self) -> None:
        with pytest.raises(InvalidArgument, match=r"`metric`.*none of the scheduler's metrics"):
            self.make_scheduler().set_search_properties("other", "max")


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
    tried.add(PopulationBasedTrainingReplay)  # which trains a single trial
    assert {entry.load() for entry in SCHEDULERS} <= tried
