"""Saves the arguments of a `Tuner` in its experiment directory, and loads them again."""

from __future__ import annotations

import logging
import os
import posixpath
from dataclasses import dataclass, replace
from typing import Any

import cloudpickle

from prefect_tune.config import RunConfig, TuneConfig
from prefect_tune.error import InvalidArgument
from prefect_tune.experiment.pickling.encryption import EncryptedWithOtherKey, decrypt
from prefect_tune.experiment.pickling.signing import Pickles, Untrusted
from prefect_tune.filesystem.location import Location
from prefect_tune.filesystem.retry import FOREGROUND
from prefect_tune.filesystem.store import open_store
from prefect_tune.storage.experiment_dir import TRAINABLE_FILE, TUNER_FILE
from prefect_tune.storage.fetch import is_resumable

_logger = logging.getLogger("prefect_tune")


@dataclass
class TunerState:
    """The arguments of a `Tuner`, as they were before its sweep ran.

    Attributes:
        param_space: The search space.
        tune_config: How the space is searched.
        run_config: How the experiment runs; saved without `cluster` and without credentials.
        registered: The name of the trainable, if it was given by a registered name.
    """

    param_space: Any
    tune_config: TuneConfig
    run_config: RunConfig
    registered: str | None = None

    def dump(self) -> bytes | None:
        """Return the pickled arguments; warn and return None if they cannot be pickled."""
        run = self.run_config
        portable = replace(
            self,
            run_config=replace(
                run,
                cluster=None,
                storage_path=_without_secrets(run.storage_path),
                storage_filesystem=None,
            ),
        )
        try:
            pickled: bytes = cloudpickle.dumps(portable)
        except Exception as error:
            # A user's callback, searcher or stopper may raise anything.
            _logger.warning(
                "Tuner.restore will not work for this experiment: its arguments cannot be pickled "
                "(%s: %s). tune.run(..., resume=True) will.",
                type(error).__name__,
                error,
            )
            return None
        return pickled


def _without_secrets(storage_path: Any) -> Any:
    """Return a storage path without credentials; `Tuner.restore` gets the path again anyway."""
    if storage_path is None or isinstance(storage_path, (str, os.PathLike)):
        return storage_path
    location = getattr(storage_path, "get_location", lambda: storage_path)()
    return location.url if isinstance(location, Location) else None


def is_restorable(location: Location) -> bool:
    """Return True if a location holds an experiment of a `Tuner`.

    Raises:
        StorageError: If the storage cannot be read.
    """
    if not is_resumable(location):
        return False
    return open_store(location, FOREGROUND).read(TUNER_FILE) is not None


def load_state(location: Location, pickles: Pickles) -> TunerState:
    """Load the arguments of a `Tuner` from its experiment, which may have been moved.

    Args:
        location: Location of the experiment.
        pickles: Decides which pickles may be loaded.

    Raises:
        InvalidArgument: If there is no experiment of a `Tuner`, or it cannot be loaded.
        StorageError: If the storage cannot be read.
    """
    data = open_store(location, FOREGROUND).read(TUNER_FILE) if is_resumable(location) else None
    if data is None:
        raise InvalidArgument(
            "path",
            f"there is no experiment of a Tuner in {location}.",
            "Give an experiment directory; for an experiment of `tune.run` use `resume=True`.",
        )
    state = _load_pickle(data, location, TUNER_FILE, pickles)
    if not isinstance(state, TunerState):
        raise InvalidArgument("path", f"{location / TUNER_FILE} was not written by a Tuner.")
    state.run_config = replace(state.run_config, **_storage_arguments(state.run_config, location))
    return state


def load_trainable(location: Location, state: TunerState, pickles: Pickles) -> Any:
    """Load the saved trainable of an experiment, or return its registered name.

    Args:
        location: Location of the experiment.
        state: The other arguments of the `Tuner`.
        pickles: Decides which pickles may be loaded.

    Raises:
        InvalidArgument: If the trainable was not saved, or cannot be loaded here.
        StorageError: If the storage cannot be read.
    """
    if state.registered is not None:
        return state.registered
    data = open_store(location, FOREGROUND).read(TRAINABLE_FILE)
    if data is None:
        raise InvalidArgument(
            "trainable",
            f"it was not saved in {location}.",
            "Give the trainable of the experiment.",
        )
    return _load_pickle(data, location, TRAINABLE_FILE, pickles)


def _load_pickle(data: bytes, location: Location, name: str, pickles: Pickles) -> Any:
    argument = "trainable" if name == TRAINABLE_FILE else "path"
    try:
        return pickles.load_signed(name, decrypt(pickles, data))
    except (EncryptedWithOtherKey, Untrusted) as error:
        parent, name_there = posixpath.split(location.url)
        instead = (
            "Or give the trainable."
            if name == TRAINABLE_FILE
            else "Or give all arguments anew, which needs no pickle of them: tune.run(..., "
            f"name={name_there!r}, storage_path={parent!r}, resume=True)."
        )
        raise InvalidArgument(
            argument, f"{location / name} is not loaded: {error}", instead
        ) from None
    except Exception as error:
        # Unpickling imports the user's modules, which may raise anything.
        raise InvalidArgument(
            argument,
            f"{location / name} cannot be read ({type(error).__name__}: {error}).",
            "Restore it where the same modules can be imported.",
        ) from error


def _storage_arguments(run: RunConfig, location: Location) -> dict[str, Any]:
    """Return the fields of `RunConfig` that make the experiment go on where it was found."""
    url = location.url.removeprefix("file://") if location.is_local else location.url
    parent, name = posixpath.split(url)
    if not location.is_local:
        here = run.local_dir if run.local_dir and os.path.isdir(run.local_dir) else None
        return {
            "name": name,
            "storage_path": replace(location, url=parent),
            "local_dir": here,
        }
    if isinstance(run.storage_path, str) and not Location(run.storage_path).is_local:
        # The experiment is in remote storage, and `location` is its local directory.
        return {"name": name, "local_dir": parent}
    return {"name": name, "storage_path": parent, "local_dir": None}
