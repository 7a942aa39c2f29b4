"""The state that all parts of a coordinator share, and the list of its commands."""

from __future__ import annotations

from prefect_tune.coordinator.commands import Command, Notice, Notify, Warn
from prefect_tune.coordinator.delays import Delays
from prefect_tune.coordinator.kept_room import KeptRoom
from prefect_tune.coordinator.options import CoordinatorOptions
from prefect_tune.coordinator.placement import Placer
from prefect_tune.coordinator.recorder import Recorder
from prefect_tune.coordinator.search_turns import SearchTurns
from prefect_tune.coordinator.table import TrialTable
from prefect_tune.experiment.checkpoints import TrialCheckpoint
from prefect_tune.experiment.trial import Trial
from prefect_tune.experiment.view import ControllerView
from prefect_tune.schedulers import TrialScheduler
from prefect_tune.stopper import Stopper


class Core:
    """The state that all parts of a coordinator share, and the list of its commands.

    Args:
        view: The controller that the scheduler's hooks get.
        scheduler: The scheduler.
        stopper: The stopper.
        options: How metrics and failures are treated.

    Attributes:
        table: All trials.
        placer: The nodes and their free resources.
        room: Decides whether there is room for a trial beside what is reserved for large ones.
        delays: Trials that must not be launched yet.
        turns: Decides when the search is asked for trials.
        recorder: Emits the records for the journal.
        now: Time of the event that is being handled.
        choose: Whether a trial may be launched that could not be launched before.
        stopping: Why the experiment is being ended, "" if it is not.
        interrupted: Whether it is ended because the sweep was interrupted.
        stopped: Whether running trials were told to stop for it, which a replay does not repeat.
        finished: Whether the experiment has ended.
        draining: Why no more trials are started and running ones are awaited, "" if not so.
        pause_reason: Why no trials are started for now, "" if not so.
        added_samples: How many samples were added by requests.
        adjusted: Whether requests have changed limits, which no saved state holds.
        replaying: Whether recorded events are being replayed.
    """

    def __init__(
        self,
        view: ControllerView,
        scheduler: TrialScheduler,
        stopper: Stopper,
        options: CoordinatorOptions,
    ) -> None:
        self.view = view
        self.scheduler = scheduler
        self.stopper = stopper
        self.options = options
        self.table = TrialTable()
        self.placer = Placer()
        self.room = KeptRoom(self.placer)
        self.delays = Delays()
        self.turns = SearchTurns(options.lookahead)
        self._out: list[Command] = []
        self.recorder = Recorder(self.emit)
        self.now = 0.0
        self.choose = False
        self.stopping = ""
        self.interrupted = False
        self.stopped = False
        self.finished = False
        self.draining = ""
        self.pause_reason = ""
        self.added_samples = 0
        self.adjusted = False
        self.replaying = False

    def add_stopper(self, stopper: Stopper) -> None:
        """Add a stopper to the experiment's stopping criteria."""
        self.stopper = self.stopper | stopper

    def emit(self, command: Command) -> None:
        """Add a command behind those emitted before."""
        self._out.append(command)

    def drain(self) -> list[Command]:
        """Return the emitted commands in order, and clear the list."""
        commands, self._out = self._out, []
        return commands

    def notify(
        self, notice: Notice, trial: Trial, checkpoint: TrialCheckpoint | None = None
    ) -> None:
        """Emit a notice for callbacks, loggers and reporters."""
        self._out.append(Notify(notice, trial.trial_id, checkpoint=checkpoint))

    def warn(self, trial: Trial, message: str) -> None:
        """Emit a warning about a trial, except in a replay, which would repeat it."""
        if not self.replaying:
            self._out.append(Warn(trial.trial_id, message))
