"""What a scheduler sees of the experiment: a narrow controller, not the engine.

It is passed as the first argument of every scheduler hook, where Ray passes its trial runner or
tune controller, and has the methods that schedulers written for Ray use.
"""

from __future__ import annotations

from typing import Any, Protocol

from prefect_tune.experiment.checkpoints import TrialCheckpoint
from prefect_tune.experiment.trial import Trial
from prefect_tune.resources import Resources


class ControllerView(Protocol):
    """The scheduler's handle on the experiment."""

    def get_trials(self) -> list[Trial]:
        """All trials so far, in order of creation."""
        ...

    def get_live_trials(self) -> list[Trial]:
        """The trials that are not finished."""
        ...

    def get_waiting_trials(self) -> list[Trial]:
        """Those of them that wait for a slot, pending or paused, in queue order."""
        ...

    def get_trial(self, trial_id: str) -> Trial | None:
        """The trial with this id."""
        ...

    def has_resources_for_trial(self, trial: Trial) -> bool:
        """True if an attempt of the trial could be launched now."""
        ...

    def pause_trial(self, trial: Trial, should_checkpoint: bool = True) -> None:
        """Ask a running trial to give its slot back at its next report."""
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
        """Have a trial go on from another trial's checkpoint (PBT calls it exploit).

        A running trial is paused for it. It goes on from there at its next attempt, and at those
        after it until it has saved a checkpoint of its own. Nobody deletes the checkpoint
        meanwhile.

        Args:
            trial: The trial, unfinished.
            source: The trial that the checkpoint belongs to.
            checkpoint: One of `Trial.checkpoints`; None takes the newest one.
            config: The trial's configuration from then on; None leaves it as it is.
            experiment_tag: Its tag from then on; "" leaves it as it is.

        Returns:
            False if that cannot be: the source has no such checkpoint, or the trial is about to
            stop.
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
        """Have a trial go on with another configuration or other resources.

        A running trial is paused for it, and goes on from its own newest checkpoint.

        Args:
            trial: The trial, unfinished.
            config: Its configuration from its next attempt on; None leaves it as it is.
            resources: What its next attempts get; None leaves it as it is.
            experiment_tag: Its tag from then on; "" leaves it as it is.

        Returns:
            False if the trial is about to stop.
        """
        ...

    def save_checkpoint(self, trial: Trial) -> None:
        """Have the trial whose result is being judged save a checkpoint, if it can be asked to.

        Class trainables can; functions save theirs with `report`.
        """
        ...

    def get_node_resources(self) -> list[Resources]:
        """What each node of the cluster has in all; empty while none is known."""
        ...

    @property
    def search_alg(self) -> Any:
        """The searcher, for schedulers that work hand in hand with one (BOHB)."""
        ...
