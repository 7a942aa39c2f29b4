"""`SimulatedAttempt`: runs the steps of a simulated trial, and makes its results."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from prefect_tune.coordinator.commands import Launch
from prefect_tune.coordinator.events import Outcome
from prefect_tune.experiment.attempt import AttemptError
from prefect_tune.experiment.decision import RunUntil
from prefect_tune.nested import flatten


@dataclass(slots=True)
class Step:
    """Step of a simulated trial: `metrics` that it reports after `seconds` of work.

    If `checkpoint` is true, the trial also writes a checkpoint.
    """

    metrics: dict[str, Any]
    seconds: float = 1.0
    checkpoint: bool = False


#: A simulated trial: takes a configuration, yields `Step`s or bare metrics (one second of work). It
#: is resumed from a checkpoint by skipping the steps before that checkpoint.
Program = Callable[[dict[str, Any]], Iterable[Step | dict[str, Any]]]


def constants_of(
    trial_id: str, experiment_id: str, experiment_tag: str, config: dict[str, Any], node: str
) -> dict[str, Any]:
    """Return the metrics that are the same in all results of an attempt."""
    return {
        "trial_id": trial_id,
        "experiment_id": experiment_id,
        "experiment_tag": experiment_tag,
        "config": config,
        "hostname": node,
        "node_ip": node,
        "pid": 0,
    }


@dataclass(slots=True)
class Report:
    """Result that a trial reports at a `time`."""

    time: float
    result: dict[str, Any]
    checkpoint: bool
    waits: bool


@dataclass(slots=True, eq=False)
class SimulatedAttempt:
    """Attempt of a simulated trial, with its progress.

    Attributes:
        slowdown: Factor by which each step takes longer than its program says.
        reports: The next reports, which are delivered together unless the attempt is interrupted.
        failure: The exception that its program has raised after these.
        over: True once it has ended.
    """

    launch: Launch
    constants: dict[str, Any]
    run_until: RunUntil
    directory: str
    launched: float
    slowdown: float = 1.0
    key: tuple[str, int] = field(init=False)
    steps: Iterator[Step | dict[str, Any]] = field(default_factory=lambda: iter(()))
    reports: list[Report] = field(default_factory=list)
    failure: AttemptError | None = None
    seq: int = 0
    done_steps: int = 0
    seconds: float = 0.0
    waiting: bool = False
    ending: Outcome | None = None
    last_result: dict[str, Any] = field(default_factory=dict)
    saved: str = ""
    over: bool = False

    def __post_init__(self) -> None:
        self.key = self.launch.key

    def work(self, now: float, most: int, checkpoint_every: int) -> list[Report]:
        """Run the next steps, up to the first one at which the trial waits for a decision.

        Args:
            now: The simulated time.
            most: How many reports may be delivered together.
            checkpoint_every: Results between two checkpoints; 0 writes them only where a step asks.

        Returns:
            The reports; none if the trial has ended.
        """
        before = self.launch.progress
        reports: list[Report] = []
        self.reports = reports
        while len(reports) < most:
            try:
                item = next(self.steps)
            except StopIteration:
                break
            except Exception as error:  # the simulated trial's own
                self.failure = AttemptError(type(error).__name__, str(error))
                break
            metrics, seconds, checkpoint = (
                (item.metrics, item.seconds, item.checkpoint)
                if isinstance(item, Step)
                else (item, 1.0, False)
            )
            seconds *= self.slowdown
            now += seconds
            self.seconds += seconds
            self.done_steps += 1
            iteration = before.iteration + self.done_steps
            result = {
                "done": False,
                "training_iteration": iteration,
                "time_this_iter_s": seconds,
                "timestamp": int(now),
                **metrics,
                "time_total_s": before.time_total_s + self.seconds,
                "time_since_restore": self.seconds,
                "iterations_since_restore": self.done_steps,
                **self.constants,
            }
            if checkpoint_every:
                checkpoint = checkpoint or iteration % checkpoint_every == 0
            waits = self.waits_at(result)
            reports.append(Report(now, result, checkpoint, waits))
            if checkpoint or waits:
                break
        return reports

    def waits_at(self, result: dict[str, Any]) -> bool:
        """Return True if the trial waits for a decision at this result."""
        until = self.run_until
        if result["done"] or until.every_result:
            return True
        # Of nested results it sees the outermost level only at first, and waits too often.
        return until.reached(result) and until.reached(flatten(result))
