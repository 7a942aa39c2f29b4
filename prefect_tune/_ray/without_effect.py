"""Arguments and environment variables of Ray Tune that have no effect here, or no place."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from typing import Any

from prefect_tune.error import InvalidArgument, did_you_mean

#: Arguments that are ignored, and why they are not needed.
_NEEDLESS = {
    "_remote": "the script itself runs the sweep",
    "global_checkpoint_period": "every result is on disk as it comes",
    "queue_trials": "trials always wait for free resources",
    "ray_auto_init": "a local cluster is started unless `cluster` or `tune.init` names one",
    "sync_on_checkpoint": "everything is written to its final place",
    "sync_to_driver": "everything is written to its final place",
}
#: Arguments that are refused, and what to write instead.
_REPLACED = {
    "run_errored_only": 'Use `resume="ERRORED_ONLY"`.',
    "server_port": "Watch and cancel the flow run in the Prefect UI.",
    "sync_to_cloud": "Give `storage_path`.",
    "trial_executor": "Give `cluster` to say where trials run.",
    "upload_dir": "Give `storage_path`.",
    "with_server": "Watch and cancel the flow run in the Prefect UI.",
    "_experiment_checkpoint_dir": "Give `name` and `storage_path`.",
}
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


def check_other_arguments(given: Mapping[str, Any], known: Iterable[str]) -> None:
    """Raise an error or warn for arguments that `run` does not have.

    Ray Tune's arguments are accepted if they are None, False or empty. Arguments that are not
    needed here are ignored with a warning.

    Args:
        given: The arguments that `run` does not have.
        known: Names of the arguments that `run` has.

    Raises:
        InvalidArgument: If an argument of Ray Tune has to be replaced by another one here.
        TypeError: If there never was such an argument; the message names the most similar one.
    """
    for name, value in given.items():
        if name in _NEEDLESS:
            if value:
                warnings.warn(
                    f"`{name}` is not needed: {_NEEDLESS[name]}.", FutureWarning, stacklevel=3
                )
        elif name in _REPLACED:
            if value:
                raise InvalidArgument(name, "there is no such argument here.", _REPLACED[name])
        else:
            hint = did_you_mean(name, [*known, *_NEEDLESS, *_REPLACED])
            raise TypeError(f"run() has no argument `{name}`. {hint}".rstrip())


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
