"""Ends an experiment or a trial early, and handles requests to a running experiment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from prefect_tune.coordinator.commands import Abort, AdjustSearch, Kill
from prefect_tune.coordinator.events import Control, ControlReceived, Outcome
from prefect_tune.coordinator.lifecycle import Lifecycle
from prefect_tune.coordinator.shared_state import SharedState
from prefect_tune.coordinator.table import LiveTrial
from prefect_tune.experiment.decision import Action
from prefect_tune.experiment.trial import RUNNING
from prefect_tune.stopper import make_stopper
from prefect_tune.text import in_words

#: The limits that `Control.SET` can set, besides thresholds `stop:<metric>`.
MAX_CONCURRENT = "max_concurrent"
TIME_LEFT = "time_left_s"
STOP = "stop:"


class Shutdown:
    """Ends experiments and single trials early; in a replay only recorded events do so.

    Args:
        shared: The state of the coordinator.
        lifecycle: The transitions of trials.
    """

    def __init__(self, shared: SharedState, lifecycle: Lifecycle) -> None:
        self._shared = shared
        self._lifecycle = lifecycle

    def stop_trial(self, live: LiveTrial, reason: str) -> None:
        """End a trial: a running one at its next report, a waiting one at once."""
        if live.trial.status != RUNNING:
            self._lifecycle.end_waiting_for_good(live)
        elif not live.stop_reason:
            live.stop_reason = reason
            self._lifecycle.decide(live, 0, Action.STOP)

    def stop(self, reason: str, is_recorded: bool = False) -> None:
        """Stop running trials at their next report and start no new ones.

        A trial that waits for another attempt ends. A trial that never started, is paused or lacks
        its last checkpoint goes on waiting, for a resume.

        Args:
            reason: The reason, for people.
            is_recorded: Whether the journal has a record of the stop already.
        """
        shared = self._shared
        if shared.stopping or shared.replaying:
            return
        shared.stopping = reason
        shared.is_replayable = False
        if not is_recorded:
            event = ControlReceived(shared.now, Control.STOP, reason=reason)
            shared.recorder.record_behind(event)
        for live in shared.table.live_entries():
            if live.trial.status == RUNNING:
                self.stop_trial(live, reason)
            elif live.waits_again:
                self._lifecycle.end_until_resume(live)

    def interrupt(self, reason: str) -> None:
        """Kill all running attempts; their trials stay unfinished, for a later resume."""
        shared = self._shared
        if shared.replaying:
            return
        shared.stopping = reason
        shared.interrupted = True
        for live in shared.table.running_trials():
            if live.slot is not None:
                live.interrupted = not live.completed
                trial = live.trial
                shared.emit(Kill(trial.trial_id, trial.attempt, live.slot.node, reason))
            elif live.ending is not None and live.ending.outcome in (Outcome.FAILED, Outcome.LOST):
                live.interrupted = True

    def abort(self, error: Exception) -> None:
        """Interrupt the experiment and raise an error to the user."""
        if not self._shared.replaying:
            self.interrupt(in_words(error))
            self._shared.emit(Abort(error))

    def check_stopper(self) -> None:
        """Stop the experiment if the stopper says so."""
        shared = self._shared
        if not shared.stopping and not shared.replaying and shared.stopper.stop_all():
            self.stop("the stopper ended the experiment")


class Controls:
    """Carries out the requests in `ControlReceived` events.

    Args:
        shared: The state of the coordinator.
        shutdown: Ends experiments and trials.
        give_up_uploads: Gives up all uploads of ended attempts.
    """

    def __init__(
        self, shared: SharedState, shutdown: Shutdown, give_up_uploads: Callable[[], None]
    ) -> None:
        self._shared = shared
        self._shutdown = shutdown
        self._give_up_uploads = give_up_uploads
        self._deadline: float | None = None

    def on_received(self, event: ControlReceived) -> None:
        """Record a request and carry it out; a replay repeats only what affects later events."""
        shared = self._shared
        shared.recorder.record(event)
        reason = event.reason or "stopped by request"
        match event.action:
            case Control.INTERRUPT:
                if shared.interrupted:
                    self._give_up_uploads()
                self._shutdown.interrupt(event.reason or "interrupted")
            case Control.STOP:
                self._shutdown.stop(reason, is_recorded=True)
            case Control.STOP_TRIAL:
                live = None if event.trial_id is None else shared.table.live(event.trial_id)
                if live is not None:
                    self._shutdown.stop_trial(live, reason)
            case Control.DRAIN:
                shared.draining = reason
            case Control.PAUSE | Control.GO_ON:
                shared.pause_reason = reason if event.action is Control.PAUSE else ""
                shared.choose = True
            case Control.ADD_SAMPLES:
                samples = int((event.values or {}).get("samples", 0))
                shared.is_replayable = False
                shared.added_samples += samples
                shared.suggestions.reopen()
                if not shared.replaying:
                    shared.emit(AdjustSearch(samples=samples))
            case Control.SET:
                self._set(event.values or {}, event.time)

    def on_time(self, now: float) -> None:
        """End the experiment if the time that a request has set is over."""
        if self._deadline is not None and now >= self._deadline and not self._shared.stopping:
            self._shutdown.stop("its time is up, as it was set while it ran")

    def _set(self, values: dict[str, float], now: float) -> None:
        shared = self._shared
        shared.is_replayable = False
        for name, value in values.items():
            if name == MAX_CONCURRENT:
                shared.options = replace(shared.options, max_running=int(value))
                shared.choose = True
                if not shared.replaying:
                    shared.emit(AdjustSearch(max_concurrent=int(value)))
            elif name == TIME_LEFT:
                # A resumed experiment has its own time limit.
                self._deadline = None if shared.replaying else now + value
            elif name.startswith(STOP):
                shared.stopper |= make_stopper({name.removeprefix(STOP): value})
