"""The state that all parts of a coordinator share, and what an experiment waits for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from prefect_tune.coordinator.commands import Command, Notice, Notify, Warn
from prefect_tune.coordinator.kept_room import KeptRoom
from prefect_tune.coordinator.options import CoordinatorOptions
from prefect_tune.coordinator.placement import Placer
from prefect_tune.coordinator.recorder import Recorder
from prefect_tune.coordinator.table import TrialTable
from prefect_tune.experiment.checkpoints import TrialCheckpoint
from prefect_tune.experiment.trial import PENDING, Trial
from prefect_tune.experiment.view import ControllerView
from prefect_tune.resources import Resources
from prefect_tune.schedulers import TrialScheduler
from prefect_tune.stopper import Stopper

#: Number of waiting trials that are shown as demand; more do not make a cluster grow faster.
_MOST_DEMAND = 200


class SuggestionCounter:
    """Counts the trials that the search was asked for, so that enough trials wait for a slot.

    Args:
        lookahead: How many trials may wait for a slot.
    """

    def __init__(self, lookahead: int) -> None:
        self._lookahead = lookahead
        self._asked = 0
        self._idle = False
        self._finished = False

    @property
    def is_over(self) -> bool:
        """True once the search will suggest no further trial."""
        return self._finished and self._asked == 0

    @property
    def may_ask(self) -> bool:
        """False if the search must not be asked now, however few trials wait."""
        return not (self._idle or self._finished) and self._asked < self._lookahead

    def ask(self, waiting: int) -> int:
        """Return how many more trials to ask for if `waiting` ones wait; count them as asked."""
        wanted = max(0, self._lookahead - waiting - self._asked)
        self._asked += wanted
        return wanted

    def answered(self) -> None:
        """Note that the search has suggested a trial."""
        self._asked = max(0, self._asked - 1)

    def set_idle(self, finished: bool) -> None:
        """Note that the search has no suggestion for now, or never again if `finished`."""
        self._asked = 0
        self._idle = True
        self._finished = self._finished or finished

    def reopen(self) -> None:
        """Ask a search again that had finished, because samples were added."""
        self._finished = self._idle = False

    def retry(self) -> None:
        """Ask a search again that had no suggestion, because something has changed."""
        self._idle = self._finished

    def explain(self) -> str:
        """Return what the search does while no trial waits; "" if it has finished."""
        if self.is_over:
            return ""
        if self._asked:
            return "the search was asked for a trial and has not answered yet"
        return "the search suggests no trial for now"


class SharedState:
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
        delays: The times, in seconds since the epoch, before which trials must not be launched, by
            trial id.
        suggestions: Decides when the search is asked for trials.
        recorder: Emits the records for the journal.
        now: Time of the event that is being handled.
        choose: Whether a trial may be launched that could not be launched before.
        stopping: Why the experiment is being ended, "" if it is not.
        interrupted: Whether it is ended because the sweep was interrupted.
        finished: Whether the experiment has ended.
        draining: Why no more trials are started and running ones are awaited, "" if not so.
        pause_reason: Why no trials are started for now, "" if not so.
        added_samples: How many samples were added by requests.
        is_replayable: False once the state differs from that of a replay: the end of the experiment
            has stopped running trials, or requests have changed limits.
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
        self.delays: dict[str, float] = {}
        self.suggestions = SuggestionCounter(options.lookahead)
        self._out: list[Command] = []
        self.recorder = Recorder(self.emit)
        self.now = 0.0
        self.choose = False
        self.stopping = ""
        self.interrupted = False
        self.finished = False
        self.draining = ""
        self.pause_reason = ""
        self.added_samples = 0
        self.is_replayable = True
        self.replaying = False

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

    @property
    def ending(self) -> str:
        """Why no more trials are started, "" if some may be; running ones may still go on."""
        return self.stopping or self.draining

    # -- for messages and adaptive clusters -------------------------------------------------------

    def waiting_for(self) -> str:
        """Return the reason why no attempt runs; "" if one runs, or no further one will.

        Reasons are, in this order: unfinished uploads, a paused sweep, a delay before another try,
        missing resources, and a search that suggests nothing.
        """
        if self.table.running:
            return ""
        uploading = self.table.uploading_trials()
        if uploading:
            left = sum(live.uploads for live in uploading)
            first = uploading[0]
            return (
                f"{left} checkpoints of {len(uploading)} trials are being uploaded to storage, "
                f"{first.uploads} of {first.trial} from {first.node}"
            )
        if self.pause_reason:
            return f"the sweep is paused ({self.pause_reason})"
        waiting = [] if self.stopping else [live.trial for live in self.table.waiting()]
        ready = [trial for trial in waiting if trial.trial_id not in self.delays]
        if not ready and waiting:
            trial = waiting[0]
            left_s = max(0.0, self.delays[trial.trial_id] - self.now)
            return f"{trial} is tried again in {left_s:.0f} s ({trial.error})"
        if not ready:
            return "" if self.stopping else self.suggestions.explain()
        trial, placer = ready[0], self.placer
        if not placer.nodes:
            return f"{trial} waits for {trial.resources}: {placer.describe()}"
        if not placer.could_ever_fit(trial.resources):
            return f"{trial} needs {trial.resources}, which no node has: {placer.describe()}"
        if placer.fits(trial.resources):
            name = type(self.scheduler).__name__
            return f"there is room, but {name} chooses none of {len(ready)} trials such as {trial}"
        return f"{trial} waits for {trial.resources}: {placer.describe()}"

    def demand(self) -> Mapping[Resources, int]:
        """Return the resources of the trials that wait for room, with the number of such trials."""
        wanted: Counter[Resources] = Counter()
        if self.ending or self.pause_reason or self.finished:
            return wanted
        limit = self.options.max_running
        most = _MOST_DEMAND if limit is None else min(_MOST_DEMAND, limit - self.table.running)
        for live in self.table.waiting():
            if most <= 0:
                break
            trial = live.trial
            if trial.status != PENDING or trial.trial_id in self.delays:
                continue
            if not self.placer.fits(trial.resources):  # else the scheduler does not want it now
                wanted[trial.resources] += 1
                most -= 1
        return wanted
