"""`Executor`: interface of what runs attempts and reports their events."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Protocol

from prefect_tune.coordinator.commands import Decide, Kill, Launch
from prefect_tune.coordinator.events import AttemptEnded, Event, Node
from prefect_tune.experiment.checkpoints import CheckpointRules
from prefect_tune.filesystem.location import Location
from prefect_tune.resources import Resources
from prefect_tune.trainable.output import OutputFiles, TrialLog, TrialOutput
from prefect_tune.trainable.runtime.attempt import Surroundings
from prefect_tune.trainable.shipping.packing import TrainableSource

#: Handles an event; is called from any thread, so it must only put the event into a queue.
Emit = Callable[[Event], None]
#: Takes, from any thread, an error after which the experiment cannot go on.
Fail = Callable[[Exception], None]
#: Handles output and log lines of trials; is called from any thread and must not block.
TakeOutput = Callable[[TrialOutput | TrialLog], None]


@dataclass(frozen=True, slots=True)
class ExperimentEnv:
    """Description of an experiment that all its attempts share; sent to each node once.

    Attributes:
        experiment_id: Unique id of this run of the experiment.
        experiment_name: Name of the experiment directory.
        trainable: The pickled trainable.
        experiment_dir: The experiment directory as a path of the driver's node. A node uses it
            directly if it finds the experiment's marker file there, else a directory of its own.
        isolation: ``process`` or ``thread``.
        start_method: ``auto``, ``fork`` or ``spawn``.
        storage: The experiment in remote storage; None if checkpoints stay in `experiment_dir`.
        checkpoint_rules: When checkpoints of class trainables are written.
        storage_timeout_s: Seconds after which a transfer of a checkpoint is given up.
        sync_to_driver: True if the driver fetches files from nodes that do not share
            `experiment_dir`.
        sync_period_s: Seconds between two checks for new files of running trials there, except for
            checkpoints.
        seed: Experiment seed; attempts reseed `random` and `numpy` from it and the trial id.
        stop_grace_s: Seconds between asking a trial to stop and SIGTERM.
        term_grace_s: Seconds between SIGTERM and SIGKILL.
        lease_s: Seconds after which a node ends its attempts if the driver is silent.
        preemption_grace_s: Seconds that attempts have for a checkpoint when their worker is about
            to end.
        gpu_memory_guard: True to end attempts that use more than their share of a GPU's memory.
        env_vars: Environment variables for the attempts; they override the computed ones.
        reuse_processes: True to reuse a process for several attempts, if the trainable allows that.
        export_formats: Formats in which trials export their models at their end.
        output_files: Files for the output of trials; for trials in threads only if they are `kept`.
        follow_output: True if the output of trials is also sent to the driver.
    """

    experiment_id: str
    experiment_name: str
    trainable: TrainableSource
    experiment_dir: str
    isolation: str = "process"
    start_method: str = "auto"
    storage: Location | None = None
    checkpoint_rules: CheckpointRules = field(default_factory=CheckpointRules)
    storage_timeout_s: float = 1800.0
    sync_to_driver: bool = True
    sync_period_s: float = 300.0
    seed: int | None = None
    stop_grace_s: float = 10.0
    term_grace_s: float = 5.0
    lease_s: float = 30.0
    preemption_grace_s: float = 20.0
    gpu_memory_guard: bool = False
    env_vars: dict[str, str] = field(default_factory=dict, repr=False)
    reuse_processes: bool = False
    export_formats: tuple[str, ...] = ()
    output_files: OutputFiles = field(default_factory=OutputFiles)
    follow_output: bool = False


@dataclass(frozen=True, slots=True)
class TrialPlace:
    """Directory and names of a trial, which an attempt needs in addition to its `Launch`.

    Attributes:
        relative_dir: Trial directory below the experiment directory.
        experiment_tag: Experiment tag of the trial.
        surroundings: Makes a context manager around user code; None for none.
    """

    relative_dir: str
    experiment_tag: str = ""
    surroundings: Surroundings | None = None


@dataclass(frozen=True, slots=True)
class AttemptRequest:
    """Request to run an attempt, sent to its node.

    Attributes:
        experiment_id: Id of the experiment, which is open on the node.
        launch: The attempt, without its configuration, which is sent separately as a pickle.
        place: Directory and names of the trial.
    """

    experiment_id: str
    launch: Launch
    place: TrialPlace


class Backpressure(Protocol):
    """Tells executors whether the driver keeps up with their events."""

    @property
    def full(self) -> bool:
        """True while the driver should not get more events."""

    def when_room(self, resume: Callable[[], None]) -> None:
        """Call `resume`, once and from any thread, when the driver accepts events again."""


class Executor(Protocol):
    """Runs attempts of trials; all methods are called from the engine's thread and return soon."""

    def validate_request(self, resources: Resources) -> None:
        """Check that a trial with these resources could ever run; may be called before `open`.

        Raises:
            InsufficientResources: If no node has enough; the message says what each node has.
        """

    def open(
        self,
        env: ExperimentEnv,
        emit: Emit,
        fail: Fail | None = None,
        output: TakeOutput | None = None,
        driver: Backpressure | None = None,
    ) -> None:
        """Prepare the nodes for an experiment and emit a first `CapacityChanged`.

        Args:
            env: Description of the experiment.
            emit: Handles the events of attempts and nodes.
            fail: Takes the `ClusterError` if the cluster is lost as a whole later on, if anybody
                does.
            output: Handles the output of trials, if `ExperimentEnv.follow_output` is True.
            driver: Tells when the driver is behind, so that trials have to wait.

        Raises:
            ClusterError: If no node can run it (other versions, trainable not importable, ...).
        """

    def capacity(self) -> tuple[Node, ...]:
        """Return the current nodes and their resources."""

    def launch(self, launch: Launch, place: TrialPlace) -> Future[AttemptEnded]:
        """Start an attempt; emits `AttemptStarted`, `ResultReported` ..., `AttemptEnded`.

        The future resolves to the same `AttemptEnded`; it never raises for a failed trial.
        """

    def decide(self, decisions: Sequence[Decide]) -> None:
        """Send decisions about attempts to their nodes."""

    def kill(self, kills: Sequence[Kill]) -> None:
        """Start to end attempts: by a request, then SIGTERM, then SIGKILL."""

    def show_demand(self, waiting: Mapping[Resources, int]) -> None:
        """Tell the cluster how many trials wait for resources, so that it can grow.

        Args:
            waiting: How many trials wait for each request.
        """

    def dashboard(self) -> str | None:
        """Return the address of the cluster's own dashboard; None if it has none."""

    def close(self) -> None:
        """End the experiment's remaining attempts, and disconnect from the nodes."""
