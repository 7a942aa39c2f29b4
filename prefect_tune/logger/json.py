"""Write `result.json`, with one JSON object per result, and the configuration of each trial.

The configuration is in `params.json` and `params.pkl`, with large values replaced by descriptions;
the journal and `ExperimentAnalysis` have those values.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cloudpickle

from prefect_tune.atomic_write import write_atomic
from prefect_tune.experiment.pickling.large import shortened
from prefect_tune.experiment.plain import to_json
from prefect_tune.experiment.trial import Trial
from prefect_tune.logger.encoding import constants_tail, result_line
from prefect_tune.logger.files import (
    FileLoggerCallback,
    Results,
    cut_incomplete_line,
    truncate_lines,
)
from prefect_tune.result import EXPR_PARAM_FILE, EXPR_PARAM_PICKLE_FILE, EXPR_RESULT_FILE

log = logging.getLogger(__name__)

RESULT_FILE = EXPR_RESULT_FILE
PARAMS_FILE = EXPR_PARAM_FILE
PARAMS_PICKLE = EXPR_PARAM_PICKLE_FILE


@dataclass(slots=True)
class _ResultFile:
    """The result file of a trial, and the constants of its attempt that end each line."""

    path: str
    trial: Trial
    attempt: tuple[Any, Any] | None = None
    tail: bytes = b""


class JsonLoggerCallback(FileLoggerCallback[_ResultFile]):
    """Writes each result as a line of `result.json`, and the configuration of each trial.

    The line of JSON that the trial sent is used unchanged; only the constants of the attempt are
    added, so that each line is a whole result.
    """

    def _begin_file(self, trial: Trial) -> _ResultFile:
        """Return the trial's file, without an incomplete last line."""
        file = _ResultFile(self._path(trial), trial)
        cut_incomplete_line(file.path)
        return file

    def log_trial_start(self, trial: Trial) -> None:
        """Write the trial's configuration and begin its result file."""
        directory = trial.logdir
        config = shortened(trial.config)
        write_atomic(
            os.path.join(directory, PARAMS_FILE), to_json(config, indent=2, sort_keys=True)
        )
        try:
            pickled = cloudpickle.dumps(config)
        except Exception as error:
            # Users' objects may raise anything; params.json has their text.
            log.warning("The config of %s cannot be pickled: %s", trial, error)
        else:
            write_atomic(os.path.join(directory, PARAMS_PICKLE), pickled)
        super().log_trial_start(trial)
        self._of_trial[trial.trial_id].attempt = None

    def _encode(self, file: _ResultFile, results: Results, lines: Sequence[bytes]) -> bytes:
        """Return the lines of the results, with the constants of their attempt."""
        if not lines:
            return b"".join(map(_line, results))
        first = results[0]
        attempt = (first.get("pid"), first.get("hostname"))
        if attempt != file.attempt:
            file.attempt = attempt
            file.tail = constants_tail({**first, "config": shortened(file.trial.config)})
        return _complete_lines(results, lines, file.tail)

    def count_results(self, trial: Trial) -> int | None:
        """Return the number of complete lines in the trial's file."""
        return len(cut_incomplete_line(self._path(trial)))

    def keep_results(self, trial: Trial, count: int) -> None:
        """Delete all lines of the trial's file except the first `count`."""
        truncate_lines(self._path(trial), count)

    @staticmethod
    def _path(trial: Trial) -> str:
        return os.path.join(trial.logdir, RESULT_FILE)


def _line(result: Mapping[str, Any]) -> bytes:
    config = result.get("config")
    shown = shortened(config)
    return result_line(result if shown is config else {**result, "config": shown})


def _complete_lines(
    results: Sequence[Mapping[str, Any]], lines: Sequence[bytes], tail: bytes
) -> bytes:
    # If user code has changed the configuration, lines contain the changed part of it only.
    if any(b'"config":' in line for line in lines):
        return b"".join(map(_line, results))
    # A decision to stop marks the last result of an attempt as done after the trial has sent its
    # line.
    if results[-1].get("done"):
        *earlier, _ = lines
        last = _line(results[-1])
    else:
        earlier, last = list(lines), b""
    if not earlier:
        return last
    return tail.join([line[:-1] for line in earlier]) + tail + last
