"""What a simulated trial does, and what is known of an attempt of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from prefect_tune.coordinator.commands import Launch
from prefect_tune.coordinator.events import AttemptEnded, Outcome
from prefect_tune.experiment.decision import RunUntil
from prefect_tune.nested import flatten


@dataclass(frozen=True, slots=True)
class Step:
    """What a simulated trial yields: `metrics`, reported after `seconds` of work.

    With `checkpoint` it saves a checkpoint as well.
    """

    metrics: dict[str, Any]
    seconds: float = 1.0
    checkpoint: bool = False


#: A simulated trial: takes a configuration, yields `Step`s or bare metrics (one second of work). It
#: goes on from a checkpoint by leaving out as many of them as it had yielded there.
Program = Callable[[dict[str, Any]], Iterable[Step | dict[str, Any]]]


@dataclass(slots=True)
class SimulatedAttempt:
    """An attempt and how far it has got."""

    launch: Launch
    steps: Iterator[Step | dict[str, Any]]
    constants: dict[str, Any]
    run_until: RunUntil
    directory: str
    ended: Future[AttemptEnded] = field(default_factory=Future)
    seq: int = 0
    seconds: float = 0.0
    uploading: int = 0
    waiting: bool = False
    ending: Outcome | None = None
    last_result: dict[str, Any] = field(default_factory=dict)
    saved: str = ""

    @property
    def key(self) -> tuple[str, int]:
        """Its trial and its number."""
        return self.launch.trial_id, self.launch.attempt

    def report(self, step: Step, now: float) -> dict[str, Any]:
        """Take a step of the trial.

        Args:
            step: The step, whose work is done.
            now: The simulated time.

        Returns:
            What the trial reports: its metrics and those that come by themselves.
        """
        before = self.launch.progress
        self.seconds += step.seconds
        self.seq += 1
        result = {
            "done": False,
            "training_iteration": before.iteration + self.seq,
            "time_this_iter_s": step.seconds,
            "timestamp": int(now),
            **step.metrics,
            "time_total_s": before.time_total_s + self.seconds,
            "time_since_restore": self.seconds,
            "iterations_since_restore": self.seq,
            **self.constants,
        }
        watched = self.run_until.every_result or bool(self.run_until.thresholds)
        reached = watched and self.run_until.reached(flatten(result))
        self.waiting = reached or bool(result["done"])
        self.last_result = result
        return result
