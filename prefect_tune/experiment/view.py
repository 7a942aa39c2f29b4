"""The interface to the experiment that schedulers get.

Every scheduler hook gets it as its first argument, where Ray passes its trial runner or tune
controller. It has the methods that schedulers written for Ray use.
"""

from __future__ import annotations

from typing import Any, Protocol

from prefect_tune.experiment.checkpoints import TrialCheckpoint
from prefect_tune.experiment.trial import Trial
from prefect_tune.resources import Resources


class ControllerView(Protocol):
    """What a scheduler can read of an experiment, and what it can ask for."""

    def get_trials(self) -> list[Trial]:
        """Return all trials so far, in order of creation."""
        ...

    def get_live_trials(self) -> list[Trial]:
        """Return the trials that are not finished."""
        ...

    def get_waiting_trials(self) -> list[Trial]:
        """Return the pending and paused trials that wait for a slot, in queue order."""
        ...

    def get_trial(self, trial_id: str) -> Trial | None:
        """Return the trial with the given id; None if there is none."""
        ...

    def has_resources_for_trial(self, trial: Trial) -> bool:
        """Return True if an attempt of the trial could be launched now."""
        ...

    def pause_trial(self, trial: Trial, should_checkpoint: bool = True) -> None:
        """Pause a running trial at its next report; its slot is free then."""
        ...

    def stop_trial(self, trial: Trial) -> None:
        """End a trial: a running one at its next report, a waiting one at once."""
        ...

    def restore_trial_from(
        self,
        trial: Trial,
        source: Trial,
        checkpoint: TrialCheckpoint | None = None,
        config: dict[str, Any] | None = None,
        experiment_tag: str = "",
    ) -> bool:
        """Make a trial go on from another trial's checkpoint (the exploit step of PBT).

        A running trial is paused first. Its next attempts start from that checkpoint, until the
        trial has saved a checkpoint of its own. The checkpoint is not deleted meanwhile.

        Args:
            trial: The unfinished trial.
            source: The trial that the checkpoint belongs to.
            checkpoint: One of the source's `checkpoints`; None is the newest one.
            config: The trial's configuration from its next attempt on; None does not change it.
            experiment_tag: The trial's tag from its next attempt on; "" does not change it.

        Returns:
            False if the source has no such checkpoint, or the trial is about to stop.
        """
        ...

    def change_trial(
        self,
        trial: Trial,
        *,
        config: dict[str, Any] | None = None,
        resources: Resources | None = None,
        experiment_tag: str = "",
    ) -> bool:
        """Make a trial go on with another configuration or other resources.

        A running trial is paused first, and goes on from its own newest checkpoint.

        Args:
            trial: The unfinished trial.
            config: The trial's configuration from its next attempt on; None does not change it.
            resources: The resources of the trial's next attempts; None does not change them.
            experiment_tag: The trial's tag from its next attempt on; "" does not change it.

        Returns:
            False if the trial is about to stop.
        """
        ...

    def save_checkpoint(self, trial: Trial) -> None:
        """Make the trial whose result the scheduler is handling save a checkpoint.

        This works for class trainables; functions save their checkpoints with `report`.
        """
        ...

    def get_node_resources(self) -> list[Resources]:
        """Return the total resources of each node of the cluster; empty while none is known."""
        ...

    @property
    def search_alg(self) -> Any:
        """The searcher, for schedulers that work together with one (BOHB)."""
        ...
