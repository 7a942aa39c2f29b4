"""What trials print and log, in the logs of their task runs."""

from __future__ import annotations

import contextvars
import logging
import re
import threading
from collections.abc import Callable, Sequence
from typing import Any

import orjson
from prefect.logging import get_run_logger

from prefect_tune.experiment.attempt_key import AttemptKey
from prefect_tune.orchestration.record.sanitize import showable
from prefect_tune.orchestration.record.trial_context import FROM_TRIAL
from prefect_tune.trainable.output import TrialLog, TrialOutput

_LOGGER = "prefect.task_runs"
#: Lines that wait for the task engine of their attempt, which starts after it.
_MAX_WAITING = 900
#: How Prefect shows on a console what a run's logger takes.
_SHOWN_RECORD = re.compile(r"\d\d:\d\d:\d\d\.\d{3} \| [A-Z]+ +\| Task run ")


class TaskRunLog:
    """Sends texts to the log of the task run that it was made in."""

    def __init__(self) -> None:
        # Prefect's settings, as where its API is, are in the context.
        self._context = contextvars.copy_context()
        self._extra = dict(getattr(get_run_logger(), "extra", None) or {})

    def __call__(self, text: str, level: int = logging.INFO) -> None:
        """Log a text; called from any thread."""
        self.record({"name": _LOGGER, "level": level, "message": text})

    def record(self, line: dict[str, Any], of_task: bool = True) -> None:
        """Log what a `TrialLog` holds.

        Args:
            line: It, decoded.
            of_task: False for the log of the flow run alone.
        """
        message = showable(line["message"])
        record = logging.LogRecord(line["name"], line["level"], __file__, 0, message, None, None)
        record.__dict__.update(self._extra, **{FROM_TRIAL: True})
        record.created = line.get("created", record.created)
        if not of_task:
            record.__dict__.pop("task_run_id", None)
        # Straight to the API: the console has it already, and thousands of trials' engines are
        # silenced there.
        for handler in logging.getLogger(_LOGGER).handlers:
            self._context.run(handler.handle, record)


class TaskRunLogs:
    """Brings lines of attempts to the logs of their task runs; every method from any thread.

    Args:
        make_log: Called in a task run; what it returns takes texts for its log.
        keeps_output: Whether what trials print goes there besides what they log.
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
        """Take the current flow run's log for attempts without a task run."""
        self._flow_log = TaskRunLog()

    def expect(self, key: AttemptKey) -> None:
        """There will be a task run of this attempt: (trial id, number)."""
        with self._lock:
            self._waiting[key] = []

    def put(self, output: TrialOutput | TrialLog) -> None:
        """Take a line or more; what is printed by attempts without a task run is dropped."""
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
        """Its task run has begun; called in it."""
        with self._lock:
            log = self._logs[key] = self._make_log()
            for output in self._waiting.pop(key, ()):
                _write(output, log)

    def detach(self, key: AttemptKey) -> None:
        """Its task run ends; all its lines have been put."""
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
    # What was logged comes by itself, with its level.
    lines = [line for line in output.lines if not (output.stderr and _SHOWN_RECORD.match(line))]
    if not output.left_out:
        return lines
    return (f"... {output.left_out} bytes are left out, see {output.path}", *lines)


#: Names of our tasks.
TRIAL = "trial"
COORDINATOR = "coordinator"


class _SkipOurTasks(logging.Filter):
    """Drops what task engines say about trials and coordinators.

    The sweep has its own reports, the states carry the errors, and thousands of lines "Finished in
    state Completed()" would bury both, besides the cost of sending each to the API.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        return getattr(record, "task_name", None) not in (TRIAL, COORDINATOR)


def silence_our_tasks() -> None:
    """Install the filter, once per process."""
    logger = logging.getLogger("prefect.task_runs")
    if not any(isinstance(known, _SkipOurTasks) for known in logger.filters):
        logger.addFilter(_SkipOurTasks())
