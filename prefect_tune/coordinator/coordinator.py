"""`Coordinator`: the experiment as a pure state machine.

`Coordinator.handle(event)` returns commands; it uses no I/O, clock or threads. The same events lead
to the same commands, so that a replay of the recorded events restores an experiment, and tests can
use a simulated executor. The order of the steps for each result follows Ray Tune 2.0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from prefect_tune.coordinator.attempt_ends import AttemptEnds
from prefect_tune.coordinator.commands import AskSearch, Command, Finish
from prefect_tune.coordinator.control import Controls
from prefect_tune.coordinator.core import Core
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
from prefect_tune.coordinator.placement import Placer
from prefect_tune.coordinator.result_handling import ResultHandling
from prefect_tune.coordinator.resumption import Resumption
from prefect_tune.coordinator.retention import CheckpointRetention
from prefect_tune.coordinator.shutdown import Shutdown
from prefect_tune.coordinator.table import CoordinatorState, LiveTrial, TrialTable, portable
from prefect_tune.coordinator.time_limits import TimeLimits
from prefect_tune.coordinator.trial_checkpoints import newest_usable
from prefect_tune.coordinator.waiting import demand, explain
from prefect_tune.experiment.checkpoints import TrialCheckpoint
from prefect_tune.experiment.trial import PAUSED, PENDING, Trial
from prefect_tune.resources import Resources
from prefect_tune.schedulers import TrialScheduler
from prefect_tune.stopper import Stopper


class Coordinator:
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
        self._core = core = Core(self, scheduler, stopper, options)
        self._retention = CheckpointRetention(core)
        self._lifecycle = Lifecycle(core, self._retention)
        self._shutdown = Shutdown(core, self._lifecycle)
        self._results = ResultHandling(core, self._lifecycle, self._shutdown)
        self._time_limits = TimeLimits(core)
        self._ends = AttemptEnds(
            core, self._lifecycle, self._retention, self._shutdown, self._time_limits
        )
        # The scheduler's changes at the last replayed event, by trial; their records may be lost.
        self._unrecorded: dict[str, TrialRedirected] = {}
        self._resumption = Resumption(core, self._lifecycle, self._retention, self._ends)
        self._controls = Controls(core, self._shutdown, self._ends.give_up_uploads)
        self._handlers: dict[type[Event], Callable[[Any], None]] = {
            CapacityChanged: self._on_capacity,
            TrialSuggested: self._on_suggested,
            SearchIdle: self._on_search_idle,
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
        core = self._core
        core.now = event.time
        if self._unrecorded and not isinstance(event, TrialRedirected):
            self._redirect_unrecorded(event)
        handler = self._handlers.get(type(event))
        if handler is not None and not core.finished:
            handler(event)
            core.recorder.flush()
            self._advance()
        return core.drain()

    def replay(self, on: bool) -> None:
        """Begin or end a replay of recorded events.

        In a replay, trials are launched, decided about and ended only as the records say, nothing
        is deleted, and the search is not asked.
        """
        self._core.replaying = self._core.recorder.muted = on

    def keep_no_records(self) -> None:
        """Emit no `Record` commands from now on, for an experiment that is never resumed."""
        self._core.recorder.muted = True

    def get_state(self) -> CoordinatorState:
        """Return the state for a snapshot, without the states of scheduler and stopper.

        While `is_replayable`, loading the state and replaying the records after it has the same
        result as a replay of all records.
        """
        table = self._core.table
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
            trial.attach_to(self._core.options.local_experiment_dir, self._core.options.terms)
        self._core.table.load(state.trials, state.live, state.aside, state.retired)
        self._retention.dropped.extend(state.dropped)

    @property
    def is_replayable(self) -> bool:
        """False once the state differs from a replay, after a stop or after changed limits."""
        return not (self._core.stopped or self._core.adjusted)

    @property
    def finished(self) -> bool:
        """True once the experiment has ended."""
        return self._core.finished

    @property
    def stopping(self) -> str:
        """Why the experiment is being ended, "" if it is not."""
        return self._core.stopping

    @property
    def ending(self) -> str:
        """Why no more trials are started, "" if some may be; running ones may still go on."""
        return self._core.stopping or self._core.draining

    @property
    def pause_reason(self) -> str:
        """Why no trials are started for now, "" if some may be."""
        return self._core.pause_reason

    @property
    def added_samples(self) -> int:
        """How many samples were added by requests to the running experiment."""
        return self._core.added_samples

    @property
    def table(self) -> TrialTable:
        """The table of all trials."""
        return self._core.table

    @property
    def placer(self) -> Placer:
        """The nodes and their free resources."""
        return self._core.placer

    def _advance(self) -> None:
        """Launch trials, ask the search for more, and finish the experiment if all have ended."""
        core = self._core
        if core.finished or core.replaying:
            return
        if not (core.stopping or core.draining or core.pause_reason):
            if core.choose:
                self._launch_what_fits()
            self._ask_search()
        table = core.table
        if not (table.running or table.uploading) and (
            core.stopping or core.draining or (core.turns.is_over and not table.waiting())
        ):
            core.finished = True
            core.emit(Finish(core.stopping or core.draining))

    # -- search -----------------------------------------------------------------------------------

    def _ask_search(self) -> None:
        core = self._core
        if core.turns.may_ask:
            wanted = core.turns.ask(core.table.count_pending())
            if wanted > 0:
                core.emit(AskSearch(wanted))

    def _on_search_idle(self, event: SearchIdle) -> None:
        self._core.turns.set_idle(event.finished)

    def _on_suggested(self, event: TrialSuggested) -> None:
        core = self._core
        core.turns.answered()
        if core.stopping:
            # Not recorded: when the experiment is resumed, the search suggests the trial again.
            return
        core.recorder.record(event)
        trial = new_trial(event, core.options)
        core.table.add(trial, core.options.restore_from)
        core.scheduler.on_trial_add(self, trial)
        core.choose = True

    # -- slots ------------------------------------------------------------------------------------

    def limit_running(self, most: int) -> None:
        """Limit the number of trials that run at a time.

        Args:
            most: The limit, at least 1.
        """
        core = self._core
        known = core.options.max_running
        core.options = replace(
            core.options, max_running=most if known is None else min(known, most)
        )

    def _on_capacity(self, event: CapacityChanged) -> None:
        core = self._core
        core.placer.update(event.nodes, core.table.slots())
        self._ends.on_capacity(event)
        core.choose = True

    def _launch_what_fits(self) -> None:
        core = self._core
        limit = core.options.max_running
        # These only write their last checkpoint again, so the scheduler is not asked about them.
        closing = core.table.closing()
        while core.table.has_waiting and (limit is None or core.table.running < limit):
            if closing:
                self._launch(closing.pop(0))
                continue
            trial = core.scheduler.choose_trial_to_run(self)
            live = None if trial is None else core.table.live(trial.trial_id)
            if live is None or not self._launch(live):
                if core.room.end_round():
                    continue
                break
        core.choose = False

    def _launch(self, live: LiveTrial) -> bool:
        """Launch a waiting trial if there is room and it is not delayed; return whether it was."""
        core, trial = self._core, live.trial
        if trial.status not in (PENDING, PAUSED) or core.delays.is_delayed(trial.trial_id):
            return False
        slot = core.room.reserve(trial, live.node if live.setbacks else "")
        if slot is not None:
            self._lifecycle.launch(live, slot)
        return slot is not None

    def _on_launched(self, event: AttemptLaunched) -> None:
        live = self._core.table.live(event.trial_id)
        if self._core.replaying and live is not None and live.slot is None:
            live.trial.attempt = event.attempt - 1
            # The slot is on no node: the process is gone.
            self._lifecycle.launch(live, Slot("", live.trial.resources))

    def _on_started(self, event: AttemptStarted) -> None:
        live = self._core.table.current(event.trial_id, event.attempt)
        if live is not None:
            self._core.recorder.record(event)
            live.trial.location = f"{event.node_ip}:{event.pid}"

    # -- what else happens ------------------------------------------------------------------------

    def _redirect_unrecorded(self, event: Event) -> None:
        """Apply the scheduler's changes at the last replayed event whose records a crash lost."""
        core = self._core
        if isinstance(event, Resumed) and not core.replaying:
            for redirected in self._unrecorded.values():
                live = core.table.live(redirected.trial_id)
                if live is not None:
                    core.recorder.record(redirected)
                    self._lifecycle.redirect(live, redirected)
        self._unrecorded.clear()

    def _on_redirected(self, event: TrialRedirected) -> None:
        self._unrecorded.pop(event.trial_id, None)
        live = self._core.table.live(event.trial_id)
        if live is not None and self._core.replaying:
            self._lifecycle.redirect(live, event)

    def _on_tick(self, event: Tick) -> None:
        core = self._core
        core.recorder.tick(event)
        core.stopper.on_time(event.time)
        core.delays.remove_expired(event.time)
        self._controls.on_time(event.time)
        self._shutdown.check_stopper()
        self._time_limits.check()
        # A search that had no suggestion is asked again at each tick.
        core.turns.retry()
        core.choose = True

    # -- methods for schedulers (ControllerView) --------------------------------------------------

    def get_trials(self) -> list[Trial]:
        """Return all trials so far, in order of creation."""
        return self._core.table.trials()

    def get_live_trials(self) -> list[Trial]:
        """Return the trials that are not finished, in queue order."""
        return [live.trial for live in self._core.table.live_entries()]

    def get_waiting_trials(self) -> list[Trial]:
        """Return the pending and paused trials, in queue order."""
        return [live.trial for live in self._core.table.waiting()]

    def get_trial(self, trial_id: str) -> Trial | None:
        """Return the trial with the given id; None if there is none."""
        return self._core.table.get(trial_id)

    def has_resources_for_trial(self, trial: Trial) -> bool:
        """Return True if an attempt of the trial could be launched now."""
        core = self._core
        return not core.delays.is_delayed(trial.trial_id) and core.room.fits(trial)

    def pause_trial(self, trial: Trial, should_checkpoint: bool = True) -> None:
        """Pause a running trial at its next report; its slot is free then."""
        live = self._core.table.live(trial.trial_id)
        if live is not None:
            self._results.pause(live)

    def stop_trial(self, trial: Trial) -> None:
        """End a trial: a running one at its next report, a waiting one at once."""
        live = self._core.table.live(trial.trial_id)
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
        checkpoint = checkpoint or newest_usable(source.checkpoints)
        return checkpoint in source.checkpoints and self._redirect(
            TrialRedirected(
                self._core.now,
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
                self._core.now,
                trial.trial_id,
                config=config,
                resources=resources,
                experiment_tag=experiment_tag,
            )
        )

    def get_node_resources(self) -> list[Resources]:
        """Return the total resources of each node."""
        return [node.with_offers().resources for node in self._core.placer.nodes]

    def save_checkpoint(self, trial: Trial) -> None:
        """Have a running trial write a checkpoint, as `ControllerView` explains."""
        live = self._core.table.live(trial.trial_id)
        if live is not None:
            self._results.save(live)

    def _redirect(self, event: TrialRedirected) -> bool:
        core = self._core
        live = core.table.live(event.trial_id)
        if live is None or live.stop_reason or live.completed:
            return False
        self._results.pause(live)
        if core.replaying:
            self._unrecorded[event.trial_id] = event  # its record does it
        else:
            core.recorder.record_behind(event)
            self._lifecycle.redirect(live, event)
        return True

    # -- for messages and adaptive clusters -------------------------------------------------------

    def waiting_for(self) -> str:
        """Return the reason why no attempt runs; "" if one runs or no trial waits."""
        return explain(self._core)

    def demand(self) -> Mapping[Resources, int]:
        """Return the resources of the trials that wait for room, with the number of such trials."""
        return demand(self._core)
