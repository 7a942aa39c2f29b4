"""Class trainables: one object per trial, one `step` per result."""

from __future__ import annotations

import os
import pickle
import tempfile
import time
from pathlib import Path
from typing import Any

from prefect_tune.checkpoint.dict_form import read_files, write_files
from prefect_tune.checkpoint.files import remove_tree
from prefect_tune.checkpoint.manifest import file_sizes
from prefect_tune.error import InvalidArgument, InvalidTrainable
from prefect_tune.resources import PlacementGroupFactory
from prefect_tune.trainable.auto_metrics import AutoMetrics
from prefect_tune.trainable.current import current_session
from prefect_tune.trainable.saved_state import directory_of, read_saved, write_saved


class Trainable:
    """Base class for training as an object.

    Override `setup`, `step` and, if need be, `cleanup`; `save_checkpoint` and `load_checkpoint` for
    trials that can be paused, retried and resumed where they were. The trial ends when a scheduler
    or stopper says so, or when `step` returns ``done=True``.

    Args:
        config: The trial's configuration.
    """

    def __init__(self, config: dict[str, Any] | None = None) -> None:
        self.config: dict[str, Any] = {} if config is None else config
        session = current_session()
        self._context = None if session is None else session.context
        self._metrics = AutoMetrics() if session is None else session.auto_metrics
        self.setup(self.config)

    def setup(self, config: dict[str, Any]) -> None:
        """Prepare the training; called once, before the first `step`."""

    def step(self) -> dict[str, Any]:
        """Train for one iteration and return its metrics.

        ``done=True`` in it ends the trial, ``should_checkpoint=True`` asks for a checkpoint.
        """
        raise NotImplementedError(f"{type(self).__name__} has no method `step`")

    def cleanup(self) -> None:
        """Release what `setup` took; called at the end, however the trial ends."""

    def save_checkpoint(self, checkpoint_dir: str) -> Any:
        """Write the state of the training.

        Args:
            checkpoint_dir: An empty directory to write it into.

        Returns:
            What `load_checkpoint` is to get: the path of something in the directory (wherever that
            is by then), a dict, which is pickled, or None for the directory itself.
        """
        raise NotImplementedError(f"{type(self).__name__} has no method `save_checkpoint`")

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Take the state of the training from what `save_checkpoint` returned."""
        raise NotImplementedError(f"{type(self).__name__} has no method `load_checkpoint`")

    def train(self) -> dict[str, Any]:
        """Do one `step`; its metrics, completed by the ones that every result has.

        Raises:
            InvalidTrainable: If `step` returns anything but a dict.
        """
        started = time.perf_counter()
        result = self.step()
        if not isinstance(result, dict):
            raise InvalidTrainable(
                "trainable",
                f"{type(self).__name__}.step() returned {type(result).__name__} ({result!r:.80}).",
                "It returns a dict of metrics.",
            )
        return self._metrics.complete({"time_this_iter_s": time.perf_counter() - started, **result})

    def save(self, checkpoint_dir: str | os.PathLike[str] | None = None) -> str:
        """Write a checkpoint.

        Args:
            checkpoint_dir: Where; created if need be. By default a new directory: in the trial's
                directory, or a temporary one outside a trial.

        Returns:
            The directory.

        Raises:
            InvalidTrainable: If `save_checkpoint` returns something it may not return.
        """
        if checkpoint_dir is None:
            checkpoint_dir = tempfile.mkdtemp(
                prefix=f"checkpoint_{self.iteration:06d}_", dir=self.logdir
            )
        directory = Path(os.path.abspath(checkpoint_dir))
        directory.mkdir(parents=True, exist_ok=True)
        saved = self.save_checkpoint(str(directory))
        write_saved(saved, directory, self._metrics.progress, type(self).__name__)
        return str(directory)

    def restore(self, checkpoint_path: str | os.PathLike[str]) -> None:
        """Go on from a checkpoint: iteration and totals are kept, ``*_since_restore`` begin at 0.

        Args:
            checkpoint_path: What `save` returned, or something in it; also a local `Checkpoint`.

        Raises:
            InvalidArgument: If it does not exist.
            CheckpointUnreadable: If it is damaged.
        """
        path = Path(os.path.abspath(checkpoint_path))
        if not path.exists():
            raise InvalidArgument("checkpoint_path", f"there is no {path}.")
        saved, progress = read_saved(directory_of(path))
        self.load_checkpoint(saved)
        self._metrics.restart(progress)

    def save_to_object(self) -> bytes:
        """The state of the training as bytes."""
        with tempfile.TemporaryDirectory(prefix="checkpoint_") as directory:
            self.save(directory)
            return pickle.dumps(read_files(Path(directory), file_sizes(directory)))

    def restore_from_object(self, obj: bytes) -> None:
        """Go on from what `save_to_object` returned; only for bytes that you trust."""
        with tempfile.TemporaryDirectory(prefix="checkpoint_") as directory:
            write_files(pickle.loads(obj), Path(directory))
            self.restore(directory)

    def delete_checkpoint(self, checkpoint_path: str | os.PathLike[str]) -> None:
        """Remove a checkpoint that `save` has written; no error if there is none."""
        remove_tree(directory_of(Path(os.path.abspath(checkpoint_path))))

    def stop(self) -> None:
        """End the training: calls `cleanup`."""
        self.cleanup()

    @property
    def iteration(self) -> int:
        """How many iterations are done, those of earlier attempts included."""
        return self._metrics.progress.iteration

    @property
    def training_iteration(self) -> int:
        """The same as `iteration`."""
        return self.iteration

    @property
    def logdir(self) -> str | None:
        """Directory of the trial on this node; None outside a trial."""
        return None if self._context is None else self._context.trial_dir

    @property
    def trial_id(self) -> str:
        """Id of the trial; ``default`` outside a trial."""
        return "default" if self._context is None else self._context.trial_id

    @property
    def trial_name(self) -> str:
        """Name of the trial; ``default`` outside a trial."""
        return "default" if self._context is None else self._context.trial_name

    @property
    def trial_resources(self) -> PlacementGroupFactory | None:
        """What is reserved for the trial, as one bundle; None outside a trial."""
        return None if self._context is None else PlacementGroupFactory([self._context.resources])

    def get_config(self) -> dict[str, Any]:
        """The trial's configuration."""
        return self.config


def can_save(trainable: type[Trainable]) -> bool:
    """True if a class can write checkpoints."""
    return trainable.save_checkpoint is not Trainable.save_checkpoint
