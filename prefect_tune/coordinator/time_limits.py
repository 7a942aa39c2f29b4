"""Ends trials that take too long: over their time limit, or deaf to a stop."""

from __future__ import annotations

from dataclasses import replace

from prefect_tune.coordinator.commands import Kill
from prefect_tune.coordinator.core import Core
from prefect_tune.coordinator.events import AttemptEnded, Fate, Outcome
from prefect_tune.coordinator.table import LiveTrial
from prefect_tune.experiment.attempt_error import AttemptError

#: Kind of the error of a trial that reported nothing within its time limit.
TIMEOUT = "timeout"
_Key = tuple[str, int]


class TimeLimits:
    """Watches how long running trials take.

    A trial is ended once its attempts have run for `trial_time_limit_s` together. Time that it
    waited or was paused does not count. What it has reported by then stays, and it is TERMINATED;
    if that is nothing, it has failed, and is not tried again: there is no time left.

    A trial that was told to end and goes on is ended by force after a while, see
    `CoordinatorOptions`.

    Args:
        core: The state of the coordinator.
    """

    def __init__(self, core: Core) -> None:
        self._core = core
        # When attempts were first seen to have been told to stop.
        self._told: dict[_Key, float] = {}
        self._killed: set[_Key] = set()
        self._has_warned = False

    def look(self) -> None:
        """See whether a trial has taken too long."""
        core = self._core
        if core.replaying or core.interrupted:
            return
        running: set[_Key] = set()
        for live in core.table.running_trials():
            key = (live.trial.trial_id, live.trial.attempt)
            if live.slot is not None:
                running.add(key)
                if key not in self._killed:
                    self._judge(live, key)
        self._told = {key: since for key, since in self._told.items() if key in running}
        self._killed &= running

    def verdict(self, live: LiveTrial, event: AttemptEnded) -> AttemptEnded:
        """The end of an attempt as it counts."""
        if not live.overdue or live.interrupted:
            return event
        if event.outcome in (Outcome.FINISHED, Outcome.UNSTARTED):
            return event
        if live.trial.last_result:
            # However its process took being ended.
            return replace(event, outcome=Outcome.STOPPED, error=None)
        error = AttemptError(TIMEOUT, _silent(live))
        return replace(event, outcome=Outcome.FAILED, error=error, fate=Fate.FAILED)

    def _judge(self, live: LiveTrial, key: _Key) -> None:
        limit = self._core.options.trial_time_limit_s
        if live.stop_reason:
            self._lose_patience(live, key)
        elif limit is not None and live.time_run(self._core.now) >= limit:
            live.overdue = True
            live.stop_reason = f"its time limit of {limit:g} s was over"
            if not self._has_warned:
                self._has_warned = True
                self._core.warn(
                    live.trial,
                    f"{live.trial} has run for {limit:g} s, which is its time limit, and is "
                    f"ended. Further ones are ended without a message.",
                )
            if live.trial.last_result:
                self._end(live, key, live.stop_reason, Outcome.STOPPED)
            else:
                self._end(live, key, _silent(live), Outcome.FAILED)

    def _lose_patience(self, live: LiveTrial, key: _Key) -> None:
        core = self._core
        seconds = core.now - self._told.setdefault(key, core.now)
        patience = core.options.cleanup_s if live.completed else core.options.stop_patience_s
        if patience and seconds >= patience:
            what = "cleaning up" if live.completed else "running"
            core.warn(
                live.trial,
                f"{live.trial} was told to end {seconds:.0f} s ago and is still {what}: it is "
                f"ended by force.",
            )
            self._end(live, key, live.stop_reason)

    def _end(
        self, live: LiveTrial, key: _Key, reason: str, counts_as: Outcome | None = None
    ) -> None:
        self._killed.add(key)
        if live.slot is not None:
            self._core.emit(Kill(*key, live.slot.node, reason, counts_as))


def _silent(live: LiveTrial) -> str:
    return f"it had reported nothing when {live.stop_reason}"
