"""What an attempt knows about itself, and the channel over which it talks to its node's agent."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

from prefect_tune.coordinator.commands import Launch
from prefect_tune.experiment.checkpoints import CheckpointRules
from prefect_tune.experiment.decision import NEVER, Action, RunUntil


class Surroundings(Protocol):
    """What is set up around user code, in the trial's process or thread; picklable."""

    def __call__(
        self, log: Callable[[bytes], None], whole_process: bool, /
    ) -> AbstractContextManager[None]:
        """Set it up.

        Args:
            log: Brings a line for the trial's log to the driver; may be called in any thread.
            whole_process: False if other trials run in this process.
        """
        ...


@dataclass(frozen=True, slots=True)
class AttemptContext:
    """One attempt of one trial, as its own process sees it.

    Attributes:
        launch: The attempt; `checkpoint` in it is the path that the experiment knows.
        experiment_id: Unique id of this run of the experiment.
        experiment_name: Name of the experiment.
        trainable_name: Name of the trainable.
        experiment_tag: The trial's tag.
        trial_dir: Directory on this node; exists, and is the working directory.
        checkpoint: Directory on this node with the checkpoint to go on from, if any; complete.
        checkpoint_uri: Where in storage that is.
        checkpoint_rules: Which checkpoints are written without being asked by user code.
        storage_dir: The trial's directory in storage, as people and user code see it: a path or
            URL. Equal to `trial_dir` if that is where results are kept.
        seed: Seeds `random` and `numpy`; None leaves them random.
        env: Environment variables to set before any user code runs.
        export_formats: In which formats the trial exports its model at its end.
        surroundings: What is set up around user code, if anything is.
    """

    launch: Launch
    experiment_id: str
    experiment_name: str
    trainable_name: str
    experiment_tag: str
    trial_dir: str
    checkpoint: str | None = None
    checkpoint_uri: str | None = None
    checkpoint_rules: CheckpointRules = field(default_factory=CheckpointRules)
    storage_dir: str = ""
    seed: int | None = None
    env: dict[str, str] = field(default_factory=dict)
    export_formats: tuple[str, ...] = ()
    surroundings: Surroundings | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """What the coordinator wants of this attempt; `seq` is the report it answers, 0 if unasked."""

    seq: int
    action: Action
    run_until: RunUntil = NEVER


#: Takes, in any thread, how a function in a bundle has ended: whether it has returned, and its
#: pickled result or `AttemptError`, which is None if the agent is gone.
CallEnded = Callable[[bool, bytes | None], None]


class Channel(Protocol):
    """The attempt's side of the connection to the agent of its node."""

    def send_result(self, seq: int, report: bytes, awaiting: bool) -> None:
        """Hand over one report, as `encode_report` makes it.

        Once this returns it survives the attempt's death.
        """
        ...

    def wait_decision(self) -> Decision:
        """Block until the next decision arrives.

        Raises:
            ConnectionError: If the agent is gone.
        """
        ...

    def poll_decision(self) -> Decision | None:
        """The next decision if one has arrived; never blocks."""
        ...

    def send_log(self, line: bytes) -> None:
        """Hand over a line for the trial's log; may be called in any thread."""
        ...

    def announce_checkpoint(self, iteration: int) -> None:
        """Announce a checkpoint; comes before the report that it belongs to, or behind it.

        Until it is in storage, the trial has not ended.

        Args:
            iteration: `training_iteration` of that report.
        """
        ...

    def send_checkpoint(self, seq: int, name: str, line: bytes) -> None:
        """Hand over a checkpoint that lies complete in the trial directory.

        It belongs to the report with this number, which was sent before. From now on the agent owns
        the directory: it takes it to storage, and says so.

        Args:
            seq: Number of the report; 0 for one that belongs to the newest result of an earlier
                attempt.
            name: Name of its directory below the trial directory.
            line: The result that it belongs to, a JSON text.
        """
        ...

    def start_call(self, bundle: int, call: bytes, ended: CallEnded) -> int:
        """Have a function run in a bundle, in a process of its own; returns its number.

        Args:
            bundle: Which, by its place in the request.
            call: The function and its arguments, pickled.
            ended: Told of its end.
        """
        ...

    def end_call(self, bundle: int, number: int) -> None:
        """End such a function; may be called in any thread."""
        ...

    def wait_uploaded(self, pending: int) -> None:
        """Block until at most so many of the checkpoints handed over are on their way to storage.

        Raises:
            ConnectionError: If the agent is gone.
        """
        ...
