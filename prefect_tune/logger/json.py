"""`result.json`: one JSON object per result; `params.json` and `params.pkl`: the configuration.

Large values of it are there in words; the journal has them, and `ExperimentAnalysis`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any

import cloudpickle

from prefect_tune.atomic_write import write_atomic
from prefect_tune.experiment.pickling.large import shortened
from prefect_tune.experiment.trial import Trial
from prefect_tune.logger.base import BatchLoggerCallback
from prefect_tune.logger.encoding import constants_tail, result_line, to_json
from prefect_tune.logger.files import (
    AppendFiles,
    truncate_lines,
    whole_lines,
)
from prefect_tune.result import EXPR_PARAM_FILE, EXPR_PARAM_PICKLE_FILE, EXPR_RESULT_FILE

log = logging.getLogger(__name__)

RESULT_FILE = EXPR_RESULT_FILE
PARAMS_FILE = EXPR_PARAM_FILE
PARAMS_PICKLE = EXPR_PARAM_PICKLE_FILE


class _Open:
    """What is known of a trial whose attempt runs."""

    __slots__ = ("attempt", "path", "tail")

    def __init__(self, path: str) -> None:
        self.path = path
        self.attempt: tuple[Any, Any] | None = None
        self.tail = b""


class JsonLoggerCallback(BatchLoggerCallback):
    """Writes every result as a line of JSON, and the configuration of each trial.

    The text that the trial sent is used as it is; only the constants of the attempt are added, so
    that each line stands for itself.
    """

    def __init__(self) -> None:
        self._files = AppendFiles()
        self._trials: dict[str, _Open] = {}

    def log_trial_start(self, trial: Trial) -> None:
        """Write the configuration and take up the result file."""
        self._begin(trial)

    def _begin(self, trial: Trial) -> _Open:
        directory = trial.logdir
        config = shortened(trial.config)
        write_atomic(os.path.join(directory, PARAMS_FILE), to_json(config, pretty=True))
        try:
            pickled = cloudpickle.dumps(config)
        except Exception as error:
            # Whatever a user object raises: params.json has its text.
            log.warning("The config of %s cannot be pickled: %s", trial, error)
        else:
            write_atomic(os.path.join(directory, PARAMS_PICKLE), pickled)
        return self._open_results(trial)

    def log_trial_results(
        self,
        iteration: int,
        trial: Trial,
        results: Sequence[Mapping[str, Any]],
        lines: Sequence[bytes] = (),
    ) -> None:
        """Write several results of one attempt."""
        if not results:
            return
        opened = self._trials.get(trial.trial_id) or self._begin(trial)
        if not lines:
            data = b"".join(map(_line, results))
        else:
            first = results[0]
            attempt = (first.get("pid"), first.get("hostname"))
            if attempt != opened.attempt:
                opened.attempt = attempt
                opened.tail = constants_tail({**first, "config": shortened(trial.config)})
            data = _complete(results, lines, opened.tail)
        self._files.append(opened.path, data)

    def log_trial_end(self, trial: Trial, failed: bool = False) -> None:
        """Write what is buffered and close the file."""
        opened = self._trials.pop(trial.trial_id, None)
        if opened is not None:
            self._files.close(opened.path)

    def count_results(self, trial: Trial) -> int | None:
        """Whole lines of the trial's file."""
        return len(whole_lines(self._path(trial)))

    def keep_results(self, trial: Trial, count: int) -> None:
        """Cut off the lines behind them."""
        truncate_lines(self._path(trial), count)

    def flush(self) -> None:
        """Write what is buffered."""
        self._files.flush()

    def on_experiment_end(self, trials: list[Trial], **info: Any) -> None:
        """Write everything and close all files."""
        self._trials.clear()
        self._files.close_all()

    def _open_results(self, trial: Trial) -> _Open:
        opened = self._trials.get(trial.trial_id)
        if opened is None:
            opened = _Open(self._path(trial))
            whole_lines(opened.path)
            self._trials[trial.trial_id] = opened
        opened.attempt = None
        return opened

    @staticmethod
    def _path(trial: Trial) -> str:
        return os.path.join(trial.logdir, RESULT_FILE)


def _line(result: Mapping[str, Any]) -> bytes:
    config = result.get("config")
    shown = shortened(config)
    return result_line(result if shown is config else {**result, "config": shown})


def _complete(results: Sequence[Mapping[str, Any]], lines: Sequence[bytes], tail: bytes) -> bytes:
    # Lines of a trial that has changed its configuration have what changed, and only that.
    if any(b'"config":' in line for line in lines):
        return b"".join(map(_line, results))
    # A decision to stop marks its result as done after the trial has written the line, which
    # happens at most once in an attempt and to its last result.
    if results[-1].get("done"):
        *earlier, _ = lines
        last = _line(results[-1])
    else:
        earlier, last = list(lines), b""
    if not earlier:
        return last
    return tail.join([line[:-1] for line in earlier]) + tail + last
