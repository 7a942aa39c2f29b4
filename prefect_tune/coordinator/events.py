"""The events that happen to an experiment: the coordinator's only input.

Events are immutable, hold plain data, and carry the time at which the engine got them, in seconds
since the epoch, so that a replay of journaled events leads to the same state.
"""

from __future__ import annotations

from dataclasses import field, replace
from enum import StrEnum
from typing import Any

from prefect_tune.experiment.attempt import AttemptError
from prefect_tune.experiment.checkpoints import TrialCheckpoint
from prefect_tune.experiment.message import message
from prefect_tune.resources import Resources


class Outcome(StrEnum):
    """How an attempt has ended."""

    FINISHED = "finished"  #: the trainable returned
    STOPPED = "stopped"  #: it ended because a decision said so
    PAUSED = "paused"  #: it gave its slot back and can go on later
    FAILED = "failed"  #: user code raised, exited or was killed
    LOST = "lost"  #: its node is gone; not the trial's fault
    UNSTARTED = "unstarted"  #: it was withdrawn before its node had started it


class Fate(StrEnum):
    """What happens to a trial whose attempt has ended."""

    TERMINATED = "terminated"
    PAUSED = "paused"
    RETRIED = "retried"  #: it failed and is tried again
    REQUEUED = "requeued"  #: it is tried again, and the failure is not counted as the trial's own
    FAILED = "failed"  #: it failed for good
    INTERRUPTED = "interrupted"  #: the whole sweep was; the trial is run again when it is resumed


@message(frozen=True, slots=True)
class Node:
    """A node of the cluster: a Dask worker on which attempts run.

    Attributes:
        address: The worker's address, e.g. ``tcp://10.0.0.1:4123``.
        resources: The total resources that the worker declares.
        devices: Ids of its GPUs for `CUDA_VISIBLE_DEVICES`, one per whole GPU.
        held: Resources that other Dask tasks than the experiment's hold.
        obstacle: Why no attempt can start there now, for people; "" if one can.
        offers: What it has without declaring it, see `resources.is_offered`.
    """

    address: str
    resources: Resources
    devices: tuple[str, ...] = ()
    held: Resources = field(default_factory=Resources)
    obstacle: str = ""
    offers: Resources = field(default_factory=Resources)

    def with_offers(self) -> Node:
        """Return the node with all that it has among its resources."""
        if not self.offers:
            return self
        has = Resources.of(**{**self.offers, **self.resources})
        return replace(self, resources=has, offers=Resources())


@message(frozen=True, slots=True)
class Event:
    """Base class of all events."""

    time: float


@message(frozen=True, slots=True)
class CapacityChanged(Event):
    """The set of nodes has changed; `nodes` is the new one."""

    nodes: tuple[Node, ...]


@message(frozen=True, slots=True)
class TrialSuggested(Event):
    """The search has suggested a trial.

    Attributes:
        trial_id: Id, unique in the experiment.
        config: Fully resolved configuration.
        resolved: The values of the searched parameters by path.
        experiment_tag: Tag with the trial's number and its searched parameters: ``N_k=v,...``.
        resources: The resources that each attempt needs.
        relative_logdir: Path of the trial's directory below the experiment directory.
        custom_name: The name that a `trial_name_creator` returned, if any.
        told: Number of `TellSearch` commands that the search had handled before.
    """

    trial_id: str
    config: dict[str, Any]
    resolved: dict[str, Any]
    experiment_tag: str
    resources: Resources
    relative_logdir: str = ""
    custom_name: str | None = None
    told: int = 0


@message(frozen=True, slots=True)
class SearchIdle(Event):
    """The search has nothing to suggest now; `finished` means never again."""

    finished: bool


@message(frozen=True, slots=True)
class SearchSaved(Event):
    """The search has saved its state; all trials suggested before have come as events already.

    Attributes:
        suggested: How many suggestions the search had made.
        told: How many results and ends the search had been told.
        state: The pickled state.
    """

    suggested: int
    told: int
    state: bytes = field(repr=False)


@message(frozen=True, slots=True)
class AttemptLaunched(Event):
    """The coordinator has launched an attempt.

    This event is only in the journal: whether there was room for an attempt depends on the cluster,
    which a replay does not know.
    """

    trial_id: str
    attempt: int


@message(frozen=True, slots=True)
class AttemptStarted(Event):
    """The process of an attempt has started."""

    trial_id: str
    attempt: int
    node: str
    pid: int
    hostname: str
    node_ip: str


@message(frozen=True, slots=True)
class ResultReported(Event):
    """One or more consecutive reports of an attempt, complete with the auto-filled metrics.

    Attributes:
        first_seq: Sequence number of the first result; the first report of an attempt has 1.
        results: The results in order.
        awaiting: True if the trial waits for a decision on the last one.
        lines: The same results as JSON texts, exactly as the trial wrote them (for the journal and
            the JSON logger, which need not encode again); empty if not known.
        stop: Only in the journal: the last result ended the trial. A replay repeats the decision,
            even if another scheduler would decide differently now.
    """

    trial_id: str
    attempt: int
    first_seq: int
    results: tuple[dict[str, Any], ...]
    awaiting: bool
    lines: tuple[bytes, ...] = field(default=(), compare=False)
    stop: bool = False


@message(frozen=True, slots=True)
class CheckpointBegun(Event):
    """A trial is going to write a checkpoint, before or after the result that it belongs to.

    `CheckpointSaved` or `CheckpointFailed` follows; if neither does, the checkpoint is lost.

    Attributes:
        iteration: `training_iteration` of that result.
    """

    trial_id: str
    attempt: int
    iteration: int


@message(frozen=True, slots=True)
class CheckpointSaved(Event):
    """A checkpoint of a trial is complete in storage.

    It comes after the result that it belongs to, maybe long after, as uploads take time.

    Attributes:
        path: Path as in `TrialCheckpoint`.
        metrics: The result that it belongs to, with the metrics that the trial process fills in.
    """

    trial_id: str
    attempt: int
    path: str
    metrics: dict[str, Any]


@message(frozen=True, slots=True)
class CheckpointFailed(Event):
    """A checkpoint of a trial will never be complete in storage.

    Attributes:
        path: The path that it would have had.
        reason: The reason, for people.
        lost: Whether it was lost with its node.
    """

    trial_id: str
    attempt: int
    path: str
    reason: str
    lost: bool = False


@message(frozen=True, slots=True)
class CheckpointsDropped(Event):
    """Some checkpoints of a trial are deleted because nothing refers to them any more.

    This event is only in the journal: a replay retains what was retained then, whatever the rules
    are now.

    Attributes:
        paths: Paths as in `TrialCheckpoint`.
    """

    trial_id: str
    paths: tuple[str, ...]


@message(frozen=True, slots=True)
class TrialRedirected(Event):
    """A scheduler has changed how a trial goes on at its next attempt.

    This event is only in the journal, behind the event at which the scheduler did so.

    Attributes:
        source_id: The trial whose checkpoint this trial goes on from; "" for its own newest one.
        checkpoint: The checkpoint to go on from; None for the trial's own newest one.
        config: The trial's new configuration; None does not change it.
        resources: The new resources of its attempts; None does not change them.
        experiment_tag: The trial's new tag; "" does not change it.
    """

    trial_id: str
    source_id: str = ""
    checkpoint: TrialCheckpoint | None = None
    config: dict[str, Any] | None = None
    resources: Resources | None = None
    experiment_tag: str = ""


@message(frozen=True, slots=True)
class AttemptEnded(Event):
    """An attempt has ended and its slot is free.

    If checkpoints are still being uploaded, the event is journaled twice: at once without a fate,
    and with a fate when all uploads have ended.

    Attributes:
        fate: Only in the journal: what has happened to the trial.
        uploading: How many of its checkpoints are still being uploaded: as many `CheckpointSaved`
            or `CheckpointFailed` events follow, and the trial's fate is decided after the last.
    """

    trial_id: str
    attempt: int
    outcome: Outcome
    error: AttemptError | None = None
    fate: Fate | None = None
    uploading: int = 0


class Control(StrEnum):
    """The requests to a running experiment from outside."""

    STOP = "stop"  #: end all trials at their next report and finish
    #: SIGINT/SIGTERM: end all attempts soon, and leave unfinished trials resumable. A second one
    #: also gives up the uploads of ended attempts.
    INTERRUPT = "interrupt"
    STOP_TRIAL = "stop_trial"
    DRAIN = "drain"  #: start no more trials, and finish when all running ones have ended
    PAUSE = "pause"  #: start no more trials until `GO_ON`
    GO_ON = "go_on"
    ADD_SAMPLES = "add_samples"  #: add `values["samples"]` samples
    SET = "set"  #: change limits, see `prefect_tune.coordinator.control`


@message(frozen=True, slots=True)
class ControlReceived(Event):
    """A request to the running experiment has come from outside.

    Attributes:
        values: Numbers of the request, for `ADD_SAMPLES` and `SET`.
    """

    action: Control
    trial_id: str | None = None
    reason: str = ""
    values: dict[str, float] | None = None


class EndedPolicy(StrEnum):
    """What a resumed experiment does with trials that have ended: failed for good or terminated."""

    KEEP = "keep"  #: they stay as they are
    RESUME = "resume"  #: they go on from their newest checkpoint, or afresh if they have none
    RESTART = "restart"  #: they run again from scratch


@message(frozen=True, slots=True)
class Resumed(Event):
    """An interrupted experiment goes on; all its earlier attempts are gone.

    Attributes:
        errored: What to do with trials that have failed for good; a trial that is run again may
            fail `max_failures` times again.
        only_errored: Run no other trials: unfinished trials are left as they are for a later
            resume, and the search is not asked.
        finished: What to do with trials that have terminated.
        restart_unfinished: Whether unfinished trials run again from scratch.
    """

    errored: EndedPolicy = EndedPolicy.KEEP
    only_errored: bool = False
    finished: EndedPolicy = EndedPolicy.KEEP
    restart_unfinished: bool = False


@message(frozen=True, slots=True)
class Tick(Event):
    """Time has passed, so that time limits and stoppers with a wall clock can act."""
