"""Ray Tune's tools for scripts: `Tee`, `date_str`, `warn_if_slow` and checks of numbers."""

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
    """A stream whose writes go to two others, such as a console and a file.

    One that fails is warned about and does not keep anything from the other. It cannot be read.

    Args:
        stream1: The first stream; `encoding`, `error` and `newlines` are its own.
        stream2: The second.
    """

    def __init__(self, stream1: Any, stream2: Any) -> None:
        self.stream1 = stream1
        self.stream2 = stream2

    def write(self, *args: Any, **kwargs: Any) -> None:
        """Write to both."""
        self._both("write", args, kwargs)

    def flush(self, *args: Any, **kwargs: Any) -> None:
        """Flush both."""
        self._both("flush", args, kwargs)

    def seek(self, *args: Any, **kwargs: Any) -> None:
        """Move both."""
        self._both("seek", args, kwargs)

    def _both(self, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        for stream in (self.stream1, self.stream2):
            try:
                getattr(stream, method)(*args, **kwargs)
            except (OSError, ValueError) as error:  # a full disk, a closed file
                _logger.warning("%r failed in %s: %s", stream, method, error)

    @property
    def encoding(self) -> Any:
        """That of the first stream."""
        return self.stream1.encoding

    @property
    def error(self) -> Any:
        """That of the first stream."""
        return self.stream1.error

    @property
    def newlines(self) -> Any:
        """That of the first stream."""
        return self.stream1.newlines

    def detach(self) -> None:
        """Not possible.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError("A Tee cannot be detached.")

    def read(self, *args: Any, **kwargs: Any) -> None:
        """Not possible.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError("A Tee is for writing.")

    def readline(self, *args: Any, **kwargs: Any) -> None:
        """Not possible.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError("A Tee is for writing.")

    def tell(self, *args: Any, **kwargs: Any) -> None:
        """Not possible: its streams may be at different places.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError("A Tee has no position.")


def date_str() -> str:
    """The time now as names of directories have it: ``2026-01-31_23-59-59``."""
    return date_string(time.time())


def is_nan(value: Any) -> Any:
    """True for NaN; for an array of numpy, an array that says so of each number."""
    return np.isnan(value)


def is_nan_or_inf(value: Any) -> Any:
    """True for NaN and infinity; for an array of numpy, an array that says so of each number."""
    return ~np.isfinite(value)


class warn_if_slow:  # noqa: N801  Ray Tune's name
    """Warn if a block takes long: ``with warn_if_slow("load_data"): ...``.

    Args:
        name: What the block does.
        threshold: Seconds; default `TUNE_WARN_THRESHOLD_S`.
        message: What to say, with ``{name}`` and ``{duration}`` in it.
        disable: Say nothing.
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
