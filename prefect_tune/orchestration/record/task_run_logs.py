"""Copies what trials print and log to the logs of their task runs."""

from __future__ import annotations

import contextvars
import logging
import re
import threading
from collections.abc import Callable, Sequence
from typing import Any

import orjson

from prefect_tune.experiment.attempt import AttemptKey
from prefect_tune.orchestration.record.texts import showable
from prefect_tune.orchestration.record.trial_context import FROM_TRIAL
from prefect_tune.trainable.output import TrialLog, TrialOutput

_LOGGER = "prefect.task_runs"
#: Lines to keep for an attempt until its task engine, which starts later, is there.
_MAX_WAITING = 900
#: Beginning of a line of a run's logger on a console.
_SHOWN_RECORD = re.compile(r"\d\d:\d\d:\d\d\.\d{3} \| [A-Z]+ +\| Task run ")


class TaskRunLog:
    """Sends texts to the log of the task run in which it was made."""

    def __init__(self) -> None:
        from prefect.logging import get_run_logger  # logs wait for it before Prefect is imported

        # The context has Prefect's settings, such as the address of the API.
        self._context = contextvars.copy_context()
        self._extra = dict(getattr(get_run_logger(), "extra", None) or {})

    def __call__(self, text: str, level: int = logging.INFO) -> None:
        """Log a text; called from any thread."""
        self.record({"name": _LOGGER, "level": level, "message": text})

    def record(self, line: dict[str, Any], of_task: bool = True) -> None:
        """Log a line of a `TrialLog`.

        Args:
            line: The decoded line.
            of_task: False for the log of the flow run alone.
        """
        message = showable(line["message"])
        record = logging.LogRecord(line["name"], line["level"], __file__, 0, message, None, None)
        record.__dict__.update(self._extra, **{FROM_TRIAL: True})
        record.created = line.get("created", record.created)
        if not of_task:
            record.__dict__.pop("task_run_id", None)
        # Directly to the handlers of the API, because the console shows the line already, and the
        # logger drops lines of trials.
        for handler in logging.getLogger(_LOGGER).handlers:
            self._context.run(handler.handle, record)


class TaskRunLogs:
    """Brings lines of attempts to the logs of their task runs; methods may be called in any thread.

    Args:
        make_log: Called in a task run; returns a function that logs a text there.
        keeps_output: True to log also what trials print.
    """

    def __init__(
        self, make_log: Callable[[], Callable[[str], None]] = TaskRunLog, keeps_output: bool = True
    ) -> None:
        self._make_log = make_log
        self._keeps_output = keeps_output
        self._lock = threading.Lock()
        self._waiting: dict[AttemptKey, list[TrialOutput | TrialLog]] = {}
        self._logs: dict[AttemptKey, Callable[[str], None]] = {}
        self._flow_log: TaskRunLog | None = None

    def follow_flow(self) -> None:
        """Use the current flow run's log for attempts without a task run."""
        self._flow_log = TaskRunLog()

    def expect(self, key: AttemptKey) -> None:
        """Announce that this attempt will have a task run."""
        with self._lock:
            self._waiting[key] = []

    def put(self, output: TrialOutput | TrialLog) -> None:
        """Log lines of an attempt; drop what attempts without a task run print."""
        if isinstance(output, TrialOutput) and not self._keeps_output:
            return
        key = AttemptKey(output.trial_id, output.attempt)
        with self._lock:
            log = self._logs.get(key)
            if log is not None:
                _write(output, log)
            elif key in self._waiting:
                if len(self._waiting[key]) < _MAX_WAITING:
                    self._waiting[key].append(output)
            elif isinstance(output, TrialLog) and self._flow_log is not None:
                self._flow_log.record(orjson.loads(output.line), of_task=False)

    def attach(self, key: AttemptKey) -> None:
        """Make the log of an attempt; called in its task run, which has begun."""
        with self._lock:
            log = self._logs[key] = self._make_log()
            for output in self._waiting.pop(key, ()):
                _write(output, log)

    def detach(self, key: AttemptKey) -> None:
        """Remove the log of an attempt, whose lines have all been put."""
        with self._lock:
            self._logs.pop(key, None)


def _write(output: TrialOutput | TrialLog, log: Callable[[str], None]) -> None:
    if isinstance(output, TrialOutput):
        if lines := _lines(output):
            log(showable("\n".join(lines)))
        return
    line = orjson.loads(output.line)
    if isinstance(log, TaskRunLog):
        log.record(line, line["of_task"])
    else:
        log(line["message"])


def _lines(output: TrialOutput) -> Sequence[str]:
    # Lines of loggers arrive as `TrialLog`, with their levels.
    lines = [line for line in output.lines if not (output.stderr and _SHOWN_RECORD.match(line))]
    if not output.left_out:
        return lines
    return (f"... {output.left_out} bytes are left out, see {output.path}", *lines)


#: Names of this package's tasks.
TRIAL = "trial"
COORDINATOR = "coordinator"


def silence_our_tasks() -> None:
    """Drop the log lines of task engines about trials and coordinators.

    The sweep has its own reports and the states have the errors. Thousands of lines "Finished in
    state Completed()" would hide both, and sending them to the API would cost time.
    """
    logging.getLogger(_LOGGER).addFilter(_is_of_other_task)  # once, however often it is called


def _is_of_other_task(record: logging.LogRecord) -> bool:
    return getattr(record, "task_name", None) not in (TRIAL, COORDINATOR)
