"""What `resume=` asks for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect_tune.error import InvalidArgument
from prefect_tune.storage.experiment_dir import can_resume

_NOT_YET = ("REMOTE", "PROMPT", "ERRORED_ONLY")
_SUFFIXES = ("ERRORED", "ERRORED_ONLY", "RESTART_ERRORED", "RESTART_ERRORED_ONLY")


def wants_resume(resume: Any, root: str, name: str) -> bool:
    """Whether an experiment is to be resumed.

    Args:
        resume: False or None begins a new run; True or ``"LOCAL"`` goes on with the one in the
            experiment directory; ``"AUTO"`` goes on if there is one.
        root: Where experiment directories lie.
        name: Name of the experiment.

    Raises:
        InvalidArgument: If there is nothing to resume, or `resume` is something else.
    """
    if resume is None or resume is False:
        return False
    found = can_resume(Path(root, name))
    if resume == "AUTO":
        return found
    if resume is True or resume == "LOCAL":
        if not found:
            raise InvalidArgument(
                "resume",
                f"there is no experiment in {Path(root, name)}.",
                "Give the `name` and `storage_path` of the one to go on with, or resume='AUTO' to "
                "begin a new one where there is none.",
            )
        return True
    if _is_known(resume):
        raise InvalidArgument(
            "resume",
            f"got {resume!r}, which is not supported yet.",
            "Give True, which leaves failed trials as they are.",
        )
    raise InvalidArgument(
        "resume", f"got {resume!r}.", 'It is True, False, "LOCAL" (the same as True) or "AUTO".'
    )


def _is_known(resume: Any) -> bool:
    """True if Ray Tune knows a mode that is none here."""
    if not isinstance(resume, str):
        return False
    mode, *suffixes = resume.split("+")
    if not suffixes:
        return mode in _NOT_YET
    modes = ("", "AUTO", "LOCAL", *_NOT_YET)
    return mode in modes and all(suffix in _SUFFIXES for suffix in suffixes)
