"""The execution seam: something that runs attempts somewhere and says what happens to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from prefect_tune.coordinator.commands import Decide, Kill, Launch
from prefect_tune.coordinator.events import AttemptEnded, Event, Node
from prefect_tune.experiment.checkpoints import CheckpointRules
from prefect_tune.filesystem.location import Location
from prefect_tune.resources import Resources
from prefect_tune.trainable.output import OutputFiles, TrialLog, TrialOutput
from prefect_tune.trainable.runtime.attempt import Surroundings
from prefect_tune.trainable.shipping.source import TrainableSource

#: Takes an event from any thread; must only enqueue.
Emit = Callable[[Event], None]
#: Takes, from any thread, an error after which the experiment cannot go on.
Fail = Callable[[Exception], None]
#: Takes, from any thread and at once, what trials have printed and logged.
TakeOutput = Callable[[TrialOutput | TrialLog], None]


@dataclass(frozen=True, slots=True)
class ExperimentEnv:
    """What every attempt of an experiment shares; sent to each node once.

    Attributes:
        experiment_id: Unique id of this run of the experiment.
        experiment_name: Name of the experiment directory.
        trainable: The trainable.
        experiment_dir: The experiment directory as a path of the driver's node. A node uses it
            directly if it finds the experiment's marker file there, else a directory of its own.
        isolation: ``process`` or ``thread``.
        start_method: ``auto``, ``fork`` or ``spawn``.
        storage: Where checkpoints go if that is not `experiment_dir` itself.
        checkpoint_rules: Which checkpoints trials write unasked.
        storage_timeout_s: Seconds after which a transfer of a checkpoint is given up.
        sync_to_driver: Whether the driver fetches what is written on nodes that do not see
            `experiment_dir`.
        sync_period_s: Seconds between two looks at what running trials write there, besides
            checkpoints.
        seed: Experiment seed; attempts reseed `random` and `numpy` from it and the trial id.
        stop_grace_s: Seconds between asking a trial to stop and SIGTERM.
        term_grace_s: Seconds between SIGTERM and SIGKILL.
        lease_s: Seconds after which a node ends its attempts if the driver is silent.
        env_vars: Environment variables for the attempts; win over the computed ones.
        reuse_processes: Whether a process runs one attempt after the other, if its trainable can.
        export_formats: In which formats trials export their models at their end.
        output_files: Where what trials print goes; if trials are threads, only if it is `kept`.
        follow_output: Whether the driver is told what trials print.
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
    env_vars: dict[str, str] = field(default_factory=dict, repr=False)
    reuse_processes: bool = False
    export_formats: tuple[str, ...] = ()
    output_files: OutputFiles = field(default_factory=OutputFiles)
    follow_output: bool = False


@dataclass(frozen=True, slots=True)
class TrialPlace:
    """The directory and names of a trial, which an attempt needs besides its `Launch`.

    Attributes:
        relative_dir: Trial directory below the experiment directory.
        experiment_tag: The trial's tag.
        surroundings: What is set up around user code, if anything is.
    """

    relative_dir: str
    experiment_tag: str = ""
    surroundings: Surroundings | None = None


@dataclass(frozen=True, slots=True)
class AttemptRequest:
    """An attempt to run, as it travels to its node.

    Attributes:
        experiment_id: The experiment, open on the node.
        launch: The attempt, without its configuration, which travels beside it, pickled.
        place: Its directory and names.
    """

    experiment_id: str
    launch: Launch
    place: TrialPlace


class Backpressure(Protocol):
    """Whether the driver keeps up with what happens."""

    @property
    def full(self) -> bool:
        """True while nobody should be asked for more."""
        ...

    def when_room(self, resume: Callable[[], None]) -> None:
        """Call `resume`, once and from any thread, when that is over."""
        ...


@runtime_checkable
class Paced(Protocol):
    """An executor of which more can come than the driver can take in."""

    def pace(self, driver: Backpressure) -> None:
        """Have the trials wait while the driver is behind; before `open`."""
        ...


class Executor(Protocol):
    """Runs attempts. Every method may be called from the engine's thread; none blocks for long."""

    def validate_request(self, resources: Resources) -> None:
        """See whether a trial that asks for this could ever run; may be called before `open`.

        Raises:
            InsufficientResources: If no node has so much; says what each node has.
        """
        ...

    def open(
        self,
        env: ExperimentEnv,
        emit: Emit,
        fail: Fail | None = None,
        output: TakeOutput | None = None,
    ) -> None:
        """Prepare the nodes for an experiment and emit a first `CapacityChanged`.

        Args:
            env: The experiment.
            emit: Takes what happens.
            fail: Takes the `ClusterError` if the cluster is lost as a whole later on, if anybody
                does.
            output: Takes what trials print, if `ExperimentEnv.follow_output` asks for it.

        Raises:
            ClusterError: If no node can run it (other versions, trainable not importable, ...).
        """
        ...

    def capacity(self) -> tuple[Node, ...]:
        """The nodes as they are now."""
        ...

    def launch(self, launch: Launch, place: TrialPlace) -> Future[AttemptEnded]:
        """Start an attempt; emits `AttemptStarted`, `ResultReported` ..., `AttemptEnded`.

        The future resolves to the same `AttemptEnded`; it never raises for a failed trial.
        """
        ...

    def decide(self, decisions: Sequence[Decide]) -> None:
        """Send decisions to the nodes."""
        ...

    def kill(self, kills: Sequence[Kill]) -> None:
        """Start the stop ladder for attempts."""
        ...

    def show_demand(self, waiting: Mapping[Resources, int]) -> None:
        """Tell the cluster what it has no room for, so that it grows if it can.

        Args:
            waiting: Requests, and how many trials that wait have each.
        """
        ...

    def dashboard(self) -> str | None:
        """Address of the cluster's own dashboard, if it has one."""
        ...

    def close(self) -> None:
        """End what is left of the experiment on the nodes and forget them."""
        ...
