"""What happens when a callback raises: the experiment ends in order, or goes on and says so."""

from __future__ import annotations

import logging
from collections import Counter

from prefect_tune.error import TuneError
from prefect_tune.text import in_words

log = logging.getLogger(__name__)


def name_callback(callback: object, hook: str, error: Exception) -> None:
    """Add a note to an error that names the callback and the hook in which it was raised."""
    error.add_note(_told(callback, hook, error))


def callback_error(callback: object, hook: str, error: BaseException) -> Exception:
    """What ends the experiment: the error as it was raised, with a note that names the hook.

    What would end the process, such as `SystemExit`, becomes the cause of a `TuneError` instead.
    """
    if isinstance(error, Exception):
        name_callback(callback, hook, error)
        return error
    raised = TuneError(_told(callback, hook, error))
    raised.__cause__ = error
    return raised


def _told(callback: object, hook: str, error: BaseException) -> str:
    said = f"{type(error).__name__}: {in_words(error)}"
    return f"The callback {type(callback).__name__} failed in {hook}: {said}"


class CallbackFailures:
    """Logs what callbacks raise, where the experiment is to go on.

    A hook that fails at each result must not flood the log: the first failure of each hook of each
    callback is logged with its traceback, the others are counted.

    Used by one thread.
    """

    def __init__(self) -> None:
        self._failures: Counter[tuple[int, str, str]] = Counter()

    def log(self, callback: object, hook: str, error: BaseException) -> None:
        """Log a failure, or count it."""
        failed = (id(callback), type(callback).__name__, hook)
        self._failures[failed] += 1
        if self._failures[failed] == 1:
            log.error(
                "%s. The experiment goes on (PREFECT_TUNE_LOG_CALLBACK_ERRORS).",
                _told(callback, hook, error),
                exc_info=error,
            )

    def summarise(self) -> None:
        """Log how often hooks have failed after the first time; once."""
        for (_, name, hook), count in self._failures.items():
            if count > 1:
                log.error("The callback %s failed %d times in %s.", name, count, hook)
        self._failures.clear()
