"""Hyper-parameter tuning as Prefect flows on Dask clusters, with Ray Tune's API.

``import prefect_tune as tune`` gives every public name. `__init__.pyi` lists them; each is loaded
when it is first used: importing the package itself imports neither Prefect nor Dask nor numpy.
"""

import importlib
from typing import Any

import lazy_loader

from prefect_tune import parse_lock
from prefect_tune._ray import paths

paths.install()
parse_lock.install()

#: Modules that are attributes of the package, as in `tune.schedulers.ASHAScheduler`.
_MODULES = frozenset(
    "callback control error experiment logger registry resources result schedulers "
    "search space stopper trainable tune tuner".split()
)
_load_name, _, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> Any:
    if name in __all__:
        return _load_name(name)
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    return paths.attribute(__name__, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_MODULES, *paths.PATHS})
