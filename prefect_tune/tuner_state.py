"""The arguments of a `Tuner` in its experiment directory, for `Tuner.restore`."""

from __future__ import annotations

import logging
import pickle
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cloudpickle

from prefect_tune.config import RunConfig, TuneConfig
from prefect_tune.error import InvalidArgument
from prefect_tune.storage.experiment_dir import TUNER_FILE, can_resume

_logger = logging.getLogger("prefect_tune")


@dataclass
class TunerState:
    """The arguments, as they were before anything ran.

    Attributes:
        param_space: The search space.
        tune_config: How it is searched.
        run_config: How it runs; `cluster` is left out.
    """

    param_space: Any
    tune_config: TuneConfig
    run_config: RunConfig

    def dump(self) -> bytes | None:
        """The pickled arguments; None, with a warning, if they cannot be pickled."""
        portable = replace(self, run_config=replace(self.run_config, cluster=None))
        try:
            pickled: bytes = cloudpickle.dumps(portable)
        except Exception as error:
            # Whatever a user's callback, searcher or stopper raises.
            _logger.warning(
                "Tuner.restore will not work for this experiment: its arguments cannot be pickled "
                "(%s: %s). tune.run(..., resume=True) will.",
                type(error).__name__,
                error,
            )
            return None
        return pickled


def is_restorable(path: Path) -> bool:
    """True if a directory is that of an experiment of a `Tuner`."""
    return can_resume(path) and (path / TUNER_FILE).is_file()


def load_state(path: Path) -> TunerState:
    """The arguments of the experiment in a directory, which may have been moved.

    Raises:
        InvalidArgument: If there is none, or it cannot be read.
    """
    if not is_restorable(path):
        raise InvalidArgument(
            "path",
            f"there is no experiment of a Tuner in {path}.",
            "Give an experiment directory; for an experiment of `tune.run` use `resume=True`.",
        )
    try:
        state = pickle.loads((path / TUNER_FILE).read_bytes())
    except Exception as error:
        # Unpickling imports the user's modules and may raise whatever they do.
        raise InvalidArgument(
            "path", f"{path / TUNER_FILE} cannot be read ({type(error).__name__}: {error})."
        ) from error
    if not isinstance(state, TunerState):
        raise InvalidArgument("path", f"{path / TUNER_FILE} was not written by a Tuner.")
    state.run_config = replace(
        state.run_config, name=path.name, storage_path=str(path.parent), local_dir=None
    )
    return state
