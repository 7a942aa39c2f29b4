"""Imports trainables by their paths."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from typing import Any

from prefect_tune.error import InvalidTrainable, did_you_mean
from prefect_tune.trainable.shipping.local_modules import import_places


def load_trainable(path: str) -> Callable[..., Any]:
    """Import a trainable from ``package.module:name``, also from the working directory.

    Raises:
        InvalidTrainable: If the path has another form, or its module or attribute does not exist.
    """
    module_name, colon, attribute = path.partition(":")
    if not colon or not module_name or not attribute:
        raise InvalidTrainable(
            "trainable", f"got {path!r}.", "Give an import path like `package.module:function`."
        )
    if not {"", os.getcwd()} & set(sys.path):
        # Where a script of another directory or an installed command serves the flow.
        sys.path.insert(0, os.getcwd())
    try:
        found: Any = importlib.import_module(module_name)
    except ImportError as error:
        raise InvalidTrainable(
            "trainable",
            f"module `{module_name}` cannot be imported ({error}).",
            f"Install it, or put it where it is looked for: {import_places()}.",
        ) from error
    for name in attribute.split("."):
        if not hasattr(found, name):
            raise InvalidTrainable(
                "trainable",
                f"module `{module_name}` has no `{attribute}`.",
                did_you_mean(name, dir(found)),
            )
        found = getattr(found, name)
    if not callable(found):
        raise InvalidTrainable(
            "trainable", f"`{path}` is a {type(found).__name__}.", "Name a function."
        )
    loaded: Callable[..., Any] = found
    return loaded
