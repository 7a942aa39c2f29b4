"""The trainable on its way from the driver to the nodes: the parcel."""

from __future__ import annotations

from dataclasses import dataclass

from prefect_tune.trainable.shipping.large_data import DataFile, DataParts
from prefect_tune.trainable.shipping.local_modules import ModuleSource


@dataclass(frozen=True, slots=True)
class TrainableSource:
    """The trainable on its way to the nodes.

    Attributes:
        name: Its name for people.
        pickled: cloudpickle of the callable (or class), without what is in `data`.
        module: The module it lives in, for error messages.
        sys_path: The driver's import path, tried on the nodes after their own.
        cwd: The driver's working directory.
        argv: The driver's command line.
        data: Its large objects; None if it has none. On the driver where they are, on nodes in a
            file.
        modules: Sources of modules beside the script, for nodes that lack them.
    """

    name: str
    pickled: bytes
    module: str
    sys_path: tuple[str, ...]
    cwd: str
    argv: tuple[str, ...] = ()
    data: DataParts | DataFile | None = None
    modules: tuple[ModuleSource, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of all its parts."""
        return len(self.pickled) + (0 if self.data is None else self.data.size)
