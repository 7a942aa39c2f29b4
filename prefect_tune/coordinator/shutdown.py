"""Ends an experiment or a trial early: by a stop, an interruption, or an error."""

from __future__ import annotations

from prefect_tune.coordinator.commands import Abort, Kill
from prefect_tune.coordinator.core import Core
from prefect_tune.coordinator.events import Control, ControlReceived, Outcome
from prefect_tune.coordinator.lifecycle import Lifecycle
from prefect_tune.coordinator.table import LiveTrial
from prefect_tune.experiment.decision import Action
from prefect_tune.experiment.trial import RUNNING
from prefect_tune.text import in_words


class Shutdown:
    """Ends experiments and single trials early; in a replay only recorded events do so.

    Args:
        core: The state of the coordinator.
        lifecycle: The transitions of trials.
    """

    def __init__(self, core: Core, lifecycle: Lifecycle) -> None:
        self._core = core
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
        core = self._core
        if core.stopping or core.replaying:
            return
        core.stopping = reason
        core.stopped = True
        if not is_recorded:
            event = ControlReceived(core.now, Control.STOP, reason=reason)
            core.recorder.record_behind(event)
        for live in core.table.live_entries():
            if live.trial.status == RUNNING:
                self.stop_trial(live, reason)
            elif live.waits_again:
                self._lifecycle.end_until_resume(live)

    def interrupt(self, reason: str) -> None:
        """Kill all running attempts; their trials stay unfinished, for a later resume."""
        core = self._core
        if core.replaying:
            return
        core.stopping = reason
        core.interrupted = True
        for live in core.table.running_trials():
            if live.slot is not None:
                live.interrupted = not live.completed
                trial = live.trial
                core.emit(Kill(trial.trial_id, trial.attempt, live.slot.node, reason))
            elif live.ending is not None and live.ending.outcome in (Outcome.FAILED, Outcome.LOST):
                live.interrupted = True

    def abort(self, error: Exception) -> None:
        """Interrupt the experiment and raise an error to the user."""
        if not self._core.replaying:
            self.interrupt(in_words(error))
            self._core.emit(Abort(error))

    def check_stopper(self) -> None:
        """Stop the experiment if the stopper says so."""
        core = self._core
        if not core.stopping and not core.replaying and core.stopper.stop_all():
            self.stop("the stopper ended the experiment")
