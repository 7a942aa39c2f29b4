"""`Experiment`: an object that holds a trainable and arguments for `run`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from prefect_tune.error import InvalidArgument
from prefect_tune.registry import get_trainable, register_trainable
from prefect_tune.settings import load_settings
from prefect_tune.stopper.factory import make_stopper
from prefect_tune.storage.layout import default_root
from prefect_tune.trainable.function import trainable_name, validate_trainable

#: Arguments of `run` that an experiment can have.
_ARGUMENTS = tuple(
    (
        "stop time_budget_s trial_time_limit_s config resources_per_trial num_samples local_dir "
        "storage_path storage_filesystem sync_config checkpoint_config keep_checkpoints_num "
        "checkpoint_score_attr checkpoint_freq checkpoint_at_end trial_name_creator "
        "trial_dirname_creator log_to_file loggers export_formats max_failures restore"
    ).split()
)
#: Arguments in `Experiment.public_spec`, which callbacks may show.
_PUBLIC = ("stop", "num_samples", "time_budget_s")
#: Ray Tune's arguments that have no effect here or are no arguments of `run`.
_IGNORED = ("upload_dir", "sync_to_driver", "sync_function", "env")


class Experiment:
    """A trainable with its search space, stopping criteria and storage path, for `run`.

    Args:
        name: Name of the experiment and its directory.
        run: A function, a `Trainable` class, or the name of a registered one.
        **arguments: `stop`, `config`, `num_samples`, `resources_per_trial`, `local_dir`,
            `storage_path`, `max_failures` and other arguments of `run`. Those that are not given
            are taken from the call of `run`.

    Raises:
        InvalidArgument: If `name` is not a string, or an argument is wrong.
        InvalidTrainable: If the trainable cannot be run.
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
        #: The stopping criteria as one stopper.
        self.stopper = make_stopper(arguments.get("stop"), arguments.get("time_budget_s"))

    @classmethod
    def from_json(cls, name: str, spec: Mapping[str, Any]) -> Experiment:
        """Make an experiment from a specification as `run_experiments` takes it.

        Args:
            name: The experiment's name.
            spec: ``{"run": trainable or name, "stop": ..., "config": ...}``; `env` becomes part of
                the configuration.

        Raises:
            InvalidArgument: If `run` is missing, or the specification has an unknown key.
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
        """Register a trainable under its own name, unless it is given by a registered name.

        Args:
            run_object: A trainable, or the name of a registered one.

        Returns:
            The name under which it is registered.

        Raises:
            InvalidTrainable: If it cannot be run, or no trainable is registered by this name.
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
        """Return the name of the trainable `run_object`, with which its trials' names begin."""
        return run_object if isinstance(run_object, str) else trainable_name(run_object)

    @classmethod
    def get_experiment_checkpoint_dir(
        cls, run_obj: Any, local_dir: str | None = None, name: str | None = None
    ) -> str:
        """Return the directory of an experiment on this machine.

        Args:
            run_obj: The trainable.
            local_dir: The directory of all experiments; the default is that of `run`.
            name: Name of the experiment; the default is the trainable's name.
        """
        root = default_root(local_dir or load_settings().result_dir)
        return os.path.join(root, name or cls.get_trainable_name(run_obj))

    @property
    def own_arguments(self) -> dict[str, Any]:
        """The arguments of `run` that the experiment has, with its name."""
        return {"name": self.name, **self.arguments}

    @property
    def local_dir(self) -> str:
        """The directory on this machine that holds the experiment directories."""
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
        """The experiment directory: Ray Tune's other name for `path`."""
        return self.path

    @property
    def public_spec(self) -> dict[str, Any]:
        """The part of the specification that callbacks get."""
        return {key: self.spec[key] for key in _PUBLIC if key in self.spec}

    def __repr__(self) -> str:
        return f"Experiment({self.name!r}, {self.run_identifier})"


def convert_to_experiment_list(experiments: Any) -> list[Experiment]:
    """Return a list of `Experiment` objects for what a user gave as experiments.

    Args:
        experiments: An `Experiment`, a list of them, a dict name -> specification, or None.

    Raises:
        InvalidArgument: If the value is of another type.
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
