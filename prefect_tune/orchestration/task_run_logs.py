"""What trials print, in the logs of their task runs."""

from __future__ import annotations

import contextvars
import logging
import threading
from collections.abc import Callable, Sequence

from prefect.logging import get_run_logger

from prefect_tune.orchestration.showable import showable
from prefect_tune.trainable.output import TrialOutput

_Key = tuple[str, int]
_LOGGER = "prefect.task_runs"
#: Outputs that wait for the task engine of their attempt, which starts after it.
_MAX_WAITING = 200


class TaskRunLog:
    """Sends texts to the log of the task run that it was made in."""

    def __init__(self) -> None:
        # Prefect's settings, as where its API is, are in the context.
        self._context = contextvars.copy_context()
        self._extra = dict(getattr(get_run_logger(), "extra", None) or {})

    def __call__(self, text: str, level: int = logging.INFO) -> None:
        """Log a text; called from any thread."""
        record = logging.LogRecord(_LOGGER, level, __file__, 0, text, None, None)
        record.__dict__.update(self._extra)
        # Straight to the API: the console has it already, and thousands of trials' engines are
        # silenced there.
        for handler in logging.getLogger(_LOGGER).handlers:
            self._context.run(handler.handle, record)


class TaskRunLogs:
    """Brings output of attempts to the logs of their task runs; every method from any thread.

    Args:
        make_log: Called in a task run; what it returns takes texts for its log.
    """

    def __init__(self, make_log: Callable[[], Callable[[str], None]] = TaskRunLog) -> None:
        self._make_log = make_log
        self._lock = threading.Lock()
        self._waiting: dict[_Key, list[str]] = {}
        self._logs: dict[_Key, Callable[[str], None]] = {}

    def expect(self, key: _Key) -> None:
        """There will be a task run of this attempt: (trial id, number)."""
        with self._lock:
            self._waiting[key] = []

    def put(self, output: TrialOutput) -> None:
        """Take output; that of attempts without a task run is dropped."""
        text = showable("\n".join(_lines(output)))
        key = (output.trial_id, output.attempt)
        with self._lock:
            log = self._logs.get(key)
            if log is not None:
                log(text)
            elif key in self._waiting and len(self._waiting[key]) < _MAX_WAITING:
                self._waiting[key].append(text)

    def attach(self, key: _Key) -> None:
        """Its task run has begun; called in it."""
        with self._lock:
            log = self._logs[key] = self._make_log()
            for text in self._waiting.pop(key, ()):
                log(text)

    def detach(self, key: _Key) -> None:
        """Its task run ends; all its output has been put."""
        with self._lock:
            self._logs.pop(key, None)


def _lines(output: TrialOutput) -> Sequence[str]:
    if not output.left_out:
        return output.lines
    return (f"... {output.left_out} bytes are left out, see {output.path}", *output.lines)
