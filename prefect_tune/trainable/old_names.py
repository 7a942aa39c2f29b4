"""Supports class trainables with the method names of Ray before 0.8.7."""

from __future__ import annotations

import warnings

_CURRENT_NAMES = {
    "_train": "step",
    "_setup": "setup",
    "_save": "save_checkpoint",
    "_restore": "load_checkpoint",
    "_stop": "cleanup",
    "_log_result": "log_result",
}


def adopt_old_names(cls: type, base: type) -> None:
    """Add the current method names to a class that has those of Ray before 0.8.7.

    Applies only to a class with `_train`: in other classes `_save` is a method of the user's own,
    which must not be called.

    Args:
        cls: A subclass of `base`; one that defines `step` is left unchanged.
        base: The base class of trainables.
    """
    old = getattr(cls, "_train", None)
    if old is None or getattr(cls, "step", None) is not getattr(base, "step", None):
        return
    for before, today in _CURRENT_NAMES.items():
        method = getattr(cls, before, None)
        if method is not None and getattr(cls, today) is getattr(base, today):
            setattr(cls, today, method)
    warnings.warn(
        f"{cls.__name__} has the method names of Ray before 0.8.7. Rename "
        + ", ".join(f"`{before}` to `{today}`" for before, today in _CURRENT_NAMES.items())
        + ".",
        DeprecationWarning,
        stacklevel=3,
    )
