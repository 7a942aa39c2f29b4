"""Ray Tune's import path of tools for those who write trainables."""

from prefect_tune.nested import (
    deep_update,
    flatten_dict,
    merge_dicts,
    unflatten_dict,
    unflattened_lookup,
)
from prefect_tune.tools import date_str, warn_if_slow
from prefect_tune.trainable.gpu_wait import wait_for_gpu
from prefect_tune.trainable.shipping.checks import diagnose_serialization, validate_save_restore
from prefect_tune.trainable.system_usage import UtilMonitor

__all__ = [
    "UtilMonitor",
    "date_str",
    "deep_update",
    "diagnose_serialization",
    "flatten_dict",
    "merge_dicts",
    "unflatten_dict",
    "unflattened_lookup",
    "validate_save_restore",
    "wait_for_gpu",
    "warn_if_slow",
]
