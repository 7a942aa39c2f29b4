from __future__ import annotations

from prefect_tune.stopper import (
    CombinedStopper,
    DictStopper,
    ExperimentPlateauStopper,
    FunctionStopper,
    JointStopper,
    MaximumIterationStopper,
    NonFiniteStopper,
    NoopStopper,
    Stopper,
    TimeoutStopper,
    TrialPlateauStopper,
)
from prefect_tune.testing.stopper import StopperConformance


class TestNoop(StopperConformance):
    def make_stopper(self) -> Stopper:
        return NoopStopper()


class TestDict(StopperConformance):
    def make_stopper(self) -> Stopper:
        return DictStopper({"training_iteration": 12, "score": 0.5, "done": True})


class TestFunction(StopperConformance):
    def make_stopper(self) -> Stopper:
        return FunctionStopper(lambda trial_id, result: result["score"] > 0.4)


class TestMaximumIteration(StopperConformance):
    def make_stopper(self) -> Stopper:
        return MaximumIterationStopper(9)


class TestTrialPlateau(StopperConformance):
    def make_stopper(self) -> Stopper:
        return TrialPlateauStopper("score", std=0.04, num_results=3, grace_period=6)


class TestExperimentPlateau(StopperConformance):
    def make_stopper(self) -> Stopper:
        return ExperimentPlateauStopper("score", std=0.05, top=5, mode="max", patience=3)


class TestNonFinite(StopperConformance):
    def make_stopper(self) -> Stopper:
        return NonFiniteStopper("score", patience=2)


class TestNonFiniteWhatever(StopperConformance):
    def make_stopper(self) -> Stopper:
        return NonFiniteStopper()


class TestTimeout(StopperConformance):
    def make_stopper(self) -> Stopper:
        return TimeoutStopper(15)


class TestCombined(StopperConformance):
    def make_stopper(self) -> Stopper:
        return CombinedStopper(
            MaximumIterationStopper(15), DictStopper({"score": 0.6}), TimeoutStopper(30)
        )


class TestJoint(StopperConformance):
    def make_stopper(self) -> Stopper:
        return JointStopper(
            MaximumIterationStopper(5), TimeoutStopper(12), DictStopper({"score": 0.3})
        )


class CustomStopper(Stopper):
    """As users write them."""

    def __init__(self) -> None:
        self.high_scores = 0

    def __call__(self, trial_id: str, result: dict) -> bool:  # type: ignore[type-arg]
        self.high_scores += result["score"] > 0.3
        return self.high_scores % 7 == 6

    def stop_all(self) -> bool:
        return self.high_scores > 60


class TestCustom(StopperConformance):
    def make_stopper(self) -> Stopper:
        return CustomStopper()

    def test_both_it_and_itself_is_itself(self) -> None:
        """Two of them end a trial as one does, with `stop_all` adding to the vote."""
        stopper = self.make_stopper() & self.make_stopper()
        assert self.simulate(stopper).run().is_over
