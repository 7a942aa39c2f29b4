"""Names of experiment and trial directories; Ray Tune's layout.

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
#: Bytes of a name that the user has chosen.
LONGEST_NAME = _MAX_BYTES - len("_0000")
_DATE_FORMAT = "%Y-%m-%d_%H-%M-%S"
_FORBIDDEN = re.compile(r'[/()\\:*?"<>|\x00-\x1f\x7f]')


def date_string(time: float) -> str:
    """A time (seconds since the epoch) as names show it, in local time: 2026-01-31_23-59-59."""
    return clock.strftime(_DATE_FORMAT, clock.localtime(time))


def default_root(result_dir: str | None = None) -> str:
    """Where experiment directories lie if nothing else is said.

    Args:
        result_dir: The setting `TUNE_RESULT_DIR`; None is ``~/prefect_tune_results``.

    Returns:
        An absolute path; ``~`` is expanded.
    """
    return os.path.abspath(os.path.expanduser(result_dir or DEFAULT_ROOT))


def experiment_dir_name(trainable_name: str, time: float) -> str:
    """Name of an experiment that was not given one: ``<trainable>_<date>``."""
    date = f"_{date_string(time)}"
    return _cut_bytes(safe_name(trainable_name), _MAX_BYTES - len(date) - len("_0000")) + date


def is_directory_name(name: str) -> bool:
    """True if a directory can have this name, whole, and a few characters behind it."""
    if not name.strip() or name in (".", "..") or set("/\0") & set(name):
        return False
    try:
        # Names are in JSON, too, where lone surrogates cannot be.
        return len(name.encode()) <= LONGEST_NAME
    except UnicodeEncodeError:
        return False


def safe_name(text: str) -> str:
    """Replace what a directory name cannot hold somewhere, and parentheses, by ``_``."""
    return _FORBIDDEN.sub("_", text)


def trial_dir_name(name: str, tag: str, time: float, max_length: int = MAX_LENGTH) -> str:
    """Name of a trial's directory: ``<name>_<tag>``, cut, and the date.

    Args:
        name: What the trial is called.
        tag: Its experiment tag.
        time: Seconds since the epoch.
        max_length: Characters before the date.
    """
    date = f"_{date_string(time)}"
    identifier = safe_name(f"{name}_{tag}" if tag else name)[:max_length]
    return _cut_bytes(identifier, _MAX_BYTES - len(date) - len("_0000")) + date


def _cut_bytes(text: str, size: int) -> str:
    return text.encode()[:size].decode(errors="ignore")


class TrialDirNamer:
    """Chooses the directory name of each trial so that no two share one.

    Args:
        experiment_dir: The experiment directory; what it holds already is not taken again.
        max_length: Characters of a name before its date.
        taken: Names of trials that may have no directory yet.
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
        """Choose the name of a trial's directory; the directory is not created.

        Args:
            trial: The trial; its `str`, `trial_id` and `experiment_tag` are used.
            time: Seconds since the epoch.
            custom: What the user's `trial_dirname_creator` returned, if there is one.

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
