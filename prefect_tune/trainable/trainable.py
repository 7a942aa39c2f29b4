"""`Trainable`: base class of class trainables, with one `step` per result."""

from __future__ import annotations

import datetime
import logging
import os
import pickle
import tempfile
import time
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from prefect_tune.checkpoint.conversion import SAVED_FILE, read_files, write_files
from prefect_tune.checkpoint.files import remove_tree
from prefect_tune.checkpoint.manifest import file_sizes
from prefect_tune.error import InvalidArgument, InvalidTrainable
from prefect_tune.resources import PlacementGroupFactory
from prefect_tune.trainable.node_usage import UtilMonitor
from prefect_tune.trainable.runtime.attempt_session import current_session
from prefect_tune.trainable.runtime.config_changes import copy_of_containers
from prefect_tune.trainable.runtime.metrics import AutoMetrics, constant_metrics
from prefect_tune.trainable.runtime.saved_state import directory_of, read_saved, write_saved

_logger = logging.getLogger("prefect_tune")
#: Names of methods in Ray before 0.8.7, and their names today.
_CURRENT_NAMES = {
    "_train": "step",
    "_setup": "setup",
    "_save": "save_checkpoint",
    "_restore": "load_checkpoint",
    "_stop": "cleanup",
    "_log_result": "log_result",
}
#: Seconds after which a slow `setup` is warned about.
SLOW_SETUP_S = 10.0
_DEBUG_METRICS = """
    trial_id experiment_id date timestamp time_this_iter_s time_total_s pid hostname node_ip
""".split()


class ExportFormat:
    """Names of formats for `Trainable.export_model`."""

    CHECKPOINT = "checkpoint"
    MODEL = "model"
    ONNX = "onnx"
    H5 = "h5"

    @staticmethod
    def validate(formats: list[str]) -> None:
        """Check names of formats, and convert the list `formats` to lower case in place.

        Raises:
            InvalidArgument: If a format is unknown.
        """
        formats[:] = parse_export_formats(formats)


_KNOWN = (ExportFormat.CHECKPOINT, ExportFormat.MODEL, ExportFormat.ONNX, ExportFormat.H5)
_RIGHT = f"Known are {', '.join(_KNOWN)}."


class Trainable:
    """Base class of class trainables.

    Override `setup`, `step` and, if needed, `cleanup`; `save_checkpoint` and `load_checkpoint` for
    trials that can be paused, retried and resumed; `reset_config` for objects that
    can be reused for several trials. The trial ends when a scheduler or stopper decides so, or when
    `step` returns ``done=True``.

    Args:
        config: The trial's configuration. ``log_sys_usage=True`` in it adds `perf/cpu_util_percent`
            and `perf/ram_util_percent`, of the whole node, to each result.
        logger_creator: Accepted; loggers are callbacks of the experiment.
        storage: Accepted without effect; the experiment decides where checkpoints go.
    """

    def __init__(
        self, config: dict[str, Any] | None = None, logger_creator: Any = None, storage: Any = None
    ) -> None:
        self.config: dict[str, Any] = {} if config is None else config
        self._own_logdir: str | None = None
        self._draft: str | None = None
        self._join_session()
        self._usage = UtilMonitor() if self.config.get("log_sys_usage") is True else None
        started = time.perf_counter()
        # As in Ray Tune, what `setup` takes out of its argument stays in `self.config`.
        self.setup(copy_of_containers(self.config))
        took = time.perf_counter() - started
        if took > SLOW_SETUP_S:
            _logger.warning(
                "%s.setup() took %.0f s, in each trial anew. Data that all trials share can be "
                "loaded once and given with `tune.with_parameters(%s, data=...)`; with "
                "`reuse_actors=True` and a `reset_config` an object serves many trials.",
                type(self).__name__,
                took,
                type(self).__name__,
            )

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        _adopt_old_names(cls)

    def _join_session(self) -> None:
        session = current_session()
        self._context = None if session is None else session.context
        self._metrics = AutoMetrics() if session is None else session.auto_metrics

    @classmethod
    def default_resource_request(cls, config: dict[str, Any]) -> Any:
        """Return the resources of a trial; override it in place of `resources_per_trial`.

        Args:
            config: The trial's configuration.

        Returns:
            A dict as for `resources_per_trial`, a `PlacementGroupFactory`, or None for one CPU.
        """
        return None

    @classmethod
    def resource_help(cls, config: dict[str, Any]) -> str:
        """Return a hint for users whose trials wait for resources; may be overridden.

        Args:
            config: A trial's configuration.
        """
        return ""

    def setup(self, config: dict[str, Any]) -> None:
        """Prepare the training; called once, before the first `step`."""

    def step(self) -> dict[str, Any]:
        """Train for one iteration and return its metrics.

        The metric ``done=True`` ends the trial, ``should_checkpoint=True`` requests a checkpoint.
        """
        raise NotImplementedError(f"{type(self).__name__} has no method `step`")

    def cleanup(self) -> None:
        """Release the resources of `setup`; called at the end, however the trial ends.

        An object that is reused for several trials is cleaned up after the last one.
        """

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Reset the object to the state of a new one with this configuration.

        Called if the experiment has `reuse_actors=True`, in place of a new object's `setup`;
        `config`, ids, names and directory are already those of the new trial.

        Args:
            new_config: The configuration of the next trial.

        Returns:
            True if the object was reset; any other value fails the trial.
        """
        return False

    def log_result(self, result: dict[str, Any]) -> None:
        """Process a result before it is reported, in the trial's process; may be overridden.

        Args:
            result: All metrics, including the automatic ones; changes in it are reported.
        """

    def export_model(
        self, export_formats: str | list[str], export_dir: str | None = None
    ) -> dict[str, str]:
        """Write the trained model; override it or `_export_model`.

        Called at the end of each trial if the experiment has `export_formats`.

        Args:
            export_formats: One or several names of `ExportFormat`.
            export_dir: Directory to write into; by default the trial's directory.

        Returns:
            The path of the exported model for each format.

        Raises:
            InvalidArgument: If a format is unknown.
        """
        formats = list(
            parse_export_formats(export_formats, allow_others=has_own_formats(type(self)))
        )
        exported: dict[str, str] = self._export_model(formats, export_dir or self.logdir)
        return exported

    def _export_model(self, export_formats: list[str], export_dir: str) -> dict[str, str]:
        return {}

    def save_checkpoint(self, checkpoint_dir: str) -> Any:
        """Write the state of the training.

        Args:
            checkpoint_dir: An empty directory to write into.

        Returns:
            The argument for `load_checkpoint`: a path in the directory (adjusted if the directory
            moves), a dict, which is pickled, or None for the directory itself.
        """
        raise NotImplementedError(f"{type(self).__name__} has no method `save_checkpoint`")

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Restore the state of the training from `checkpoint`, which `save_checkpoint` returned."""
        raise NotImplementedError(f"{type(self).__name__} has no method `load_checkpoint`")

    def train(self) -> dict[str, Any]:
        """Run one `step`; return its metrics with the automatic ones.

        Raises:
            InvalidTrainable: If `step` returns anything but a dict.
        """
        started = time.perf_counter()
        result = self.step()
        check_result(self, "step", result)
        result = self._metrics.complete(
            {"time_this_iter_s": time.perf_counter() - started, **result}
        )
        if self._usage is not None:
            result.update(self._usage.get_data())
        in_trial = self._context is not None
        if in_trial and type(self).log_result is Trainable.log_result:
            return result
        constants = constant_metrics(self._context, self.config)
        result = {**constants, **result}
        self.log_result(result)
        if in_trial:  # the driver adds the constants to each result
            for name, value in constants.items():
                if result.get(name) is value:
                    del result[name]
        return result

    def train_buffered(
        self, buffer_time_s: float, max_buffer_length: int = 1000
    ) -> list[dict[str, Any]]:
        """Run several steps.

        Args:
            buffer_time_s: Seconds after which no further step is started.
            max_buffer_length: How many steps to run at most.

        Returns:
            The results; the last one may have ``done=True``.
        """
        until = time.perf_counter() + buffer_time_s
        results: list[dict[str, Any]] = []
        while len(results) < max_buffer_length:
            result = self.train()
            results.append(result)
            if result["done"] or result.get("should_checkpoint") or time.perf_counter() > until:
                break
        return results

    def get_auto_filled_metrics(
        self,
        now: datetime.datetime | None = None,
        time_this_iter: float | None = None,
        timestamp: int | None = None,
        debug_metrics_only: bool = False,
    ) -> dict[str, Any]:
        """Return the current values of the automatic metrics.

        Args:
            now: Time for `date` and `timestamp`; by default the current time.
            time_this_iter: Seconds of the current iteration.
            timestamp: Value of `timestamp`; by default that of `now`.
            debug_metrics_only: Leave out the configuration and totals of steps.
        """
        moment = datetime.datetime.now() if now is None else now
        metrics = constant_metrics(self._context, self.config)
        metrics.update(self._metrics.totals(time_this_iter))
        metrics["date"] = moment.strftime("%Y-%m-%d_%H-%M-%S")
        metrics["timestamp"] = int(moment.timestamp()) if timestamp is None else timestamp
        if debug_metrics_only:
            return {name: metrics[name] for name in _DEBUG_METRICS if name in metrics}
        return metrics

    def reset(self, new_config: dict[str, Any], logger_creator: Any = None) -> bool:
        """Prepare the object for another trial.

        Args:
            new_config: The configuration of the other trial.
            logger_creator: Accepted; loggers are callbacks of the experiment.

        Returns:
            False if `reset_config` returned a false value.
        """
        self._join_session()
        self.config = new_config
        return bool(self.reset_config(new_config))

    def save(self, checkpoint_dir: str | os.PathLike[str] | None = None) -> str:
        """Write a checkpoint of the training.

        Args:
            checkpoint_dir: Parent of its directory, ``checkpoint_`` and the iteration; one of
                the same iteration is replaced. By default a new directory: in the trial's
                directory, or a temporary one outside a trial.

        Returns:
            The directory of the checkpoint.

        Raises:
            InvalidTrainable: If `save_checkpoint` returns an invalid value.
        """
        if self._draft is not None:
            return self._save_into(self._draft)
        name = f"checkpoint_{self.iteration:06d}"
        if checkpoint_dir is None:
            directory = Path(tempfile.mkdtemp(prefix=f"{name}_", dir=self.logdir))
        else:
            directory = Path(os.path.abspath(checkpoint_dir), name)
            if (directory / SAVED_FILE).is_file():
                remove_tree(directory)
        return self._save_into(directory)

    def _save_into(self, checkpoint_dir: str | os.PathLike[str]) -> str:
        """Write a checkpoint into a directory."""
        directory = Path(os.path.abspath(checkpoint_dir))
        directory.mkdir(parents=True, exist_ok=True)
        saved = self.save_checkpoint(str(directory))
        write_saved(saved, directory, self._metrics.progress, type(self).__name__)
        return str(directory)

    def restore(self, checkpoint_path: str | os.PathLike[str]) -> None:
        """Restore a checkpoint, with iteration and totals; ``*_since_restore`` start at 0.

        Args:
            checkpoint_path: The return value of `save`, a path in it, or a local `Checkpoint`.

        Raises:
            InvalidArgument: If the path does not exist.
            CheckpointUnreadable: If the checkpoint is damaged.
        """
        path = Path(os.path.abspath(checkpoint_path))
        if not path.exists():
            raise InvalidArgument("checkpoint_path", f"there is no {path}.")
        saved, progress = read_saved(directory_of(path))
        self.load_checkpoint(saved)
        self._metrics.restart(progress)

    def save_to_object(self) -> bytes:
        """Return the state of the training as bytes."""
        with tempfile.TemporaryDirectory(prefix="checkpoint_") as directory:
            self._save_into(directory)
            return pickle.dumps(read_files(Path(directory), file_sizes(directory)))

    def restore_from_object(self, obj: bytes) -> None:
        """Restore the state in `obj`, which `save_to_object` returned; only for trusted bytes."""
        with tempfile.TemporaryDirectory(prefix="checkpoint_") as directory:
            write_files(pickle.loads(obj), Path(directory))
            self.restore(directory)

    def delete_checkpoint(self, checkpoint_path: str | os.PathLike[str]) -> None:
        """Remove the checkpoint that `save` has written to `checkpoint_path`, if it exists."""
        remove_tree(directory_of(Path(os.path.abspath(checkpoint_path))))

    def stop(self) -> None:
        """End the training and call `cleanup`."""
        if self._usage is not None:
            self._usage.stop()
        self.cleanup()

    @property
    def iteration(self) -> int:
        """How many iterations are done, including earlier attempts."""
        return self._metrics.iteration

    # Ray Tune's own counter: classes for it use it in file names, and some start it at -1.
    @property
    def _iteration(self) -> int:
        return self._metrics.iteration

    @_iteration.setter
    def _iteration(self, value: int) -> None:
        self._metrics.iteration = value

    #: The same as `iteration`.
    training_iteration = iteration

    @property
    def logdir(self) -> str:
        """Directory of the trial on this node; outside a trial a temporary directory."""
        if self._context is not None:
            return self._context.trial_dir
        if self._own_logdir is None:
            self._own_logdir = tempfile.mkdtemp(prefix=f"{type(self).__name__}_")
        return self._own_logdir

    @property
    def trial_id(self) -> str:
        """Id of the trial; ``default`` outside a trial."""
        return "default" if self._context is None else self._context.launch.trial_id

    @property
    def trial_name(self) -> str:
        """Name of the trial; ``default`` outside a trial."""
        return "default" if self._context is None else self._context.launch.name

    @property
    def trial_resources(self) -> PlacementGroupFactory | None:
        """Bundles reserved for the trial; None outside a trial."""
        return None if self._context is None else self._context.launch.resources.factory

    def get_current_ip(self) -> str:
        """Return the IP address of the node."""
        return str(constant_metrics(self._context, {})["node_ip"])

    def get_config(self) -> dict[str, Any]:
        """Return the trial's configuration."""
        return self.config


def _adopt_old_names(cls: type[Trainable]) -> None:
    """Add the current method names to a class that has those of Ray before 0.8.7.

    Applies only to a class with `_train` and without `step`: in other classes `_save` is a method
    of the user's own, which must not be called.
    """
    if not hasattr(cls, "_train") or cls.step is not Trainable.step:
        return
    for before, today in _CURRENT_NAMES.items():
        method = getattr(cls, before, None)
        if method is not None and getattr(cls, today) is getattr(Trainable, today):
            setattr(cls, today, method)
    warnings.warn(
        f"{cls.__name__} has the method names of Ray before 0.8.7. Rename "
        + ", ".join(f"`{before}` to `{today}`" for before, today in _CURRENT_NAMES.items())
        + ".",
        DeprecationWarning,
        stacklevel=3,
    )


def runs_steps(trainable: type[Trainable]) -> bool:
    """Return True if a class implements `step` or `train`."""
    return trainable.step is not Trainable.step or trainable.train is not Trainable.train


def check_result(training: Trainable, method: str, result: object) -> None:
    """Check what a method of a class has returned.

    Raises:
        InvalidTrainable: If it is no dict.
    """
    if not isinstance(result, dict):
        raise InvalidTrainable(
            "trainable",
            f"{type(training).__name__}.{method}() returned {type(result).__name__} "
            f"({result!r:.80}).",
            "It returns a dict of metrics.",
        )


def parse_export_formats(given: Any, allow_others: bool = False) -> tuple[str, ...]:
    """Parse and check names of formats.

    Args:
        given: One name, several, or None.
        allow_others: True if the trainable may have formats of its own.

    Raises:
        InvalidArgument: If a format is unknown, or `given` is something else.
    """
    if given is None:
        return ()
    names = [given] if isinstance(given, str) else given
    if not isinstance(names, Iterable):
        raise InvalidArgument("export_formats", f"got {given!r:.80}.", _RIGHT)
    found = tuple(name.strip().lower() if isinstance(name, str) else name for name in names)
    for name in found:
        if name not in _KNOWN and not (allow_others and isinstance(name, str)):
            raise InvalidArgument("export_formats", f"there is no format {name!r:.80}.", _RIGHT)
    return found


def has_own_formats(trainable: Any) -> bool:
    """Return True if a class exports models itself, perhaps in formats of its own."""
    return isinstance(trainable, type) and any(
        getattr(trainable, name, None) is not getattr(Trainable, name)
        for name in ("export_model", "_export_model")
    )


def can_save(trainable: type[Trainable]) -> bool:
    """Return True if a class can write checkpoints."""
    return trainable.save_checkpoint is not Trainable.save_checkpoint
