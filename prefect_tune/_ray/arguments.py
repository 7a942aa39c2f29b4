"""Arguments of Ray Tune's `run` that `prefect_tune.run` ignores or refuses."""

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
