"""The commands of the coordinator, its only output, which the engine carries out."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from prefect_tune.coordinator.events import Event, Outcome
from prefect_tune.coordinator.node_slots import Slot
from prefect_tune.experiment.attempt import AttemptKey
from prefect_tune.experiment.checkpoints import NO_PROGRESS, Progress, TrialCheckpoint
from prefect_tune.experiment.decision import NEVER, Action, RunUntil
from prefect_tune.experiment.message import message
from prefect_tune.resources import PlacementGroup, Resources


@message(frozen=True, slots=True)
class Command:
    """Base class of all commands."""


@message(frozen=True, slots=True)
class Record(Command):
    """Write an event into the journal, before any other command is carried out.

    A coordinator that replays the records of an experiment reaches the same state.
    """

    event: Event


@message(frozen=True, slots=True)
class AttemptCommand(Command):
    """Base class of commands about one attempt.

    Attributes:
        trial_id: Id of the trial.
        attempt: Number of the attempt: 1 for the first, counted up over retries and resumes.
    """

    trial_id: str
    attempt: int

    @property
    def key(self) -> AttemptKey:
        """The key of the attempt."""
        return AttemptKey(self.trial_id, self.attempt)


@message(frozen=True, slots=True)
class Launch(AttemptCommand):
    """Start an attempt of a trial on a node whose slot is reserved for it.

    Attributes:
        name: Name of the trial for display, e.g. ``train_digits_1a2b3_00004``.
        config: The trial's configuration.
        node: Address of the worker that runs the attempt.
        resources: The resources of the trial; the first of its bundles is reserved on this worker.
        devices: GPU ids for `CUDA_VISIBLE_DEVICES`; empty without a GPU.
        others: The slots of the other bundles.
        run_until: The reports at which the trial waits for a decision.
        checkpoint: Path of the checkpoint to start from, if any, as in `TrialCheckpoint`.
        progress: How far the trial was at that checkpoint.
        checkpoint_suffix: Suffix of the names of the attempt's checkpoints, so that they differ
            from those of earlier attempts, which may still run behind a broken connection.
    """

    name: str
    config: dict[str, Any]
    node: str
    resources: Resources
    devices: tuple[str, ...] = ()
    others: tuple[Slot, ...] = ()
    run_until: RunUntil = NEVER
    checkpoint: str | None = None
    progress: Progress = NO_PROGRESS
    checkpoint_suffix: str = ""

    @property
    def head(self) -> Slot:
        """The slot of the first bundle, in which the trial process runs."""
        return Slot(self.node, self.resources.bundles[0], self.devices)

    @property
    def nodes(self) -> list[str]:
        """Addresses of all nodes that hold a bundle; that of the trial process comes first."""
        return list(dict.fromkeys((self.node, *(slot.node for slot in self.others))))

    def share(self, node: str) -> Resources:
        """Return the resources of the attempt that are reserved on one node."""
        bundles = [slot.resources for slot in self.others if slot.node == node]
        if node == self.node:
            bundles.append(self.resources.bundles[0])
        return bundles[0] if len(bundles) == 1 else PlacementGroup(tuple(bundles), "PACK")


@message(frozen=True, slots=True)
class Decide(AttemptCommand):
    """Send a decision to a running attempt.

    With the `seq` of a report it answers an attempt that waits at this report. With `seq` 0, STOP
    and PAUSE take effect at the attempt's next report, and CONTINUE only changes `run_until`.
    `reason` says for people why the action is STOP.
    """

    node: str
    seq: int
    action: Action
    run_until: RunUntil = NEVER
    reason: str = ""


@message(frozen=True, slots=True)
class Kill(AttemptCommand):
    """End an attempt: cooperatively for the grace period, then SIGTERM, then SIGKILL.

    Attributes:
        reason: The reason, for people.
        counts_as: The outcome that counts, whatever the process does; None is the true outcome.
    """

    node: str
    reason: str
    counts_as: Outcome | None = None


@message(frozen=True, slots=True)
class DeleteCheckpoint(Command):
    """Remove a checkpoint that nothing refers to any more from storage.

    Attributes:
        path: Path as in `TrialCheckpoint`; never one outside of the experiment directory.
    """

    trial_id: str
    path: str


@message(frozen=True, slots=True)
class Warn(Command):
    """Log a warning about a trial; nothing ends because of it."""

    trial_id: str
    message: str


@message(frozen=True, slots=True)
class AskSearch(Command):
    """Ask the search for up to `count` more trials; it answers with events."""

    count: int


@message(frozen=True, slots=True)
class AdjustSearch(Command):
    """Change how many samples the search makes, or how many trials it allows at a time.

    Attributes:
        samples: How many samples to add.
        max_concurrent: How many trials may run at a time; None does not change it.
    """

    samples: int = 0
    max_concurrent: int | None = None


@message(frozen=True, slots=True)
class TellSearch(Command):
    """Tell the search a result of a trial, or with `complete` the end of a trial."""

    trial_id: str
    result: dict[str, Any] | None
    complete: bool
    error: bool = False


class Notice(StrEnum):
    """The kinds of notices to callbacks, loggers and reporters, named as Ray's callback hooks."""

    TRIAL_START = "trial_start"
    TRIAL_RESTORE = "trial_restore"
    TRIAL_RESULT = "trial_result"
    TRIAL_SAVE = "trial_save"
    TRIAL_RECOVER = "trial_recover"
    TRIAL_COMPLETE = "trial_complete"
    TRIAL_ERROR = "trial_error"
    CHECKPOINT = "checkpoint"


@message(frozen=True, slots=True)
class Notify(Command):
    """Notify callbacks, loggers and reporters of what has happened to a trial.

    Attributes:
        result: The result for `TRIAL_RESULT`, else None.
        line: The result as the trial wrote it, if known.
        checkpoint: The checkpoint for `CHECKPOINT`, else None.
    """

    notice: Notice
    trial_id: str
    result: dict[str, Any] | None = None
    line: bytes | None = None
    checkpoint: TrialCheckpoint | None = None


@message(frozen=True, slots=True)
class Abort(Command):
    """End the experiment because it cannot go on, and raise an error to the user."""

    error: Exception
