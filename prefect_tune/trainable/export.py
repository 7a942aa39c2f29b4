"""Formats in which trials export their models."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from prefect_tune.error import InvalidArgument


class ExportFormat:
    """Names of formats for `Trainable.export_model`."""

    CHECKPOINT = "checkpoint"
    MODEL = "model"
    ONNX = "onnx"
    H5 = "h5"

    @staticmethod
    def validate(formats: list[str]) -> None:
        """Check names of formats, and convert the list `formats` to lower case in place.

        Raises:
            InvalidArgument: If a format is unknown.
        """
        formats[:] = export_formats(formats)


_KNOWN = (ExportFormat.CHECKPOINT, ExportFormat.MODEL, ExportFormat.ONNX, ExportFormat.H5)
_RIGHT = f"Known are {', '.join(_KNOWN)}."


def export_formats(given: Any, allow_others: bool = False) -> tuple[str, ...]:
    """Parse and check names of formats.

    Args:
        given: One name, several, or None.
        allow_others: True if the trainable may have formats of its own.

    Raises:
        InvalidArgument: If a format is unknown, or `given` is something else.
    """
    if given is None:
        return ()
    names = [given] if isinstance(given, str) else given
    if not isinstance(names, Iterable):
        raise InvalidArgument("export_formats", f"got {given!r:.80}.", _RIGHT)
    found = tuple(name.strip().lower() if isinstance(name, str) else name for name in names)
    for name in found:
        if name not in _KNOWN and not (allow_others and isinstance(name, str)):
            raise InvalidArgument("export_formats", f"there is no format {name!r:.80}.", _RIGHT)
    return found
