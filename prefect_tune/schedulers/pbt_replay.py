"""`PopulationBasedTrainingReplay`: train one trial with a schedule of hyperparameters from PBT."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from prefect_tune.error import InvalidArgument
from prefect_tune.experiment.decision import NEVER, RunUntil
from prefect_tune.experiment.trial import Trial
from prefect_tune.experiment.view import ControllerView
from prefect_tune.schedulers.mutations import perturbed_tag
from prefect_tune.schedulers.trial_scheduler import FIFOScheduler

_STEP = "training_iteration"


class PopulationBasedTrainingReplay(FIFOScheduler):
    """Trains one trial with the successive configurations of a trial of PBT.

    Args:
        policy_file: The file ``pbt_policy_<trial>.txt`` of the trial of PBT.

    Raises:
        InvalidArgument: If there is no such file, or it has another format.
    """

    def __init__(self, policy_file: str) -> None:
        if not isinstance(policy_file, (str, os.PathLike)) or not Path(policy_file).is_file():
            raise InvalidArgument(
                "policy_file",
                f"there is no file {policy_file!r}.",
                "Give the path of a file pbt_policy_<trial>.txt in the directory of the "
                "experiment with PBT.",
            )
        self.config, self._policy = _read_policy(Path(policy_file))
        self._trial_id: str | None = None
        self._next = 0

    def on_trial_add(self, controller: ControllerView, trial: Trial) -> None:
        """Set the trial's first configuration.

        Raises:
            InvalidArgument: If there is more than one trial, or the search space has parameters
                that the experiment of the policy file did not have.
        """
        if self._trial_id not in (None, trial.trial_id):
            raise InvalidArgument(
                "num_samples",
                "PopulationBasedTrainingReplay trains one trial, and here is a second one.",
                "Leave it out, and the search space as well.",
            )
        foreign = [repr(name) for name in trial.config if name not in self.config]
        if foreign and self._trial_id is None:
            raise InvalidArgument(
                "policy_file",
                f"it is of another experiment: its configurations have no {', '.join(foreign)}, "
                f"which the search space has; they have {', '.join(map(repr, self.config))}.",
                "Give the file of an experiment with these parameters, or leave out `param_space`.",
            )
        if self._trial_id is None:
            self._trial_id = trial.trial_id
            # In place: the trial was recorded with this object.
            trial.config.clear()
            trial.config.update(self.config)

    def on_trial_result(
        self, controller: ControllerView, trial: Trial, result: dict[str, Any]
    ) -> str:
        """Pause the trial and change its configuration at the step of the next change."""
        step = result.get(_STEP)
        if step is None or self._next == len(self._policy) or step < self._policy[self._next][0]:
            return self.CONTINUE
        _, config = self._policy[self._next]
        tag = perturbed_tag(trial.experiment_tag, config, config)
        if controller.change_trial(trial, config=config, experiment_tag=tag):
            self._next += 1
            return self.PAUSE
        return self.CONTINUE

    def run_until(self, trial: Trial) -> RunUntil:
        """Return the step at which the configuration changes next."""
        if self._next == len(self._policy):
            return NEVER
        return RunUntil(((_STEP, self._policy[self._next][0]),))

    def debug_string(self) -> str:
        """Return the number of changes that are done."""
        return f"PopulationBasedTraining replay: {self._next} of {len(self._policy)} changes"


def _read_policy(path: Path) -> tuple[dict[str, Any], list[tuple[int, dict[str, Any]]]]:
    """Read the first configuration, and the steps and configurations of changes.

    Each line of the file describes a copy: tags of both trials, steps of both, the configurations
    before and after. Only lines of the trials that the last one descends from are used.

    Raises:
        InvalidArgument: If the file has another format.
    """
    try:
        rows = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
        changes: list[tuple[int, dict[str, Any]]] = []
        first: dict[str, Any] | None = None
        source_tag = None
        for tag, other_tag, _, step, before, after in reversed(rows):
            if source_tag is not None and tag != source_tag:
                break
            source_tag, first = other_tag, dict(before)
            changes.append((int(step), dict(after)))
    except (ValueError, TypeError) as error:
        raise InvalidArgument(
            "policy_file", f"{path} is not a policy file of PBT: {error}.", "Give another one."
        ) from error
    if first is None:
        raise InvalidArgument("policy_file", f"{path} is empty.", "Give another one.")
    return first, changes[::-1]
