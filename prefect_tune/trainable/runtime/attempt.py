"""What an attempt is (`AttemptContext`), how it talks to its node (`Channel`), and what ends it.

The exceptions that end it from inside `report` derive from `SystemExit`, so that ``except
Exception`` in user code does not swallow them while ``finally`` blocks and context managers run.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

from prefect_tune.coordinator.commands import Launch
from prefect_tune.coordinator.events import Outcome
from prefect_tune.experiment.checkpoints import CheckpointRules
from prefect_tune.experiment.decision import NEVER, Action, RunUntil

#: Picklable function that returns a context manager to run user code in. Its arguments: what sends
#: a line of the trial's log to the driver, in any thread; and False if other trials run in this
#: process.
Surroundings = Callable[[Callable[[bytes], None], bool], AbstractContextManager[None]]


@dataclass(frozen=True, slots=True)
class AttemptContext:
    """Description of one attempt of a trial, for the process that runs the attempt.

    Attributes:
        launch: The command that launched the attempt; its `checkpoint` is a path in the experiment.
        experiment_id: Unique id of this run of the experiment.
        experiment_name: Name of the experiment.
        experiment_tag: Experiment tag of the trial.
        trial_dir: Directory of the trial on this node; it exists and is the working directory.
        checkpoint: Directory on this node with the complete checkpoint to restore, if any.
        checkpoint_uri: URL of this checkpoint in storage.
        checkpoint_rules: When checkpoints of class trainables are written.
        seed: Seed for `random` and `numpy`; None seeds them randomly.
        env: Environment variables to set before any user code runs.
        export_formats: Formats in which the trial exports its model at its end.
        surroundings: Makes a context manager around user code; None for none.
    """

    launch: Launch
    experiment_id: str
    experiment_name: str
    experiment_tag: str
    trial_dir: str
    checkpoint: str | None = None
    checkpoint_uri: str | None = None
    checkpoint_rules: CheckpointRules = field(default_factory=CheckpointRules)
    seed: int | None = None
    env: dict[str, str] = field(default_factory=dict)
    export_formats: tuple[str, ...] = ()
    surroundings: Surroundings | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """Decision of the coordinator about report number `seq`, or 0 for one without a report."""

    seq: int
    action: Action
    run_until: RunUntil = NEVER


#: Takes, in any thread, how a function in a bundle has ended: whether it has returned, and its
#: pickled result or `AttemptError`, which is None if the agent is gone.
CallEnded = Callable[[bool, bytes | None], None]


class Channel(Protocol):
    """Connection of an attempt to the agent of its node.

    Attributes:
        is_leaving: True once the agent has said that its worker is about to end; known when
            something was received.
    """

    is_leaving: bool

    def send_result(self, seq: int, report: bytes, awaiting: bool) -> None:
        """Send one report, as `encode_report` encodes it.

        Once this returns, the report survives the attempt's death.
        """

    def wait_decision(self) -> Decision:
        """Block until the next decision arrives.

        Raises:
            ConnectionError: If the agent is gone.
        """

    def poll_decision(self) -> Decision | None:
        """Return the next decision if one has arrived, else None; never blocks."""

    def send_log(self, line: bytes) -> None:
        """Send a line of the trial's log; may be called in any thread."""

    def announce_checkpoint(self, iteration: int) -> None:
        """Announce that a checkpoint is being written, before or after its report.

        The trial does not end before this checkpoint is in storage.

        Args:
            iteration: `training_iteration` of the checkpoint's report.
        """

    def send_checkpoint(self, seq: int, name: str, line: bytes) -> None:
        """Hand over a complete checkpoint in the trial directory.

        The checkpoint's report was sent before. From now on the agent owns the directory, uploads
        the checkpoint and reports that to the coordinator.

        Args:
            seq: Number of the checkpoint's report; 0 for the newest result of an earlier
                attempt.
            name: Name of the checkpoint's directory in the trial directory.
            line: The checkpoint's result, as JSON.
        """

    def start_call(self, bundle: int, call: bytes, ended: CallEnded) -> int:
        """Start a function in a bundle, in its own process, and return the number of the call.

        Args:
            bundle: Which, by its place in the request.
            call: The function and its arguments, pickled.
            ended: Told of its end.
        """

    def end_call(self, bundle: int, number: int) -> None:
        """End such a function; may be called in any thread."""

    def wait_uploaded(self, pending: int) -> None:
        """Block until at most `pending` checkpoints that were handed over are still uploading.

        Raises:
            ConnectionError: If the agent is gone.
        """


class TrialEnding(SystemExit):
    """Base class of exceptions that end an attempt without an error."""

    outcome = Outcome.STOPPED

    def __init__(self) -> None:
        super().__init__(0)


class TrialStopped(TrialEnding):
    """Ends an attempt whose trial a scheduler or stopper has ended."""


class TrialPaused(TrialEnding):
    """Ends an attempt whose trial a scheduler has paused; a later attempt continues."""

    outcome = Outcome.PAUSED


class TrialTerminated(TrialEnding):
    """Ends an attempt whose process has received SIGTERM."""
