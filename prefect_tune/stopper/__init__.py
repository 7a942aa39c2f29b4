"""Stoppers, which end a trial or the whole experiment by its results or the time."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
