"""The connection of a running attempt to whoever decides about it, and which attempt is current."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

from prefect_tune.error import InvalidArgument
from prefect_tune.experiment.decision import Action, RunUntil
from prefect_tune.trainable.attempt import AttemptContext, Channel, Decision
from prefect_tune.trainable.auto_metrics import AutoMetrics
from prefect_tune.trainable.result_codec import encode_result
from prefect_tune.trainable.stopping import (
    TrialEnding,
    TrialPaused,
    TrialStopped,
    TrialTerminated,
)

#: Key of a result that was reported as a bare number.
DEFAULT_METRIC = "_metric"
_MISSING = object()


class Session:
    """One attempt's connection to whoever decides about it.

    Args:
        context: The attempt.
        channel: Where reports go and decisions come from.
        warmup_time: Seconds from the start of the process until now.
    """

    def __init__(self, context: AttemptContext, channel: Channel, warmup_time: float = 0.0) -> None:
        self.context = context
        self._channel = channel
        self._auto = AutoMetrics(context.progress, warmup_time=warmup_time)
        self._run_until = context.run_until
        self._watches = _watches(context.run_until)
        self._seq = 0
        self._ending: type[TrialEnding] | None = None
        self._sending = False
        # Re-entrant: `terminate` is called from a signal handler, maybe in the middle of a report.
        self._lock = threading.RLock()

    @property
    def ending(self) -> type[TrialEnding] | None:
        """Why this attempt has to end; None while it may go on."""
        return self._ending

    def report(self, metrics: Mapping[str, Any]) -> None:
        """Send one result; waits for a decision where one can be made.

        Raises:
            TrialEnding: If the attempt ends with this report.
            InvalidArgument: If `metrics` is not a dict or contains itself.
        """
        if not isinstance(metrics, Mapping):
            raise InvalidArgument(
                "metrics",
                f"a report is a dict of metrics, not {type(metrics).__name__} ({metrics!r:.80}).",
                "Call report({'name': value}) or report(name=value).",
            )
        with self._lock:
            if self._ending is not None:
                raise self._ending
            result = self._auto.complete(metrics)
            known_nulls = (result["timesteps_total"] is None) + (result["episodes_total"] is None)
            try:
                line = encode_result(result, known_nulls)
            except ValueError as error:
                raise InvalidArgument("metrics", f"cannot be sent: {error}.") from error
            self._seq += 1
            awaiting = self._watches and self._has_to_wait(result)
            # The sender of `done` is not to run on before it is ended.
            awaiting = awaiting or bool(result["done"])
            try:
                self._send(line, awaiting)
                if awaiting:
                    self._wait()
                else:
                    self._look()
            except OSError:
                # The agent is gone: nobody will ever read another report.
                self._ending = TrialStopped
            if self._ending is not None:
                raise self._ending

    def terminate(self) -> None:
        """End the attempt from a signal handler: at once, or when the frame being sent is out.

        Raises:
            TrialTerminated: Once; a second signal does not disturb the user's clean-up.
        """
        if self._ending is not None:
            return
        self._ending = TrialTerminated
        # Another thread may be reading; then which of the two it was is not worth waiting for.
        if self._lock.acquire(blocking=False):
            try:
                self._ending = self._asked_to_end() or TrialTerminated
            finally:
                self._lock.release()
        if not self._sending:
            raise self._ending

    def close(self) -> None:
        """Let no thread that user code left behind report any more."""
        with self._lock:
            self._ending = self._ending or TrialStopped

    def _send(self, line: bytes, awaiting: bool) -> None:
        self._sending = True
        try:
            self._channel.send_result(self._seq, line, awaiting)
        finally:
            self._sending = False

    def _wait(self) -> None:
        while self._ending is None:
            decision = self._channel.wait_decision()
            self._obey(decision)
            if decision.seq == self._seq:
                return

    def _look(self) -> None:
        while (decision := self._channel.poll_decision()) is not None:
            self._obey(decision)

    def _obey(self, decision: Decision) -> None:
        if decision.action is Action.STOP:
            self._ending = TrialStopped
        elif decision.action is Action.PAUSE:
            self._ending = TrialPaused
        else:
            self._run_until = decision.run_until
            self._watches = _watches(decision.run_until)

    def _asked_to_end(self) -> type[TrialEnding] | None:
        """The ending that an unread decision asks for."""
        try:
            while (decision := self._channel.poll_decision()) is not None:
                if decision.action is Action.STOP:
                    return TrialStopped
                if decision.action is Action.PAUSE:
                    return TrialPaused
        except OSError:
            return TrialStopped
        return None

    def _has_to_wait(self, result: dict[str, Any]) -> bool:
        """`RunUntil.reached`, looking only at the metrics it names."""
        watched = {metric: _lookup(result, metric) for metric, _ in self._run_until.thresholds}
        return self._run_until.reached(watched)


def _watches(run_until: RunUntil) -> bool:
    return run_until.every_result or bool(run_until.thresholds)


def _lookup(result: Mapping[str, Any], metric: str) -> Any:
    """A metric by its flat name (``a/b`` for nested ones), array scalars as Python numbers."""
    value = result.get(metric, _MISSING)
    if value is _MISSING:
        value = result
        for part in metric.split("/"):
            if not isinstance(value, Mapping):
                return None
            value = value.get(part)
    if isinstance(value, (int, float)) or not hasattr(value, "item"):
        return value
    try:
        return value.item()
    except (TypeError, ValueError, RuntimeError):
        return value


# A trial process has one session, which all its threads share. Trials that are threads of one
# process each have their own, by context variable.
_process_session: Session | None = None
_thread_session: ContextVar[Session | None] = ContextVar("prefect_tune_session", default=None)


def activate(session: Session | None, whole_process: bool) -> None:
    """Make `session` the current one, of the process or of this thread; None ends it."""
    global _process_session
    if whole_process:
        _process_session = session
    else:
        _thread_session.set(session)


def _forget_in_child() -> None:
    # A process that user code forks shares the socket; its reports would garble the trial's.
    activate(None, whole_process=True)
    activate(None, whole_process=False)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)


def current_session() -> Session | None:
    """The session of the trial that the caller runs in, or None outside a trial."""
    return _thread_session.get() or _process_session


def as_metrics(value: Any) -> Mapping[str, Any]:
    """What user code reported, returned or yielded, as a dict of metrics.

    Raises:
        InvalidArgument: If it is neither a dict nor a number.
    """
    if isinstance(value, Mapping):
        return value
    if is_number(value):
        return {DEFAULT_METRIC: value}
    raise InvalidArgument(
        "metrics",
        f"a result is a dict of metrics or a number, not {type(value).__name__} ({value!r:.80}).",
        "Use e.g. {'loss': 0.1}.",
    )


def is_number(value: Any) -> bool:
    """True for numbers and for scalars of array libraries."""
    if isinstance(value, (int, float)):
        return True
    return getattr(value, "shape", None) == () and hasattr(value, "__float__")
