"""What a scheduler sees of the experiment: a narrow controller, not the engine.

It is passed as the first argument of every scheduler hook, where Ray passes its trial runner or
tune controller, and has the methods that schedulers written for Ray use.
"""

from __future__ import annotations

from typing import Any, Protocol

from prefect_tune.experiment.trial import Trial


class ControllerView(Protocol):
    """The scheduler's handle on the experiment."""

    def get_trials(self) -> list[Trial]:
        """All trials so far, in order of creation."""
        ...

    def get_live_trials(self) -> list[Trial]:
        """The trials that are not finished."""
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

    @property
    def search_alg(self) -> Any:
        """The searcher, for schedulers that work hand in hand with one (BOHB)."""
        ...
