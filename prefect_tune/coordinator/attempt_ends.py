"""Handles the ends of attempts and their checkpoints, and decides what happens to their trials."""

from __future__ import annotations

from prefect_tune.coordinator.commands import Notice
from prefect_tune.coordinator.control import Shutdown
from prefect_tune.coordinator.events import (
    AttemptEnded,
    CapacityChanged,
    CheckpointBegun,
    CheckpointFailed,
    CheckpointSaved,
    Fate,
    Outcome,
)
from prefect_tune.coordinator.failure_policy import (
    UNSAVED,
    Blame,
    blame_for,
    casts_doubt,
    delay_after,
    fate_of,
    is_unsaved,
    original_exception,
    was_killed,
)
from prefect_tune.coordinator.lifecycle import Lifecycle
from prefect_tune.coordinator.retention import CheckpointRetention
from prefect_tune.coordinator.shared_state import SharedState
from prefect_tune.coordinator.table import LiveTrial
from prefect_tune.coordinator.time_limits import TimeLimits
from prefect_tune.experiment.attempt import AttemptError
from prefect_tune.experiment.checkpoints import Progress, TrialCheckpoint

_AGAIN = (Fate.RETRIED, Fate.REQUEUED)
#: Number of pauses in a row without a new checkpoint at which a trial is warned about.
_STANDSTILL = 3


class AttemptEnds:
    """Handles the ends of attempts, and their checkpoints.

    The slot of an attempt is free as soon as the attempt has ended. What happens to its trial is
    decided once no checkpoint of the attempt is being uploaded any more.

    Args:
        shared: The state of the coordinator.
        lifecycle: The transitions of trials.
        retention: Drops checkpoints that are not retained.
        shutdown: Ends the experiment.
        time_limits: Knows which attempts took too long.
    """

    def __init__(
        self,
        shared: SharedState,
        lifecycle: Lifecycle,
        retention: CheckpointRetention,
        shutdown: Shutdown,
        time_limits: TimeLimits,
    ) -> None:
        self._shared = shared
        self._lifecycle = lifecycle
        self._retention = retention
        self._shutdown = shutdown
        self._time_limits = time_limits

    # -- checkpoints ------------------------------------------------------------------------------

    def on_begun(self, event: CheckpointBegun) -> None:
        """Note that a trial is going to write a checkpoint."""
        live = self._current_entry(event.trial_id, event.attempt)
        if live is not None:
            self._shared.recorder.record(event)
            # An attempt that repeats the last checkpoint may write earlier ones before it.
            owed = live.book.due if live.closing is not None else None
            live.book.expect(max(event.iteration, owed or 0))

    def on_saved(self, event: CheckpointSaved) -> None:
        """Add a checkpoint that is complete in storage to its trial."""
        live = self._current_entry(event.trial_id, event.attempt)
        if live is None:
            return
        progress = Progress.of(event.metrics)
        checkpoint = TrialCheckpoint(event.path, progress, event.metrics, event.time)
        if not live.book.add(checkpoint):
            return
        live.setbacks = live.lost = 0
        self._shared.recorder.record(event)
        self._shared.notify(Notice.CHECKPOINT, live.trial, checkpoint)
        self._retention.update(live)
        self._upload_ended(live)

    def on_save_failed(self, event: CheckpointFailed) -> None:
        """Note that a checkpoint will never be complete in storage; its trial goes on."""
        live = self._current_entry(event.trial_id, event.attempt)
        if live is None:
            return
        self._shared.recorder.record(event)
        live.book.failed(event.reason, event.lost)
        self._shared.warn(live.trial, f"{live.trial}: {event.path} is not saved: {event.reason}")
        self._upload_ended(live)

    def _current_entry(self, trial_id: str, attempt: int) -> LiveTrial | None:
        """Return the entry of an attempt whose checkpoints still count; None for an older attempt.

        The attempt runs, has ended except for its uploads, or was interrupted. After an
        interruption, uploads that were given up may be complete after all.
        """
        live = self._shared.table.live(trial_id)
        if live is None or live.trial.attempt != attempt:
            return None
        if live.slot is None and live.ending is None and not live.interrupted:
            return None
        return live

    def _upload_ended(self, live: LiveTrial) -> None:
        if live.ending is None:
            return
        live.uploads -= 1
        # In a replay, the fate follows as a record.
        if live.uploads <= 0 and not self._shared.replaying:
            self._decide_fate(live, live.ending)

    # -- ends -------------------------------------------------------------------------------------

    def on_ended(self, event: AttemptEnded) -> None:
        """Free the slot of an attempt that has ended, and decide its trial's fate if possible."""
        live = self._current_entry(event.trial_id, event.attempt)
        if live is None:
            if self._shared.replaying:
                self._end_dropped(event)
            return
        event = self._time_limits.adjust_end(live, event)
        if event.outcome is Outcome.UNSTARTED:
            live.since = None  # it has not run
        if event.fate is not None:
            self._decide_fate(live, event)
        elif live.ending is None:
            self._lifecycle.free(live)
            if event.uploading > 0:
                self._shared.recorder.record(event)
                live.ending = event
                live.uploads = event.uploading
                self._shared.table.uploading += 1
            else:
                self._decide_fate(live, event)

    def _end_dropped(self, event: AttemptEnded) -> None:
        """Replay the end of a trial that was ended while it waited, if it is not ended already."""
        live = self._shared.table.live(event.trial_id)
        if live is None or live.trial.attempt != event.attempt:
            return
        if event.fate is Fate.TERMINATED:
            self._lifecycle.end_waiting_for_good(live)
        elif event.fate is Fate.FAILED:
            live.trial.error = event.error
            self._lifecycle.give_up(live)

    def on_capacity(self, event: CapacityChanged) -> None:
        """Give up the uploads of ended attempts whose nodes are gone."""
        nodes = {node.address for node in event.nodes}
        for live in self._shared.table.uploading_trials():
            if live.node not in nodes and live.ending is not None:
                self._decide_fate(live, live.ending)

    def give_up_uploads(self) -> None:
        """Give up all uploads of ended attempts."""
        for live in self._shared.table.uploading_trials():
            if live.ending is not None:
                self._decide_fate(live, live.ending, goes_on=True)

    def end_stopped(self, live: LiveTrial) -> None:
        """End a trial whose attempt was told to stop, and then was cut off by an interruption."""
        trial = live.trial
        end = AttemptEnded(self._shared.now, trial.trial_id, trial.attempt, Outcome.STOPPED)
        self._decide_fate(live, end, goes_on=True)

    def _decide_fate(self, live: LiveTrial, event: AttemptEnded, goes_on: bool = False) -> None:
        """Decide what happens to a trial whose attempt has ended, and do it.

        Args:
            live: The trial.
            event: The end of its attempt.
            goes_on: True lets a trial that lacks its last checkpoint go on, because the experiment
                goes on now or when it is resumed.
        """
        shared, book = self._shared, live.book
        unsaved = is_unsaved(live, shared.options) and event.outcome is not Outcome.UNSTARTED
        fate = event.fate or fate_of(
            live, event, shared.options, bool(shared.stopping), goes_on or shared.interrupted
        )
        error = None if fate is Fate.TERMINATED else event.error
        if error is None and unsaved and fate in (*_AGAIN, Fate.FAILED):
            reason = book.problem or "it was not written"
            error = AttemptError(UNSAVED, f"the last checkpoint is not in storage: {reason}")
        event = AttemptEnded(shared.now, event.trial_id, event.attempt, event.outcome, error, fate)
        shared.recorder.record(event)
        self._lifecycle.free(live)
        if unsaved and live.stop_reason and fate in (*_AGAIN, Fate.INTERRUPTED):
            self._lifecycle.await_last_checkpoint(live)
        elif unsaved and fate is Fate.TERMINATED:
            shared.warn(
                live.trial,
                f"{live.trial} was ended before its last checkpoint was in storage: "
                f"{live.stop_reason}.",
            )
        if live.ending is not None:
            if live.uploads > 0:
                live.book.unclean = True
            live.ending = None
            live.uploads = 0
            shared.table.uploading -= 1
        match fate:
            case Fate.INTERRUPTED:
                live.interrupted = True
                live.book.unclean = True
                self._lifecycle.wait(live)
            case Fate.REQUEUED if event.outcome is Outcome.UNSTARTED:
                live.overdue = False
                self._lifecycle.wait(live)
            case Fate.PAUSED:
                self._warn_of_standstill(live)
                self._lifecycle.pause(live)
            case Fate.TERMINATED:
                self._lifecycle.terminate(live)
            case _:
                self._on_failure(live, event, fate)

    def _warn_of_standstill(self, live: LiveTrial) -> None:
        """Warn once of a trial that is paused again and again without a new checkpoint."""
        if live.standstill >= _STANDSTILL:
            return
        next_start = live.book.start()
        if live.redirect is not None or next_start != live.start:
            live.standstill = 0
            return
        live.standstill += 1
        if live.standstill == _STANDSTILL and not self._shared.replaying:
            place = "at the beginning" if next_start is None else f"from {next_start.path}"
            self._shared.warn(
                live.trial,
                f"{live.trial} was paused {_STANDSTILL} times in a row without a new checkpoint. "
                f"Each time it begins again {place}, and what it has done since is lost, so it may "
                f"never come to its end. Write checkpoints at least as often as the scheduler "
                f"pauses trials, e.g. with each report.",
            )

    # -- failures ---------------------------------------------------------------------------------

    def _on_failure(self, live: LiveTrial, event: AttemptEnded, fate: Fate) -> None:
        trial = live.trial
        trial.error = event.error or AttemptError("lost", "it ended without an error message")
        blame = blame_for(live, event)
        live.setbacks += 1
        if fate is not Fate.REQUEUED:
            trial.num_failures += 1
        if blame is Blame.NODE:
            live.lost += 1
            # The process may still run behind a broken connection, and write checkpoints.
            live.book.unclean = True
        elif fate is not Fate.FAILED:
            self._doubt_start_checkpoint(live, event, blame)
        if fate is Fate.FAILED:
            self._give_up(live)
            return
        self._lifecycle.retry(live)
        self._shared.notify(Notice.TRIAL_RECOVER, trial)
        if not self._shared.replaying:
            lost = live.lost if blame is Blame.NODE else 0
            delay = delay_after(live.setbacks, lost, self._shared.options.retry_delay_s)
            if blame is not Blame.CHECKPOINT and delay > 0:
                self._shared.delays[trial.trial_id] = self._shared.now + delay

    def _doubt_start_checkpoint(self, live: LiveTrial, event: AttemptEnded, blame: Blame) -> None:
        """Let the next attempt use another checkpoint if this one may have caused the failure."""
        start, trial, book = live.start, live.trial, live.book
        if start is None:
            return
        if blame is Blame.CHECKPOINT:
            problem = str(event.error)
            if not book.reject(start, problem):
                return
        elif (
            not casts_doubt(live, event)
            or (was_killed(event) and book.retry_once(start))
            or not book.suspect(start)
        ):
            return
        else:
            problem = f"it failed before its first report ({event.error})"
        other = book.start()
        place = "the beginning" if other is None else other.path
        self._shared.warn(
            trial, f"{trial} could not go on from {start.path}: {problem}. {place} comes next."
        )

    def _give_up(self, live: LiveTrial) -> None:
        self._lifecycle.give_up(live)
        fail_fast = self._shared.options.fail_fast
        if fail_fast == "raise":
            self._shutdown.abort(original_exception(live.trial))
        elif fail_fast:
            self._shutdown.stop(f"fail_fast: {live.trial} failed")
