"""`TrialSource`: the interface from which the engine gets trials.

The engine does not call searchers itself. It asks a `TrialSource` for trials, reports their results
to it and saves its state. All calls come from one thread.
"""

from __future__ import annotations

from enum import Enum
from typing import Any, Final, Literal, Protocol

from prefect_tune.experiment.message import message


class Finished(Enum):
    """Type of `FINISHED`."""

    FINISHED = "FINISHED"


#: What `TrialSource.next` returns when there will never be another trial.
FINISHED: Final = Finished.FINISHED


@message(frozen=True, slots=True)
class Suggestion:
    """A suggested trial: its id, configuration and tag.

    Attributes:
        trial_id: Unique in the experiment: 5 hex digits and a counter for random and grid search,
            8 hex digits for searchers.
        config: The configuration, without anything left to resolve.
        resolved: The values of the searched variables by path ("a/b").
        tag_index: Number of the trial: from 0 for random and grid search, from 1 for searchers.
        experiment_tag: ``"<tag_index>_<name>=<value>,..."``.
    """

    trial_id: str
    config: dict[str, Any]
    resolved: dict[str, Any]
    tag_index: int
    experiment_tag: str


class TrialSource(Protocol):
    """The interface of objects that produce the trials of an experiment."""

    @property
    def lookahead(self) -> int:
        """How many trials may be requested before they can run.

        The number is 1 for searchers that learn, since early suggestions use fewer results.
        """

    @property
    def wants_results(self) -> bool:
        """Whether `on_trial_result` has an effect; if not, it need not be called."""

    def next(self) -> Suggestion | Literal[Finished.FINISHED] | None:
        """Return the next trial; None for "not now, ask again later"; `FINISHED` for the end."""

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Learn from an intermediate result, whose keys are flat ("a/b")."""

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Learn from the end of a trial; unknown and completed trials are ignored."""

    def total(self) -> int | None:
        """Return how many trials there will be, as far as known; None if endless or unknown."""

    def adjust(self, samples: int, max_concurrent: int | None) -> None:
        """Change the number of samples and the limit of concurrent trials of a running sweep.

        Args:
            samples: Number of samples to add.
            max_concurrent: The most trials at a time; None leaves the limit.
        """

    def save_state(self) -> bytes:
        """Return the state of the source, for `restore_state`.

        Suggestions that `next` has returned before are not repeated after a restore.
        """

    def restore_state(self, state: bytes) -> None:
        """Restore a state of `save_state` in a new source with the same arguments.

        ``num_samples`` may differ, to extend an experiment.
        """
