"""What all parts of a coordinator share: the state, and the way out."""

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
    """The state of a coordinator.

    Args:
        view: What the hooks of the scheduler get.
        scheduler: The scheduler.
        stopper: The stopper.
        options: How metrics and failures are treated.

    Attributes:
        table: All trials.
        placer: The nodes and what is free there.
        room: Whether there is room for a trial, with what is kept for large ones.
        delays: Trials that are not to be launched yet.
        turns: When it is the search's turn.
        recorder: Writes the journal.
        now: Time of the event that is being handled.
        choose: Whether something may be launched that could not before.
        stopping: Why the experiment is coming to its end, "" if it is not.
        interrupted: Whether it is because the sweep was interrupted.
        stopped: Whether what ran was told to end for it, which a replay does not repeat.
        finished: Whether it has.
        draining: Why nothing more is started until what runs has ended, "" if that is not so.
        held: Why nothing is started for now, "" if that is not so.
        added_samples: How many samples were asked for while it ran.
        adjusted: Whether limits were changed while it ran, which no state holds.
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
        self.held = ""
        self.added_samples = 0
        self.adjusted = False
        self.replaying = False

    def add_stopper(self, stopper: Stopper) -> None:
        """Have one more stopper end trials."""
        self.stopper = self.stopper | stopper

    def emit(self, command: Command) -> None:
        """Have something done, behind all that was emitted before."""
        self._out.append(command)

    def drain(self) -> list[Command]:
        """What is to be done, in order; forgets it."""
        commands, self._out = self._out, []
        return commands

    def notify(
        self, notice: Notice, trial: Trial, checkpoint: TrialCheckpoint | None = None
    ) -> None:
        """Tell the observers."""
        self._out.append(Notify(notice, trial.trial_id, checkpoint=checkpoint))

    def warn(self, trial: Trial, message: str) -> None:
        """Tell people; what is replayed was told before."""
        if not self.replaying:
            self._out.append(Warn(trial.trial_id, message))
