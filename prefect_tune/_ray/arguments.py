"""Arguments of `run` that Ray Tune had at one time and that have no place here."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from typing import Any

from prefect_tune.error import InvalidArgument, did_you_mean

#: Without an effect on what comes out; why nothing has to be done.
_NEEDLESS = {
    "_remote": "the script itself runs the sweep",
    "global_checkpoint_period": "every result is on disk as it comes",
    "queue_trials": "trials always wait for free resources",
    "ray_auto_init": "a local cluster is started unless `cluster` or `tune.init` names one",
    "sync_on_checkpoint": "everything is written to its final place",
    "sync_to_driver": "everything is written to its final place",
}
#: With an effect that cannot be had this way; what to write instead.
_REPLACED = {
    "run_errored_only": 'Use `resume="ERRORED_ONLY"`.',
    "server_port": "Watch and cancel the flow run in the Prefect UI.",
    "sync_to_cloud": "Give `storage_path`.",
    "trial_executor": "Give `cluster` to say where trials run.",
    "upload_dir": "Give `storage_path`.",
    "with_server": "Watch and cancel the flow run in the Prefect UI.",
    "_experiment_checkpoint_dir": "Give `name` and `storage_path`.",
}


def check_other_arguments(given: Mapping[str, Any], known: Iterable[str]) -> None:
    """Say what becomes of arguments that `run` does not have.

    Those that ask for nothing (None, False, an empty list) are passed over, and so are those that
    are needless here, with a warning.

    Args:
        given: The arguments.
        known: Names of the arguments there are.

    Raises:
        InvalidArgument: If something of Ray Tune's is asked for that is had in another way here.
        TypeError: If there never was such an argument; names the most similar one.
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
