"""Loggers: callbacks that write the results of trials to files."""

from typing import Any

import lazy_loader

from prefect_tune._ray import missing_names

_load_name, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> Any:
    if name in __all__:
        return _load_name(name)
    raise missing_names.no_attribute(__name__, name)
