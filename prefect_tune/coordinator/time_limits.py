"""Ends trials that exceed their time limit, or do not end after they were told to."""

from __future__ import annotations

import math
from dataclasses import replace

from prefect_tune.coordinator.commands import Kill
from prefect_tune.coordinator.events import AttemptEnded, Fate, Outcome
from prefect_tune.coordinator.shared_state import SharedState
from prefect_tune.coordinator.table import LiveTrial
from prefect_tune.experiment.attempt import AttemptError, AttemptKey

#: Kind of the error of a trial that reported nothing within its time limit.
TIMEOUT = "timeout"


class TimeLimits:
    """Ends running trials that take too long.

    A trial is ended once its attempts have run for `trial_time_limit_s` together. Time for which it
    waited or was paused does not count. A trial that has reported results by then is TERMINATED;
    one that has reported nothing has failed, and is not tried again: there is no time left.

    A trial that was told to end and goes on is ended by force after the times in
    `CoordinatorOptions`.

    Args:
        shared: The state of the coordinator.
    """

    def __init__(self, shared: SharedState) -> None:
        self._shared = shared
        # When `check` first saw that an attempt had been told to stop; never, once it was killed.
        self._told_to_stop_at: dict[AttemptKey, float] = {}
        self._has_warned = False

    def check(self) -> None:
        """End all running trials that have taken too long."""
        shared = self._shared
        if shared.replaying or shared.interrupted:
            return
        running: set[AttemptKey] = set()
        for live in shared.table.running_trials():
            key = AttemptKey(live.trial.trial_id, live.trial.attempt)
            if live.slot is not None:
                running.add(key)
                self._check_trial(live, key)
        self._told_to_stop_at = {
            key: since for key, since in self._told_to_stop_at.items() if key in running
        }

    def adjust_end(self, live: LiveTrial, event: AttemptEnded) -> AttemptEnded:
        """Return the end of an attempt, with the outcome that counts if it was over its limit."""
        if not live.overdue or live.interrupted:
            return event
        if event.outcome in (Outcome.FINISHED, Outcome.UNSTARTED):
            return event
        if live.trial.last_result:
            # Whatever its process did when it was ended.
            return replace(event, outcome=Outcome.STOPPED, error=None)
        error = AttemptError(TIMEOUT, _no_result_text(live))
        return replace(event, outcome=Outcome.FAILED, error=error, fate=Fate.FAILED)

    def _check_trial(self, live: LiveTrial, key: AttemptKey) -> None:
        limit = self._shared.options.trial_time_limit_s
        if live.stop_reason:
            self._force_end_if_late(live, key)
        elif limit is not None and live.time_run(self._shared.now) >= limit:
            live.overdue = True
            live.stop_reason = f"its time limit of {limit:g} s was over"
            if not self._has_warned:
                self._has_warned = True
                self._shared.warn(
                    live.trial,
                    f"{live.trial} has run for {limit:g} s, which is its time limit, and is "
                    f"ended. Further ones are ended without a message.",
                )
            if live.trial.last_result:
                self._end(live, key, live.stop_reason, Outcome.STOPPED)
            else:
                self._end(live, key, _no_result_text(live), Outcome.FAILED)

    def _force_end_if_late(self, live: LiveTrial, key: AttemptKey) -> None:
        shared = self._shared
        seconds = shared.now - self._told_to_stop_at.setdefault(key, shared.now)
        patience = shared.options.cleanup_s if live.completed else shared.options.stop_patience_s
        if patience and seconds >= patience:
            what = "cleaning up" if live.completed else "running"
            shared.warn(
                live.trial,
                f"{live.trial} was told to end {seconds:.0f} s ago and is still {what}: it is "
                f"ended by force.",
            )
            self._end(live, key, live.stop_reason)

    def _end(
        self, live: LiveTrial, key: AttemptKey, reason: str, counts_as: Outcome | None = None
    ) -> None:
        self._told_to_stop_at[key] = math.inf
        if live.slot is not None:
            self._shared.emit(Kill(*key, live.slot.node, reason, counts_as))


def _no_result_text(live: LiveTrial) -> str:
    return f"it had reported nothing when {live.stop_reason}"
