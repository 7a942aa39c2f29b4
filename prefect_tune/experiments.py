"""`Experiment`: what is tuned and where it is kept, as an object that `run` takes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from prefect_tune.error import InvalidArgument
from prefect_tune.registry import get_trainable, register_trainable
from prefect_tune.settings import load_settings
from prefect_tune.stopper import Stopper
from prefect_tune.stopper.factory import make_stopper
from prefect_tune.storage.layout import default_root
from prefect_tune.trainable.function import trainable_name, validate_trainable

#: What `run` has an argument for and an experiment can say itself.
_ARGUMENTS = (
    "stop",
    "time_budget_s",
    "trial_time_limit_s",
    "config",
    "resources_per_trial",
    "num_samples",
    "local_dir",
    "storage_path",
    "storage_filesystem",
    "sync_config",
    "checkpoint_config",
    "keep_checkpoints_num",
    "checkpoint_score_attr",
    "checkpoint_freq",
    "checkpoint_at_end",
    "trial_name_creator",
    "trial_dirname_creator",
    "log_to_file",
    "loggers",
    "export_formats",
    "max_failures",
    "restore",
)
#: What can be said in public about an experiment.
_PUBLIC = ("stop", "num_samples", "time_budget_s")
#: Ray Tune's arguments without a meaning here; and what is no argument of `run`.
_IGNORED = ("upload_dir", "sync_to_driver", "sync_function", "env")


class Experiment:
    """A trainable with its search space, stopping criteria and place.

    Args:
        name: Name of the experiment and its directory.
        run: A function, a `Trainable` class, or the name of a registered one.
        **arguments: `stop`, `config`, `num_samples`, `resources_per_trial`, `local_dir`,
            `storage_path`, `max_failures` and others of `run`, which explains them. What is not
            given is left to the call of `run`.

    Raises:
        InvalidArgument: If `name` is no text, or an argument is wrong.
        InvalidTrainable: If `run` cannot be run.
        TypeError: If there is no such argument.
    """

    def __init__(self, name: str, run: Any, **arguments: Any) -> None:
        if not isinstance(name, str) or not name:
            raise InvalidArgument("name", f"got {name!r}.", "It is a non-empty string.")
        for ignored in _IGNORED:
            if arguments.get(ignored) is None:  # scripts pass on what they do not use
                arguments.pop(ignored, None)
        unknown = sorted(set(arguments) - set(_ARGUMENTS))
        if unknown:
            raise TypeError(f"Experiment() has no argument `{unknown[0]}`.")
        self.name = name
        self.run_identifier = self.register_if_needed(run)
        self.trainable = run
        self.arguments = {key: value for key, value in arguments.items() if value is not None}
        self.spec: dict[str, Any] = {"run": self.run_identifier, **self.arguments}
        self._stopper = make_stopper(arguments.get("stop"), arguments.get("time_budget_s"))

    @classmethod
    def from_json(cls, name: str, spec: Mapping[str, Any]) -> Experiment:
        """An experiment from a dict as `run_experiments` takes it.

        Args:
            name: Its name.
            spec: ``{"run": trainable or name, "stop": ..., "config": ...}``; `env` becomes part of
                the configuration.

        Raises:
            InvalidArgument: If `run` is missing or there is something unknown in it.
        """
        if not isinstance(spec, Mapping) or "run" not in spec:
            raise InvalidArgument(
                "experiments",
                f"the specification of {name!r} has no `run` ({spec!r:.80}).",
                'Write e.g. {"run": train, "config": {...}, "stop": {...}}.',
            )
        arguments = {key: value for key, value in spec.items() if key not in ("run", *_IGNORED)}
        if "env" in spec:
            arguments["config"] = {**(arguments.get("config") or {}), "env": spec["env"]}
        unknown = sorted(set(arguments) - set(_ARGUMENTS))
        if unknown:
            raise InvalidArgument(
                "experiments",
                f"the specification of {name!r} has `{unknown[0]}`.",
                f"Known are run, {', '.join(_ARGUMENTS)}.",
            )
        return cls(name, spec["run"], **arguments)

    @classmethod
    def register_if_needed(cls, run_object: Any) -> str:
        """Give a trainable a name under which it can be had.

        Args:
            run_object: A trainable, or the name of a registered one.

        Returns:
            Its name.

        Raises:
            InvalidTrainable: If it cannot be run, or nothing is registered by this name.
        """
        if isinstance(run_object, str):
            get_trainable(run_object)
            return run_object
        validate_trainable(run_object, "run", allow_abstract=True)
        name = trainable_name(run_object)
        register_trainable(name, run_object)
        return name

    @classmethod
    def get_trainable_name(cls, run_object: Any) -> str:
        """The name of a trainable, `run_object`, which the names of its trials begin with."""
        return run_object if isinstance(run_object, str) else trainable_name(run_object)

    @classmethod
    def get_experiment_checkpoint_dir(
        cls, run_obj: Any, local_dir: str | None = None, name: str | None = None
    ) -> str:
        """The directory of an experiment on this machine.

        Args:
            run_obj: The trainable.
            local_dir: Where experiments are; default as for `run`.
            name: Name of the experiment; default the trainable's.
        """
        root = default_root(local_dir or load_settings().result_dir)
        return os.path.join(root, name or cls.get_trainable_name(run_obj))

    @property
    def own_arguments(self) -> dict[str, Any]:
        """Arguments of `run` that it brings along."""
        return {"name": self.name, **self.arguments}

    @property
    def stopper(self) -> Stopper:
        """The stopping criteria as one stopper."""
        return self._stopper

    @property
    def local_dir(self) -> str:
        """Where experiment directories are on this machine."""
        return os.path.dirname(self.path)

    @property
    def path(self) -> str:
        """The experiment directory."""
        place = self.arguments.get("storage_path") or self.arguments.get("local_dir")
        return self.get_experiment_checkpoint_dir(
            self.run_identifier, None if place is None else os.fspath(place), self.name
        )

    @property
    def checkpoint_dir(self) -> str:
        """The same as `path`."""
        return self.path

    @property
    def public_spec(self) -> dict[str, Any]:
        """The part of the specification that callbacks are told."""
        return {key: self.spec[key] for key in _PUBLIC if key in self.spec}

    def __repr__(self) -> str:
        return f"Experiment({self.name!r}, {self.run_identifier})"


def convert_to_experiment_list(experiments: Any) -> list[Experiment]:
    """Read experiments as users write them.

    Args:
        experiments: An `Experiment`, a list of them, a dict name -> specification, or None.

    Raises:
        InvalidArgument: If it is something else.
    """
    if experiments is None:
        return []
    if isinstance(experiments, Experiment):
        return [experiments]
    if isinstance(experiments, Mapping):
        return [_named(name, spec) for name, spec in experiments.items()]
    if isinstance(experiments, Iterable) and not isinstance(experiments, str):
        found = list(experiments)
        if all(isinstance(item, Experiment) for item in found):
            return found
    raise InvalidArgument(
        "experiments",
        f"got {experiments!r:.80}.",
        "Give an Experiment, a list of them, or a dict name -> specification.",
    )


def _named(name: str, spec: Any) -> Experiment:
    return spec if isinstance(spec, Experiment) else Experiment.from_json(name, spec)
