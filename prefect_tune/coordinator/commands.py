"""Everything the coordinator can ask for: its only output. The engine carries commands out."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from prefect_tune.coordinator.events import Event, Outcome
from prefect_tune.coordinator.node_slots import Slot
from prefect_tune.experiment.attempt_key import AttemptKey
from prefect_tune.experiment.checkpoints import NO_PROGRESS, Progress, TrialCheckpoint
from prefect_tune.experiment.decision import NEVER, Action, RunUntil
from prefect_tune.resources import PlacementGroup, Resources


@dataclass(frozen=True, slots=True)
class Command:
    """Base class of all commands."""


@dataclass(frozen=True, slots=True)
class Record(Command):
    """Write this into the journal, before anything else is done.

    The records of an experiment, handled by a coordinator that replays, bring it to the same state.
    """

    event: Event


@dataclass(frozen=True, slots=True)
class AttemptCommand(Command):
    """Base class of commands about one attempt.

    Attributes:
        trial_id: The trial.
        attempt: 1 for the first, counted up over retries and resumes.
    """

    trial_id: str
    attempt: int

    @property
    def key(self) -> AttemptKey:
        """The attempt."""
        return AttemptKey(self.trial_id, self.attempt)


@dataclass(frozen=True, slots=True)
class Launch(AttemptCommand):
    """Start an attempt of a trial on a node whose slot is reserved for it.

    Attributes:
        name: What people see, e.g. ``train_digits_1a2b3_00004``.
        config: The trial's configuration.
        node: Address of the worker to pin it to.
        resources: What the trial asks for; the first of its bundles is reserved there.
        devices: GPU ids for `CUDA_VISIBLE_DEVICES`; empty without a GPU.
        others: Where the other bundles are.
        run_until: Where it first waits for a decision.
        checkpoint: The checkpoint to go on from, if any; see `TrialCheckpoint.path`.
        progress: How far the trial is there.
        checkpoint_suffix: Ends the names of the checkpoints that this attempt writes, so that it
            never writes to where an earlier attempt has written or, cut off from us, still does.
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
        """The bundle that it runs in."""
        return Slot(self.node, self.resources.bundles[0], self.devices)

    @property
    def nodes(self) -> list[str]:
        """All nodes that have a bundle of it, the one that it runs on first."""
        return list(dict.fromkeys((self.node, *(slot.node for slot in self.others))))

    def share(self, node: str) -> Resources:
        """What is reserved on one of them."""
        bundles = [slot.resources for slot in self.others if slot.node == node]
        if node == self.node:
            bundles.append(self.resources.bundles[0])
        return bundles[0] if len(bundles) == 1 else PlacementGroup(tuple(bundles), "PACK")


@dataclass(frozen=True, slots=True)
class Decide(AttemptCommand):
    """Tell a running attempt what to do.

    It answers a waiting attempt. Sent unasked (`seq` 0), STOP and PAUSE take effect at the
    attempt's next report; a CONTINUE that is not awaited only moves `run_until`. `reason` says for
    people why it is to STOP.
    """

    node: str
    seq: int
    action: Action
    run_until: RunUntil = NEVER
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Kill(AttemptCommand):
    """End an attempt: cooperatively for the grace period, then SIGTERM, then SIGKILL.

    Attributes:
        reason: For people.
        counts_as: How its end counts, however its process takes it; None for as it is.
    """

    node: str
    reason: str
    counts_as: Outcome | None = None


@dataclass(frozen=True, slots=True)
class DeleteCheckpoint(Command):
    """Remove a checkpoint from storage: nothing refers to it any more.

    Attributes:
        path: See `TrialCheckpoint.path`; never one outside the experiment directory.
    """

    trial_id: str
    path: str


@dataclass(frozen=True, slots=True)
class Warn(Command):
    """Tell people of something that went wrong and does not end anything; goes to the log."""

    trial_id: str
    message: str


@dataclass(frozen=True, slots=True)
class AskSearch(Command):
    """Have the search produce up to `count` more trials; it answers with events."""

    count: int


@dataclass(frozen=True, slots=True)
class AdjustSearch(Command):
    """Have the search suggest more, or for more trials at a time, than was planned.

    Attributes:
        samples: How many samples more.
        max_concurrent: How many trials at a time; None leaves it.
    """

    samples: int = 0
    max_concurrent: int | None = None


@dataclass(frozen=True, slots=True)
class TellSearch(Command):
    """Give the search a result (`complete` False) or the end of a trial."""

    trial_id: str
    result: dict[str, Any] | None
    complete: bool
    error: bool = False


class Notice(StrEnum):
    """What callbacks, loggers and reporters are told; named as Ray's callback hooks."""

    TRIAL_START = "trial_start"
    TRIAL_RESTORE = "trial_restore"
    TRIAL_RESULT = "trial_result"
    TRIAL_SAVE = "trial_save"
    TRIAL_RECOVER = "trial_recover"
    TRIAL_COMPLETE = "trial_complete"
    TRIAL_ERROR = "trial_error"
    CHECKPOINT = "checkpoint"


@dataclass(frozen=True, slots=True)
class Notify(Command):
    """Tell the observers.

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


@dataclass(frozen=True, slots=True)
class Finish(Command):
    """The experiment is over: no attempt runs and none will be launched."""

    reason: str = ""


@dataclass(frozen=True, slots=True)
class Abort(Command):
    """The experiment cannot go on: end everything and raise this error to the user."""

    error: Exception
