"""Names of experiment and trial directories, in Ray Tune's layout.

::

    <root>/<trainable>_<date>/<trainable>_<trial id>_<experiment tag>_<date>/
"""

from __future__ import annotations

import os
import re
import time as clock
from collections.abc import Iterable
from hashlib import sha1
from typing import Any

from prefect_tune.error import InvalidArgument

DEFAULT_ROOT = "~/prefect_tune_results"
MAX_LENGTH = 130
_MAX_BYTES = 255  # of one name, in every common file system
#: Bytes that a user's name may have at most; the rest is for a suffix.
LONGEST_NAME = _MAX_BYTES - len("_0000")
_DATE_FORMAT = "%Y-%m-%d_%H-%M-%S"
_FORBIDDEN = re.compile(r'[/()\\:*?"<>|\x00-\x1f\x7f]')


def date_string(time: float) -> str:
    """Format a time (seconds since the epoch) for names, in local time: 2026-01-31_23-59-59."""
    return clock.strftime(_DATE_FORMAT, clock.localtime(time))


def default_root(result_dir: str | None = None) -> str:
    """Return the parent of experiment directories that is used unless the user gives another.

    Args:
        result_dir: The setting `TUNE_RESULT_DIR`; None is ``~/prefect_tune_results``.

    Returns:
        An absolute path; ``~`` is expanded.
    """
    return os.path.abspath(os.path.expanduser(result_dir or DEFAULT_ROOT))


def experiment_dir_name(trainable_name: str, time: float) -> str:
    """Return the name of an experiment that the user has not named: ``<trainable>_<date>``."""
    date = f"_{date_string(time)}"
    return _cut_bytes(safe_name(trainable_name), _MAX_BYTES - len(date) - len("_0000")) + date


def is_directory_name(name: str) -> bool:
    """Return True if a directory can have this name, with room for a suffix."""
    if not name.strip() or name in (".", "..") or set("/\0") & set(name):
        return False
    try:
        # Names are also written to JSON, which cannot hold lone surrogates.
        return len(name.encode()) <= LONGEST_NAME
    except UnicodeEncodeError:
        return False


def safe_name(text: str) -> str:
    """Replace parentheses, and characters that some file system forbids in names, by ``_``."""
    return _FORBIDDEN.sub("_", text)


def trial_dir_name(name: str, tag: str, time: float, max_length: int = MAX_LENGTH) -> str:
    """Return the name of a trial's directory: ``<name>_<tag>``, shortened, and the date.

    Args:
        name: Name of the trial.
        tag: Its experiment tag.
        time: Seconds since the epoch.
        max_length: Characters before the date at most.
    """
    date = f"_{date_string(time)}"
    identifier = safe_name(f"{name}_{tag}" if tag else name)[:max_length]
    return _cut_bytes(identifier, _MAX_BYTES - len(date) - len("_0000")) + date


def _cut_bytes(text: str, size: int) -> str:
    return text.encode()[:size].decode(errors="ignore")


class TrialDirNamer:
    """Chooses the directory name of each trial so that no two share one.

    Args:
        experiment_dir: The experiment directory; names that it holds already are not used again.
        max_length: Characters of a name before its date at most.
        taken: Directory names of trials that may have no directory yet.
    """

    def __init__(
        self,
        experiment_dir: str | os.PathLike[str],
        max_length: int = MAX_LENGTH,
        taken: Iterable[str] = (),
    ) -> None:
        self._experiment_dir = os.fspath(experiment_dir)
        self._max_length = max_length
        self._taken = set(taken)

    def name(self, trial: Any, time: float, custom: str | None = None) -> str:
        """Choose the name of a trial's directory, without creating the directory.

        Args:
            trial: The trial; its `str`, `trial_id` and `experiment_tag` are used.
            time: Seconds since the epoch.
            custom: The return value of the user's `trial_dirname_creator`, if there is one.

        Raises:
            InvalidArgument: If `custom` is not the name of a directory.
        """
        if custom is None:
            wanted = trial_dir_name(str(trial), trial.experiment_tag, time, self._max_length)
        else:
            wanted = _checked(custom)
        chosen, attempt = wanted, 0
        while chosen in self._taken or os.path.exists(os.path.join(self._experiment_dir, chosen)):
            digest = sha1(f"{trial.trial_id}/{attempt}".encode(), usedforsecurity=False)
            chosen = f"{wanted}_{digest.hexdigest()[:4]}"
            attempt += 1
        self._taken.add(chosen)
        return chosen


def _checked(name: str) -> str:
    if not is_directory_name(name):
        raise InvalidArgument(
            "trial_dirname_creator",
            f"it returned {name!r}.",
            f"It must return the name of one directory, without '/', of at most {LONGEST_NAME} "
            f"bytes.",
        )
    return name
