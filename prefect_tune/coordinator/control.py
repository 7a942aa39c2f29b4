"""Handles requests from outside to a running experiment, such as pause, stop or set a limit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from prefect_tune.coordinator.commands import AdjustSearch
from prefect_tune.coordinator.core import Core
from prefect_tune.coordinator.events import Control, ControlReceived
from prefect_tune.coordinator.shutdown import Shutdown
from prefect_tune.stopper import make_stopper

#: The limits that `Control.SET` can set, besides thresholds `stop:<metric>`.
MAX_CONCURRENT = "max_concurrent"
TIME_LEFT = "time_left_s"
STOP = "stop:"


class Controls:
    """Carries out the requests in `ControlReceived` events.

    Args:
        core: The state of the coordinator.
        shutdown: Ends experiments and trials.
        give_up_uploads: Gives up all uploads of ended attempts.
    """

    def __init__(self, core: Core, shutdown: Shutdown, give_up_uploads: Callable[[], None]) -> None:
        self._core = core
        self._shutdown = shutdown
        self._give_up_uploads = give_up_uploads
        self._deadline: float | None = None

    def on_received(self, event: ControlReceived) -> None:
        """Record a request and carry it out; a replay repeats only what affects later events."""
        core = self._core
        core.recorder.record(event)
        reason = event.reason or "stopped by request"
        match event.action:
            case Control.INTERRUPT:
                if core.interrupted:
                    self._give_up_uploads()
                self._shutdown.interrupt(event.reason or "interrupted")
            case Control.STOP:
                self._shutdown.stop(reason, is_recorded=True)
            case Control.STOP_TRIAL:
                live = None if event.trial_id is None else core.table.live(event.trial_id)
                if live is not None:
                    self._shutdown.stop_trial(live, reason)
            case Control.DRAIN:
                core.draining = reason
            case Control.PAUSE | Control.GO_ON:
                core.pause_reason = reason if event.action is Control.PAUSE else ""
                core.choose = True
            case Control.ADD_SAMPLES:
                self._add_samples(int((event.values or {}).get("samples", 0)))
            case Control.SET:
                self._set(event.values or {}, event.time)

    def on_time(self, now: float) -> None:
        """End the experiment if the time that a request has set is over."""
        if self._deadline is not None and now >= self._deadline and not self._core.stopping:
            self._shutdown.stop("its time is up, as it was set while it ran")

    def _add_samples(self, samples: int) -> None:
        core = self._core
        core.adjusted = True
        core.added_samples += samples
        core.turns.reopen()
        if not core.replaying:
            core.emit(AdjustSearch(samples=samples))

    def _set(self, values: dict[str, float], now: float) -> None:
        core = self._core
        core.adjusted = True
        for name, value in values.items():
            if name == MAX_CONCURRENT:
                core.options = replace(core.options, max_running=int(value))
                core.choose = True
                if not core.replaying:
                    core.emit(AdjustSearch(max_concurrent=int(value)))
            elif name == TIME_LEFT:
                # A resumed experiment has its own time limit.
                self._deadline = None if core.replaying else now + value
            elif name.startswith(STOP):
                core.add_stopper(make_stopper({name.removeprefix(STOP): value}))
