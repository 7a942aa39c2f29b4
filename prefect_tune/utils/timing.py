"""Names with times, and warnings about what takes long."""

from __future__ import annotations

import logging
import time
from types import TracebackType

from prefect_tune.settings import load_settings
from prefect_tune.storage.layout import date_string

_logger = logging.getLogger("prefect_tune")


def date_str() -> str:
    """The time now as names of directories have it: ``2026-01-31_23-59-59``."""
    return date_string(time.time())


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
