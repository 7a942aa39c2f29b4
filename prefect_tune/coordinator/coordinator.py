"""`Coordinator`: the experiment as a pure state machine.

`Coordinator.handle(event)` returns commands; it uses no I/O, clock or threads. The same events lead
to the same commands, so that a replay of the recorded events restores an experiment, and tests can
use a simulated executor. The order of the steps for each result follows Ray Tune 2.0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from prefect_tune.coordinator.attempt_ends import AttemptEnds
from prefect_tune.coordinator.commands import AskSearch, Command
from prefect_tune.coordinator.control import Controls, Shutdown
from prefect_tune.coordinator.events import (
    AttemptEnded,
    AttemptLaunched,
    AttemptStarted,
    CapacityChanged,
    CheckpointBegun,
    CheckpointFailed,
    CheckpointSaved,
    CheckpointsDropped,
    ControlReceived,
    Event,
    ResultReported,
    Resumed,
    SearchIdle,
    Tick,
    TrialRedirected,
    TrialSuggested,
)
from prefect_tune.coordinator.lifecycle import Lifecycle, new_trial
from prefect_tune.coordinator.node_slots import Slot
from prefect_tune.coordinator.options import CoordinatorOptions
from prefect_tune.coordinator.result_handling import ResultHandling
from prefect_tune.coordinator.resumption import Resumption
from prefect_tune.coordinator.retention import CheckpointRetention
from prefect_tune.coordinator.shared_state import SharedState
from prefect_tune.coordinator.table import CoordinatorState, LiveTrial, portable
from prefect_tune.coordinator.time_limits import TimeLimits
from prefect_tune.experiment.checkpoints import TrialCheckpoint
from prefect_tune.experiment.trial import PAUSED, PENDING, Trial
from prefect_tune.resources import Resources
from prefect_tune.schedulers import TrialScheduler
from prefect_tune.stopper import Stopper


class Coordinator(SharedState):
    """Decides what the trials of one experiment do: handles events, returns commands.

    Args:
        scheduler: Decides about each result and which trial runs next.
        stopper: The user's stopping criteria.
        options: How metrics, failures and checkpoints are handled.
        search_alg: The searcher, for schedulers that use it.
    """

    def __init__(
        self,
        scheduler: TrialScheduler,
        stopper: Stopper,
        options: CoordinatorOptions | None = None,
        search_alg: Any = None,
    ) -> None:
        options = CoordinatorOptions() if options is None else options
        self.search_alg = search_alg
        super().__init__(self, scheduler, stopper, options)
        self._retention = CheckpointRetention(self)
        self._lifecycle = Lifecycle(self, self._retention)
        self._shutdown = Shutdown(self, self._lifecycle)
        self._results = ResultHandling(self, self._lifecycle, self._shutdown)
        self._time_limits = TimeLimits(self)
        self._ends = AttemptEnds(
            self, self._lifecycle, self._retention, self._shutdown, self._time_limits
        )
        # The scheduler's changes at the last replayed event, by trial; their records may be lost.
        self._unrecorded: dict[str, TrialRedirected] = {}
        self._resumption = Resumption(self, self._lifecycle, self._retention, self._ends)
        self._controls = Controls(self, self._shutdown, self._ends.give_up_uploads)
        self._handlers: dict[type[Event], Callable[[Any], None]] = {
            CapacityChanged: self._on_capacity,
            TrialSuggested: self._on_suggested,
            SearchIdle: lambda event: self.suggestions.set_idle(event.finished),
            AttemptLaunched: self._on_launched,
            AttemptStarted: self._on_started,
            ResultReported: self._results.on_reported,
            CheckpointBegun: self._ends.on_begun,
            CheckpointSaved: self._ends.on_saved,
            CheckpointFailed: self._ends.on_save_failed,
            CheckpointsDropped: self._retention.drop,
            TrialRedirected: self._on_redirected,
            AttemptEnded: self._ends.on_ended,
            ControlReceived: self._controls.on_received,
            Resumed: self._resumption.on_resumed,
            Tick: self._on_tick,
        }

    # -- the state machine ------------------------------------------------------------------------

    def handle(self, event: Event) -> list[Command]:
        """Handle one event, and return the resulting commands in order."""
        self.now = event.time
        if self._unrecorded and not isinstance(event, TrialRedirected):
            self._redirect_unrecorded(event)
        handler = self._handlers.get(type(event))
        if handler is not None and not self.finished:
            handler(event)
            self.recorder.flush()
            self._advance()
        return self.drain()

    def replay(self, on: bool) -> None:
        """Begin or end a replay of recorded events.

        In a replay, trials are launched, decided about and ended only as the records say, nothing
        is deleted, and the search is not asked.
        """
        self.replaying = self.recorder.muted = on

    def keep_no_records(self) -> None:
        """Emit no `Record` commands from now on, for an experiment that is never resumed."""
        self.recorder.muted = True

    def get_state(self) -> CoordinatorState:
        """Return the state for a snapshot, without the states of scheduler and stopper.

        While `is_replayable`, loading the state and replaying the records after it has the same
        result as a replay of all records.
        """
        table = self.table
        return CoordinatorState(
            table.trials(),
            [portable(live) for live in table.live_entries()],
            [portable(live) for live in table.set_aside_entries()],
            list(table.retired),
            list(self._retention.dropped),
        )

    def set_state(self, state: CoordinatorState) -> None:
        """Load a state of `get_state` into a coordinator that has handled no event yet."""
        for trial in state.trials:
            # The directory may have been moved, and arguments may have changed.
            trial.attach_to(self.options.local_experiment_dir, self.options.terms)
        self.table.load(state)
        self._retention.dropped.extend(state.dropped)

    def _advance(self) -> None:
        """Launch trials, ask the search for more, and finish the experiment if all have ended."""
        if self.finished or self.replaying:
            return
        if not (self.ending or self.pause_reason):
            if self.choose:
                self._launch_what_fits()
            if self.suggestions.may_ask:
                wanted = self.suggestions.ask(self.table.count_pending())
                if wanted > 0:
                    self.emit(AskSearch(wanted))
        table = self.table
        if not (table.running or table.uploading):
            no_more = self.suggestions.is_over and not table.has_waiting
            self.finished = bool(self.ending) or no_more

    # -- search -----------------------------------------------------------------------------------

    def _on_suggested(self, event: TrialSuggested) -> None:
        self.suggestions.answered()
        if self.stopping:
            # Not recorded: when the experiment is resumed, the search suggests the trial again.
            return
        self.recorder.record(event)
        trial = new_trial(event, self.options)
        self.table.add(trial, self.options.restore_from)
        self.scheduler.on_trial_add(self, trial)
        self.choose = True

    # -- slots ------------------------------------------------------------------------------------

    def limit_running(self, most: int) -> None:
        """Limit the number of trials that run at a time.

        Args:
            most: The limit, at least 1.
        """
        known = self.options.max_running
        self.options = replace(
            self.options, max_running=most if known is None else min(known, most)
        )

    def _on_capacity(self, event: CapacityChanged) -> None:
        self.placer.update(event.nodes, self.table.slots())
        self._ends.on_capacity(event)
        self.choose = True

    def _launch_what_fits(self) -> None:
        limit = self.options.max_running
        # These only write their last checkpoint again, so the scheduler is not asked about them.
        closing = self.table.closing()
        while self.table.has_waiting and (limit is None or self.table.running < limit):
            if closing:
                self._launch(closing.pop(0))
                continue
            trial = self.scheduler.choose_trial_to_run(self)
            live = None if trial is None else self.table.live(trial.trial_id)
            if live is None or not self._launch(live):
                if self.room.end_round():
                    continue
                break
        self.choose = False

    def _launch(self, live: LiveTrial) -> bool:
        """Launch a waiting trial if there is room and it is not delayed; return whether it was."""
        trial = live.trial
        if trial.status not in (PENDING, PAUSED) or trial.trial_id in self.delays:
            return False
        slot = self.room.reserve(trial, live.node if live.setbacks else "")
        if slot is not None:
            self._lifecycle.launch(live, slot)
        return slot is not None

    def _on_launched(self, event: AttemptLaunched) -> None:
        live = self.table.live(event.trial_id)
        if self.replaying and live is not None and live.slot is None:
            live.trial.attempt = event.attempt - 1
            # The slot is on no node: the process is gone.
            self._lifecycle.launch(live, Slot("", live.trial.resources))

    def _on_started(self, event: AttemptStarted) -> None:
        live = self.table.current(event.trial_id, event.attempt)
        if live is not None:
            self.recorder.record(event)
            live.trial.location = f"{event.node_ip}:{event.pid}"

    # -- what else happens ------------------------------------------------------------------------

    def _redirect_unrecorded(self, event: Event) -> None:
        """Apply the scheduler's changes at the last replayed event whose records a crash lost."""
        if isinstance(event, Resumed) and not self.replaying:
            for redirected in self._unrecorded.values():
                live = self.table.live(redirected.trial_id)
                if live is not None:
                    self.recorder.record(redirected)
                    self._lifecycle.redirect(live, redirected)
        self._unrecorded.clear()

    def _on_redirected(self, event: TrialRedirected) -> None:
        self._unrecorded.pop(event.trial_id, None)
        live = self.table.live(event.trial_id)
        if live is not None and self.replaying:
            self._lifecycle.redirect(live, event)

    def _on_tick(self, event: Tick) -> None:
        self.recorder.tick(event)
        self.stopper.on_time(event.time)
        if self.delays:
            self.delays = {k: until for k, until in self.delays.items() if until > event.time}
        self._controls.on_time(event.time)
        self._shutdown.check_stopper()
        self._time_limits.check()
        # A search that had no suggestion is asked again at each tick.
        self.suggestions.retry()
        self.choose = True

    # -- methods for schedulers (ControllerView) --------------------------------------------------

    def get_trials(self) -> list[Trial]:
        """Return all trials so far, in order of creation."""
        return self.table.trials()

    def get_live_trials(self) -> list[Trial]:
        """Return the trials that are not finished, in queue order."""
        return [live.trial for live in self.table.live_entries()]

    def get_waiting_trials(self) -> list[Trial]:
        """Return the pending and paused trials, in queue order."""
        return [live.trial for live in self.table.waiting()]

    def get_trial(self, trial_id: str) -> Trial | None:
        """Return the trial with the given id; None if there is none."""
        return self.table.get(trial_id)

    def has_resources_for_trial(self, trial: Trial) -> bool:
        """Return True if an attempt of the trial could be launched now."""
        return trial.trial_id not in self.delays and self.room.fits(trial)

    def pause_trial(self, trial: Trial, should_checkpoint: bool = True) -> None:
        """Pause a running trial at its next report; its slot is free then."""
        live = self.table.live(trial.trial_id)
        if live is not None:
            self._results.pause(live)

    def stop_trial(self, trial: Trial) -> None:
        """End a trial: a running one at its next report, a waiting one at once."""
        live = self.table.live(trial.trial_id)
        if live is not None:
            self._results.stop(live)

    def restore_trial_from(
        self,
        trial: Trial,
        source: Trial,
        checkpoint: TrialCheckpoint | None = None,
        config: dict[str, Any] | None = None,
        experiment_tag: str = "",
    ) -> bool:
        """Make a trial go on from another trial's checkpoint, as `ControllerView` explains."""
        checkpoint = checkpoint or source.newest_checkpoint
        return checkpoint in source.checkpoints and self._redirect(
            TrialRedirected(
                self.now,
                trial.trial_id,
                source.trial_id,
                checkpoint,
                config,
                experiment_tag=experiment_tag,
            )
        )

    def change_trial(
        self,
        trial: Trial,
        *,
        config: dict[str, Any] | None = None,
        resources: Resources | None = None,
        experiment_tag: str = "",
    ) -> bool:
        """Give a trial another configuration or other resources, as `ControllerView` explains."""
        return self._redirect(
            TrialRedirected(
                self.now,
                trial.trial_id,
                config=config,
                resources=resources,
                experiment_tag=experiment_tag,
            )
        )

    def get_node_resources(self) -> list[Resources]:
        """Return the total resources of each node."""
        return [node.with_offers().resources for node in self.placer.nodes]

    def save_checkpoint(self, trial: Trial) -> None:
        """Have a running trial write a checkpoint, as `ControllerView` explains."""
        live = self.table.live(trial.trial_id)
        if live is not None:
            self._results.save(live)

    def _redirect(self, event: TrialRedirected) -> bool:
        live = self.table.live(event.trial_id)
        if live is None or live.stop_reason or live.completed:
            return False
        self._results.pause(live)
        if self.replaying:
            self._unrecorded[event.trial_id] = event  # its record does it
        else:
            self.recorder.record_behind(event)
            self._lifecycle.redirect(live, event)
        return True
