"""All public names of the package, so that ``from ray import tune`` becomes ``from prefect_tune``.

Each is loaded when it is first used: trial processes import this module with every trainable that
refers to `tune`.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prefect_tune.tune_run import run as run
    from prefect_tune.tune_run import run_experiments as run_experiments


def __getattr__(name: str) -> Any:
    # With a `__path__`, Python would import the submodules again under this module's name.
    if name.startswith("__"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module("prefect_tune"), name)
