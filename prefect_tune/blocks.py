"""Prefect blocks: where experiments are stored, and on which cluster they run.

Register them with ``prefect block register -m prefect_tune.blocks``, fill them in in the UI or save
them from Python. ``block://tune-storage/NAME`` is a storage path, ``block://dask-cluster/NAME`` a
cluster.
"""

from prefect_tune.orchestration.blocks.dask_cluster import (
    DaskAddress,
    DaskClass,
    DaskCluster,
    LocalDask,
    load_cluster,
)
from prefect_tune.orchestration.blocks.tune_storage import TuneStorage, load_storage

__all__ = [
    "DaskAddress",
    "DaskClass",
    "DaskCluster",
    "LocalDask",
    "TuneStorage",
    "load_cluster",
    "load_storage",
]
