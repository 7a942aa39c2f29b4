"""The trainable on its way from the driver to the nodes: the parcel."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TrainableSource:
    """The trainable on its way to the nodes.

    Attributes:
        name: Its name for people.
        pickled: cloudpickle of the callable (or class).
        module: The module it lives in, for error messages.
        sys_path: The driver's import path, tried on the nodes after their own.
        cwd: The driver's working directory.
    """

    name: str
    pickled: bytes
    module: str
    sys_path: tuple[str, ...]
    cwd: str
