"""The names that the methods of class trainables had before Ray 0.8.7."""

from __future__ import annotations

import warnings

_TODAY = {
    "_train": "step",
    "_setup": "setup",
    "_save": "save_checkpoint",
    "_restore": "load_checkpoint",
    "_stop": "cleanup",
    "_log_result": "log_result",
}


def adopt_old_names(cls: type, base: type) -> None:
    """Give a class written for those versions its methods under today's names.

    Only for a class whose training is `_train`: elsewhere a `_save` is a method of the user's own,
    which nobody else may call.

    Args:
        cls: A subclass of `base`; one that has today's `step` is left alone.
        base: The base class of trainables.
    """
    old = getattr(cls, "_train", None)
    if old is None or getattr(cls, "step", None) is not getattr(base, "step", None):
        return
    for before, today in _TODAY.items():
        method = getattr(cls, before, None)
        if method is not None and getattr(cls, today) is getattr(base, today):
            setattr(cls, today, method)
    warnings.warn(
        f"{cls.__name__} has the method names of Ray before 0.8.7. Rename "
        + ", ".join(f"`{before}` to `{today}`" for before, today in _TODAY.items())
        + ".",
        DeprecationWarning,
        stacklevel=3,
    )
