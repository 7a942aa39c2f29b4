"""Prefect blocks for the storage of experiments, Dask clusters, and defaults that a team shares.

Register them with ``prefect block register -m prefect_tune.blocks``, fill them in in the UI or save
them from Python. ``block://tune-storage/NAME`` is a storage path, ``block://dask-cluster/NAME`` a
cluster, and ``block://experiment-defaults/NAME`` has values for an experiment's empty fields.
"""

from prefect_tune.orchestration.blocks.dask_cluster import (
    DaskAddress,
    DaskClass,
    DaskCluster,
    LocalDask,
    load_cluster,
)
from prefect_tune.orchestration.blocks.experiment_defaults import ExperimentDefaults, Notification
from prefect_tune.orchestration.blocks.tune_storage import TuneStorage, load_storage

__all__ = [
    "DaskAddress",
    "DaskClass",
    "DaskCluster",
    "ExperimentDefaults",
    "LocalDask",
    "Notification",
    "TuneStorage",
    "load_cluster",
    "load_storage",
]
