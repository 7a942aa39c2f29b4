"""A coordinator under test with a scripted world around it: no engine, no processes, no clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from prefect_tune.coordinator.commands import (
    Abort,
    AskSearch,
    Command,
    Decide,
    DeleteCheckpoint,
    Kill,
    Launch,
    Notify,
    TellSearch,
    Warn,
)
from prefect_tune.coordinator.coordinator import Coordinator
from prefect_tune.coordinator.events import (
    AttemptEnded,
    CapacityChanged,
    CheckpointFailed,
    CheckpointSaved,
    Event,
    Node,
    Outcome,
    ResultReported,
    SearchIdle,
    TrialSuggested,
)
from prefect_tune.coordinator.options import CoordinatorOptions
from prefect_tune.experiment.attempt import AttemptError
from prefect_tune.experiment.decision import Action
from prefect_tune.experiment.trial import Trial
from prefect_tune.resources import Resources
from prefect_tune.schedulers import FIFOScheduler, TrialScheduler
from prefect_tune.stopper import NoopStopper, Stopper

Config = dict[str, Any]


@dataclass
class World:
    """Feeds events and collects commands.

    Attributes:
        log: Every command so far.
        events: Every event so far.
    """

    scheduler: TrialScheduler = field(default_factory=FIFOScheduler)
    stopper: Stopper = field(default_factory=NoopStopper)
    options: CoordinatorOptions = field(default_factory=lambda: CoordinatorOptions(lookahead=4))
    cpus: float = 2
    samples: int = 3
    request: Resources = field(default_factory=lambda: Resources.parse(None))

    def __post_init__(self) -> None:
        self.coordinator = Coordinator(self.scheduler, self.stopper, self.options)
        self.log: list[Command] = []
        self.events: list[Event] = []
        self.running: dict[str, Launch] = {}
        self.waiting: dict[str, int] = {}
        self.seqs: dict[str, int] = {}
        self.suggested = 0
        self.now = 1000.0

    def start(self) -> list[Command]:
        return self.send(CapacityChanged(self.now, (Node("n", Resources.of(CPU=self.cpus)),)))

    def send(self, event: Event) -> list[Command]:
        """Send one event and answer the search's questions until it is content."""
        self.now += 1
        self.events.append(event)
        commands = self.coordinator.handle(event)
        self.log += commands
        for command in commands:
            if isinstance(command, Launch):
                self.running[command.trial_id] = command
            elif isinstance(command, Decide) and command.seq:
                self.waiting.pop(command.trial_id, None)
        answered = [c for command in commands for c in self._answer(command)]
        return commands + answered

    def _answer(self, command: Command) -> list[Command]:
        if not isinstance(command, AskSearch):
            return []
        out: list[Command] = []
        for _ in range(command.count):
            if self.suggested >= self.samples:
                return out + self.send(SearchIdle(self.now, finished=True))
            self.suggested += 1
            out += self.send(
                TrialSuggested(
                    self.now,
                    f"t{self.suggested}",
                    {"x": self.suggested},
                    {},
                    str(self.suggested),
                    self.request,
                )
            )
        return out

    def report(self, trial_id: str, seq: int, awaiting: bool = False, **metrics: Any) -> list[Any]:
        result = {"training_iteration": seq, **metrics}
        if awaiting:
            self.waiting[trial_id] = seq
        attempt = self.running[trial_id].attempt
        return self.send(ResultReported(self.now, trial_id, attempt, seq, (result,), awaiting))

    def save(
        self, trial_id: str, iteration: int, attempt: int | None = None, **metrics: Any
    ) -> Any:
        """A checkpoint of the running attempt, or of another one, is in storage."""
        if attempt is None:
            attempt = self.running[trial_id].attempt
        suffix = self.running[trial_id].checkpoint_suffix if trial_id in self.running else ""
        path = f"{trial_id}/checkpoint_{iteration:06d}{suffix}"
        metrics = {"training_iteration": iteration, "time_total_s": float(iteration), **metrics}
        return self.send(CheckpointSaved(self.now, trial_id, attempt, path, metrics))

    def train(self, trial_id: str, *iterations: int, **metrics: Any) -> None:
        """Report and checkpoint these iterations."""
        for iteration in iterations:
            seq = self.seqs[trial_id] = self.seqs.get(trial_id, 0) + 1
            attempt = self.running[trial_id].attempt
            result = {"training_iteration": iteration, **metrics}
            self.send(ResultReported(self.now, trial_id, attempt, seq, (result,), False))
            self.save(trial_id, iteration, **metrics)

    def end(
        self,
        trial_id: str,
        outcome: Outcome = Outcome.FINISHED,
        error: AttemptError | None = None,
        uploading: int = 0,
    ) -> list[Command]:
        launch = self.running.pop(trial_id)
        self.seqs.pop(trial_id, None)
        return self.send(
            AttemptEnded(self.now, trial_id, launch.attempt, outcome, error, uploading=uploading)
        )

    def fail(
        self, trial_id: str, kind: str = "ValueError", exit_code: int | None = None
    ) -> list[Command]:
        error = AttemptError(kind, "bad luck", exit_code=exit_code)
        return self.end(trial_id, Outcome.FAILED, error)

    def lose(self, trial_id: str) -> list[Command]:
        return self.end(trial_id, Outcome.LOST, AttemptError("lost", "the node is gone"))

    def trial(self, trial_id: str) -> Trial:
        trial = self.coordinator.get_trial(trial_id)
        assert trial is not None
        return trial

    def of(self, kind: type[Any], commands: Sequence[Command] | None = None) -> list[Any]:
        return [c for c in (self.log if commands is None else commands) if isinstance(c, kind)]

    def status(self, trial_id: str) -> str:
        trial = self.coordinator.get_trial(trial_id)
        return "absent" if trial is None else trial.status


__all__ = [
    "Abort",
    "Action",
    "AskSearch",
    "AttemptError",
    "CheckpointFailed",
    "Decide",
    "DeleteCheckpoint",
    "Kill",
    "Launch",
    "Notify",
    "Outcome",
    "TellSearch",
    "Warn",
    "World",
]
