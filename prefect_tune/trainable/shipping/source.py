"""`TrainableSource`: a pickled trainable that is sent to the nodes."""

from __future__ import annotations

from dataclasses import dataclass

from prefect_tune.trainable.shipping.large_data import DataFile, DataParts
from prefect_tune.trainable.shipping.local_modules import ModuleSource


@dataclass(frozen=True, slots=True)
class TrainableSource:
    """Pickled trainable with everything that a node needs to load it.

    Attributes:
        name: Name of the trainable, for messages.
        pickled: cloudpickle of the callable (or class), without the objects in `data`.
        module: Module of the trainable, for error messages.
        sys_path: The driver's import path, which nodes append to their own.
        cwd: The driver's working directory.
        argv: The driver's command line.
        data: The trainable's large objects, if any: on the driver in memory, on nodes in a
            file.
        modules: Sources of modules next to the script, for nodes that lack them.
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
        """Bytes of the pickle and the large objects."""
        return len(self.pickled) + (0 if self.data is None else self.data.size)
