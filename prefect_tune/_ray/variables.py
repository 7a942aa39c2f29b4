"""Environment variables of Ray Tune that have no effect in this package."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

_NO_PLACEMENT_GROUPS = "there are no placement groups: a trial's resources are reserved on one node"
_BATCHES = "results travel in batches wherever nothing can be decided about them"
_NO_BLOCKING_SYNC = "nothing waits for files to be copied"

#: The variables, and why each has no effect.
WITHOUT_EFFECT = {
    "TUNE_CLUSTER_SSH_KEY": "nodes are reached through Dask, without SSH",
    "TUNE_FUNCTION_THREAD_TIMEOUT_S": "a function runs in a process, which ends with its trial",
    "TUNE_GET_EXECUTOR_EVENT_WAIT_S": "the sweep goes on as soon as something happens",
    "TUNE_ONLY_STORE_CHECKPOINT_SCORE_ATTRIBUTE": "results of checkpoints are kept compressed",
    "TUNE_PLACEMENT_GROUP_AUTO_DISABLED": _NO_PLACEMENT_GROUPS,
    "TUNE_PLACEMENT_GROUP_CLEANUP_DISABLED": _NO_PLACEMENT_GROUPS,
    "TUNE_PLACEMENT_GROUP_PREFIX": _NO_PLACEMENT_GROUPS,
    "TUNE_PLACEMENT_GROUP_RECON_INTERVAL": _NO_PLACEMENT_GROUPS,
    "TUNE_PLACEMENT_GROUP_WAIT_S": _NO_PLACEMENT_GROUPS,
    "TUNE_RESTORE_RETRY_NUM": "a checkpoint that cannot be fetched or loaded never counts as a "
    "failure; see PREFECT_TUNE_MAX_LOST",
    "TUNE_RESULT_BUFFER_LENGTH": _BATCHES,
    "TUNE_RESULT_BUFFER_MAX_TIME_S": _BATCHES,
    "TUNE_RESULT_BUFFER_MIN_TIME_S": _BATCHES,
    "TUNE_STATE_REFRESH_PERIOD": "changes of the cluster are known as they happen",
    "TUNE_SYNCER_VERBOSITY": "the logger prefect_tune.storage reports copying",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": _NO_BLOCKING_SYNC,
    "TUNE_WARN_SLOW_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": _NO_BLOCKING_SYNC,
    "RAY_AIR_NEW_OUTPUT": "`verbose` and `progress_reporter` say how progress is shown",
}
_warned: set[str] = set()


def warn_about_ray_variables(environ: Mapping[str, str]) -> None:
    """Warn once per process of each set variable of Ray Tune, and say why it has no effect."""
    for name, reason in WITHOUT_EFFECT.items():
        value = environ.get(name, "")
        if value and name not in _warned:
            _warned.add(name)
            warnings.warn(
                f"The environment variable {name} has no effect: {reason}.",
                UserWarning,
                stacklevel=3,
            )
