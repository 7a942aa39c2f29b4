"""Makes a trial with a name, a directory and resources from a suggestion of the search."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect_tune.coordinator.events import TrialSuggested
from prefect_tune.engine.setup.experiment_setup import ExperimentSetup
from prefect_tune.error import InvalidArgument
from prefect_tune.experiment.trial import Trial
from prefect_tune.resources import Resources
from prefect_tune.search.source import Suggestion
from prefect_tune.storage.layout import TrialDirNamer

#: Returns the resources of a trial with the given configuration.
ResourcesFor = Callable[[dict[str, Any]], Resources]


@dataclass(frozen=True)
class TrialMaker:
    """Makes the event that adds a suggested trial; called in the search's thread.

    Attributes:
        trainable_name: First part of every trial's name.
        experiment_dir: The experiment directory.
        resources_for: Returns the resources of a trial with a given configuration.
        dir_namer: Chooses directory names that are safe and free.
        name_creator: The user's ``f(trial) -> str``, if any.
        dirname_creator: The user's ``f(trial) -> str``, if any.
    """

    trainable_name: str
    experiment_dir: str
    resources_for: ResourcesFor
    dir_namer: TrialDirNamer
    name_creator: Callable[[Any], str] | None = None
    dirname_creator: Callable[[Any], str] | None = None

    def __call__(self, suggestion: Suggestion, time: float) -> TrialSuggested:
        """Return the event that adds the suggested trial to the experiment."""
        trial = Trial(
            suggestion.trial_id,
            suggestion.config,
            trainable_name=self.trainable_name,
            evaluated_params=suggestion.resolved,
            experiment_tag=suggestion.experiment_tag,
            resources=self.resources_for(suggestion.config),
            local_experiment_dir=self.experiment_dir,
        )
        if self.name_creator is not None:
            trial.custom_name = _call_creator(self.name_creator, trial, "trial_name_creator")
        custom_dir = None
        if self.dirname_creator is not None:
            custom_dir = _call_creator(self.dirname_creator, trial, "trial_dirname_creator")
        return TrialSuggested(
            time=time,
            trial_id=trial.trial_id,
            config=trial.config,
            resolved=trial.evaluated_params,
            experiment_tag=trial.experiment_tag,
            resources=trial.resources,
            relative_logdir=self.dir_namer.name(trial, time, custom_dir),
            custom_name=trial.custom_name,
        )


def _call_creator(creator: Callable[[Any], str], trial: Trial, argument: str) -> str:
    try:
        value = creator(trial)
    except Exception as error:
        raise InvalidArgument(
            argument, f"it raised {type(error).__name__} for {trial!r}: {error}."
        ) from error
    if not isinstance(value, str) or not value:
        raise InvalidArgument(argument, f"it returned {value!r}.", "It must return a string.")
    return value


def make_trial_maker(
    setup: ExperimentSetup, directory: Path, trials: Sequence[Trial]
) -> TrialMaker:
    """Make the `TrialMaker` of an experiment.

    Args:
        setup: The setup.
        directory: The experiment directory.
        trials: The trials that the experiment has already.
    """
    tune = setup.tune
    return TrialMaker(
        setup.trainable.name,
        str(directory),
        setup.resources_for,
        TrialDirNamer(
            directory,
            setup.settings.max_len_identifier,
            (trial.relative_logdir for trial in trials),
        ),
        tune.trial_name_creator,
        tune.trial_dirname_creator,
    )
