"""One stream for two."""

from __future__ import annotations

import logging
from typing import Any

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
