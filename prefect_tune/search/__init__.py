"""Search algorithms, which choose the configurations to try."""

from typing import Any

import lazy_loader

from prefect_tune._ray import paths

_load_name, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> Any:
    if name in __all__:
        return _load_name(name)
    return paths.attribute(__name__, name)
