"""Ray Tune's small tools for scripts: `Tee`, `date_str`, `warn_if_slow` and checks of numbers."""

from __future__ import annotations

import logging
import time
from types import TracebackType
from typing import Any

import numpy as np

from prefect_tune.settings import load_settings
from prefect_tune.storage.layout import date_string

_logger = logging.getLogger("prefect_tune")


class Tee:
    """A stream that writes to two other streams, such as a console and a file.

    If one of them fails, a warning is logged and the other still gets the text. A `Tee` cannot be
    read.

    Args:
        stream1: The first stream; `encoding`, `error` and `newlines` are its own.
        stream2: The second.
    """

    def __init__(self, stream1: Any, stream2: Any) -> None:
        self.stream1 = stream1
        self.stream2 = stream2

    def write(self, *args: Any, **kwargs: Any) -> None:
        """Write to both streams."""
        self._both("write", args, kwargs)

    def flush(self, *args: Any, **kwargs: Any) -> None:
        """Flush both streams."""
        self._both("flush", args, kwargs)

    def seek(self, *args: Any, **kwargs: Any) -> None:
        """Set the position of both streams."""
        self._both("seek", args, kwargs)

    def _both(self, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        for stream in (self.stream1, self.stream2):
            try:
                getattr(stream, method)(*args, **kwargs)
            except (OSError, ValueError) as error:  # a full disk, a closed file
                _logger.warning("%r failed in %s: %s", stream, method, error)

    @property
    def encoding(self) -> Any:
        """The encoding of the first stream."""
        return self.stream1.encoding

    @property
    def error(self) -> Any:
        """The `error` attribute of the first stream."""
        return self.stream1.error

    @property
    def newlines(self) -> Any:
        """The newlines of the first stream."""
        return self.stream1.newlines

    def read(self, *args: Any, **kwargs: Any) -> None:
        """Raise: a `Tee` is for writing, and its streams may be at different positions.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError("A Tee is for writing, has no position and cannot be detached.")

    readline = tell = detach = read


def date_str() -> str:
    """Return the time now in the form of directory names: ``2026-01-31_23-59-59``."""
    return date_string(time.time())


def is_nan(value: Any) -> Any:
    """Return True for NaN; for a numpy array, return an array of booleans."""
    return np.isnan(value)


def is_nan_or_inf(value: Any) -> Any:
    """Return True for NaN and infinity; for a numpy array, return an array of booleans."""
    return ~np.isfinite(value)


class warn_if_slow:  # noqa: N801  Ray Tune's name
    """Logs a warning if a block is slow: ``with warn_if_slow("load_data"): ...``.

    Args:
        name: Name of the block, for the warning.
        threshold: Seconds from which on the block is slow; default `TUNE_WARN_THRESHOLD_S`.
        message: Text of the warning, with ``{name}`` and ``{duration}`` in it.
        disable: True logs no warning.
    """

    def __init__(
        self,
        name: str,
        threshold: float | None = None,
        message: str | None = None,
        disable: bool = False,
    ) -> None:
        self._name = name
        self._threshold = load_settings().warn_threshold_s if threshold is None else threshold
        self._message = message or "`{name}` took {duration:.3f} s, which may hold things up."
        self._disable = disable

    def __enter__(self) -> warn_if_slow:
        self._start = time.perf_counter()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        duration = time.perf_counter() - self._start
        if duration > self._threshold and not self._disable:
            _logger.warning(self._message.format(name=self._name, duration=duration))
