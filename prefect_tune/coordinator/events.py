"""Everything that can happen to an experiment: the coordinator's only input.

Events are immutable, carry their own time (seconds since the epoch, as the engine saw it) and hold
plain data, so that a journal of them replays to the same state.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from prefect_tune.experiment.attempt_error import AttemptError
from prefect_tune.experiment.checkpoints import TrialCheckpoint
from prefect_tune.resources import Resources


class Outcome(StrEnum):
    """How an attempt ended."""

    FINISHED = "finished"  #: the trainable returned
    STOPPED = "stopped"  #: it ended because a decision said so
    PAUSED = "paused"  #: it gave its slot back and can go on later
    FAILED = "failed"  #: user code raised, exited or was killed
    LOST = "lost"  #: its node went away; not the trial's fault
    UNSTARTED = "unstarted"  #: it was taken back before its node had begun with it


class Fate(StrEnum):
    """What becomes of a trial whose attempt has ended."""

    TERMINATED = "terminated"
    PAUSED = "paused"
    RETRIED = "retried"  #: it failed and is tried again
    REQUEUED = "requeued"  #: it is tried again, and the failure is not counted as the trial's own
    FAILED = "failed"  #: it failed for good
    INTERRUPTED = "interrupted"  #: the whole sweep was; the trial is run again when it is resumed


@dataclass(frozen=True, slots=True)
class Node:
    """One place where attempts run: a Dask worker.

    Attributes:
        address: The worker's address, e.g. ``tcp://10.0.0.1:4123``.
        resources: Declared totals.
        devices: Ids of its GPUs as `CUDA_VISIBLE_DEVICES` wants them, one per whole GPU.
        held: What work that is not the experiment's holds of the resources.
        obstacle: Why nothing starts there now, for people; "" if something can.
    """

    address: str
    resources: Resources
    devices: tuple[str, ...] = ()
    held: Resources = field(default_factory=Resources)
    obstacle: str = ""


@dataclass(frozen=True, slots=True)
class Event:
    """Base class of all events."""

    time: float


@dataclass(frozen=True, slots=True)
class CapacityChanged(Event):
    """The set of nodes is now this one."""

    nodes: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class TrialSuggested(Event):
    """The search produced a trial.

    Attributes:
        trial_id: Id, unique in the experiment.
        config: Fully resolved configuration.
        resolved: Flat path -> value of the variables that were searched.
        experiment_tag: ``N_k=v,...``.
        resources: What each attempt needs.
        relative_logdir: Name of the trial's directory below the experiment directory.
        custom_name: The name a `trial_name_creator` gave it, if any.
        told: How much the search had been told (`TellSearch` commands) when it was asked.
    """

    trial_id: str
    config: dict[str, Any]
    resolved: dict[str, Any]
    experiment_tag: str
    resources: Resources
    relative_logdir: str = ""
    custom_name: str | None = None
    told: int = 0


@dataclass(frozen=True, slots=True)
class SearchIdle(Event):
    """The search has nothing to suggest now; `finished` means never again."""

    finished: bool


@dataclass(frozen=True, slots=True)
class SearchSaved(Event):
    """The search has saved its state; comes behind all trials that it had suggested by then.

    Attributes:
        suggested: How many suggestions it had made.
        told: How much it had been told.
        state: The state.
    """

    suggested: int
    told: int
    state: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class AttemptLaunched(Event):
    """The coordinator has launched an attempt.

    Only in the journal, as is what follows from it: where and when there was room for an attempt
    depends on the cluster, which a replay knows nothing of.
    """

    trial_id: str
    attempt: int


@dataclass(frozen=True, slots=True)
class AttemptStarted(Event):
    """The trial process exists."""

    trial_id: str
    attempt: int
    node: str
    pid: int
    hostname: str
    node_ip: str


@dataclass(frozen=True, slots=True)
class ResultReported(Event):
    """One or more consecutive reports of an attempt, complete with the auto-filled metrics.

    Attributes:
        first_seq: Sequence number of the first result; the first report of an attempt has 1.
        results: The results in order.
        awaiting: True if the trial waits for a decision on the last one.
        lines: The same results as JSON texts, exactly as the trial wrote them (for the journal and
            the JSON logger, which need not encode again); empty if not known.
        stop: Only in the journal: the last result ended the trial. A replay does what was decided
            then, even if another scheduler would decide otherwise now.
    """

    trial_id: str
    attempt: int
    first_seq: int
    results: tuple[dict[str, Any], ...]
    awaiting: bool
    lines: tuple[bytes, ...] = field(default=(), compare=False)
    stop: bool = False


@dataclass(frozen=True, slots=True)
class CheckpointBegun(Event):
    """A trial has a checkpoint to write, which comes before the result it belongs to, or behind it.

    `CheckpointSaved` or `CheckpointFailed` follows; if neither does, it is lost.

    Attributes:
        iteration: `training_iteration` of that result.
    """

    trial_id: str
    attempt: int
    iteration: int


@dataclass(frozen=True, slots=True)
class CheckpointSaved(Event):
    """A checkpoint of a trial is complete in storage.

    It comes behind the result that it belongs to, maybe long after: a remote store takes its time.

    Attributes:
        path: See `TrialCheckpoint.path`.
        metrics: The result that it belongs to, complete with the auto-filled metrics that the trial
            itself fills in.
    """

    trial_id: str
    attempt: int
    path: str
    metrics: dict[str, Any]


@dataclass(frozen=True, slots=True)
class CheckpointFailed(Event):
    """A checkpoint of a trial will never be complete in storage.

    Attributes:
        path: Where it would have been.
        reason: For people.
        lost: It was lost with its node.
    """

    trial_id: str
    attempt: int
    path: str
    reason: str
    lost: bool = False


@dataclass(frozen=True, slots=True)
class CheckpointsDropped(Event):
    """Nothing refers to some checkpoints of a trial any more; they are deleted.

    Only in the journal: a replay keeps what was kept then, whatever the rules are now.

    Attributes:
        paths: See `TrialCheckpoint.path`.
    """

    trial_id: str
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TrialRedirected(Event):
    """A scheduler has changed how a trial goes on at its next attempt.

    Only in the journal, where it follows the event at which the scheduler did it.

    Attributes:
        source_id: The trial whose checkpoint it goes on from, "" for its own newest one.
        checkpoint: The checkpoint, None for its own newest one.
        config: The trial's new configuration; None leaves it as it is.
        resources: What its attempts get from then on; None leaves it as it is.
        experiment_tag: Its new tag; "" leaves it as it is.
    """

    trial_id: str
    source_id: str = ""
    checkpoint: TrialCheckpoint | None = None
    config: dict[str, Any] | None = None
    resources: Resources | None = None
    experiment_tag: str = ""


@dataclass(frozen=True, slots=True)
class AttemptEnded(Event):
    """An attempt is over and its slot is free.

    With checkpoints on their way it gets into the journal twice: at once, without a fate, and when
    they have settled.

    Attributes:
        fate: Only in the journal: what became of the trial.
        uploading: How many of its checkpoints are still on their way to storage: so many
            `CheckpointSaved` or `CheckpointFailed` follow, and what becomes of the trial is
            decided behind the last of them.
    """

    trial_id: str
    attempt: int
    outcome: Outcome
    error: AttemptError | None = None
    fate: Fate | None = None
    uploading: int = 0


class Control(StrEnum):
    """What somebody outside may ask of the running experiment."""

    STOP = "stop"  #: end all trials at their next report and finish
    #: SIGINT/SIGTERM: as stop, and leave unfinished trials resumable. A second one also gives up
    #: checkpoints of ended attempts that are still on their way to storage.
    INTERRUPT = "interrupt"
    STOP_TRIAL = "stop_trial"
    DRAIN = "drain"  #: start nothing more and finish when what runs has ended
    PAUSE = "pause"  #: start nothing more until `GO_ON`
    GO_ON = "go_on"
    ADD_SAMPLES = "add_samples"  #: `values["samples"]` more
    SET = "set"  #: change limits, see `prefect_tune.coordinator.control`


@dataclass(frozen=True, slots=True)
class ControlReceived(Event):
    """Somebody outside asked for something.

    Attributes:
        values: What goes with the action, if anything does.
    """

    action: Control
    trial_id: str | None = None
    reason: str = ""
    values: dict[str, float] | None = None


class Errored(StrEnum):
    """What a resumed experiment does about trials that failed for good, or that have terminated."""

    KEEP = "keep"  #: they stay as they are
    RESUME = "resume"  #: they go on from their newest checkpoint, or afresh if they have none
    RESTART = "restart"  #: they run again from scratch


@dataclass(frozen=True, slots=True)
class Resumed(Event):
    """An interrupted experiment goes on; attempts that ran are gone.

    Attributes:
        errored: What to do about trials that failed for good; a trial that is run again gets its
            full `max_failures` once more.
        only_errored: Run nothing but these: unfinished trials are left as they are for a later
            resume, and the search is not asked.
        finished: What to do about trials that have terminated.
        restart_unfinished: Unfinished trials run again from scratch.
    """

    errored: Errored = Errored.KEEP
    only_errored: bool = False
    finished: Errored = Errored.KEEP
    restart_unfinished: bool = False


@dataclass(frozen=True, slots=True)
class Tick(Event):
    """Time has passed; lets stoppers with a wall clock act."""
