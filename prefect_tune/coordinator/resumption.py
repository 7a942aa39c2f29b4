"""Puts the trials of an interrupted experiment back into the queue when it is resumed."""

from __future__ import annotations

from prefect_tune.coordinator.attempt_ends import AttemptEnds
from prefect_tune.coordinator.events import EndedPolicy, Resumed
from prefect_tune.coordinator.lifecycle import Lifecycle
from prefect_tune.coordinator.retention import CheckpointRetention
from prefect_tune.coordinator.shared_state import SharedState, SuggestionCounter
from prefect_tune.coordinator.table import LiveTrial
from prefect_tune.experiment.trial import ERROR, PENDING, TERMINATED, Trial


class Resumption:
    """Handles `Resumed` events: decides which trials wait, run again, or have ended.

    Args:
        shared: The state of the coordinator.
        lifecycle: The transitions of trials.
        retention: Drops checkpoints that are not retained.
        ends: Decides about attempts that had ended except for their uploads.
    """

    def __init__(
        self,
        shared: SharedState,
        lifecycle: Lifecycle,
        retention: CheckpointRetention,
        ends: AttemptEnds,
    ) -> None:
        self._shared = shared
        self._lifecycle = lifecycle
        self._retention = retention
        self._ends = ends

    def on_resumed(self, event: Resumed) -> None:
        """Queue the trials that were running again, and end those that were told to stop."""
        shared = self._shared
        if not shared.replaying:
            # Before the record, because in a replay the fates decided here come first, too.
            self._ends.give_up_uploads()
            for live in shared.table.live_entries():
                if live.slot is not None and live.stop_reason and not live.overdue:
                    self._cut_off(live)
                    self._ends.end_stopped(live)
        shared.recorder.record(event)
        shared.pause_reason = shared.draining = ""
        if not shared.replaying:
            self._retention.repeat_deletions()
        # The experiment may be extended, so the search is asked again even if it had finished.
        shared.suggestions = SuggestionCounter(shared.options.lookahead)
        shared.stopper.on_resume(event.time)
        shared.delays.clear()
        for live in shared.table.live_entries():
            if live.slot is not None or live.interrupted:
                self._go_on(live)
        for live in shared.table.requeue_set_aside():
            self._lifecycle.add(live)
        if event.only_errored:
            self._set_unfinished_aside()
        elif event.restart_unfinished:
            for live in shared.table.live_entries():
                if live.closing is None:
                    self._begin_again(live)
        for status, wanted in ((ERROR, event.errored), (TERMINATED, event.finished)):
            if wanted is not EndedPolicy.KEEP:
                for trial in shared.table.trials():
                    if trial.status == status:
                        self._reset(trial, wanted)
        self._retention.drop_all_surplus()
        shared.choose = True

    def _cut_off(self, live: LiveTrial) -> None:
        # How long the attempt ran after its last report is unknown.
        live.ran = live.time_run(live.trial.last_update_time or 0.0)
        live.since = None

    def _go_on(self, live: LiveTrial) -> None:
        """Queue a trial again whose attempt ran when the experiment was interrupted."""
        self._cut_off(live)
        self._lifecycle.free(live)
        live.interrupted = False
        live.book.unclean = True
        if live.overdue:
            # Its time is over, so the next time check ends it again, with or without a result.
            live.overdue = False
            live.stop_reason = ""
        if live.stop_reason and live.closing is None:
            self._lifecycle.terminate(live)
        else:
            self._lifecycle.wait(live)
            self._lifecycle.add(live)

    def _set_unfinished_aside(self) -> None:
        shared = self._shared
        shared.suggestions.set_idle(finished=True)
        for live in shared.table.live_entries():
            if not live.completed:
                shared.scheduler.on_trial_remove(shared.view, live.trial)
            shared.table.set_aside(live)

    def _begin_again(self, live: LiveTrial) -> None:
        """Let an unfinished trial start from scratch, without its results and checkpoints."""
        self._shared.table.set_status(live, PENDING)
        live.book.unclean = True
        live.trial.clear_results()
        live.book.supersede_all()

    def _reset(self, trial: Trial, wanted: EndedPolicy) -> None:
        """Run a trial that has ended again."""
        shared = self._shared
        trial.status = PENDING
        trial.error = None
        trial.num_failures = 0
        trial.checkpoints = trial.checkpoints
        live = shared.table.revive(trial, shared.options.restore_from)
        live.book.unclean = True
        if wanted is EndedPolicy.RESTART:
            self._begin_again(live)
        else:
            live.book.clear_problems()
        shared.scheduler.on_trial_add(shared.view, trial)
