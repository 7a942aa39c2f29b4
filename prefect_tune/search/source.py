"""The seam between search and engine: where trials come from.

The engine does not know searchers. It asks a `TrialSource` for trials, tells it how they went, and
saves its state. All calls come from one thread.
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
    """A trial to run.

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
    """Produces the trials of one experiment."""

    @property
    def lookahead(self) -> int:
        """How many trials may be asked for before there is room for them.

        1 for searchers that learn: what they are asked early they decide with less knowledge.
        """

    @property
    def wants_results(self) -> bool:
        """Whether `on_trial_result` does anything; if not, there is no need to call it."""

    def next(self) -> Suggestion | Literal[Finished.FINISHED] | None:
        """The next trial; None for "nothing now, ask again later"; `FINISHED` for the end."""

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Takes an intermediate result (keys are flat, "a/b")."""

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Takes the end of a trial. Unknown and already completed ids are ignored."""

    def total(self) -> int | None:
        """Return how many trials there will be, as far as known; None if endless or unknown."""

    def adjust(self, samples: int, max_concurrent: int | None) -> None:
        """Takes a change of what was planned, while it runs.

        Args:
            samples: How many samples more.
            max_concurrent: How many trials at a time; None leaves it.
        """

    def save_state(self) -> bytes:
        """Everything `restore_state` needs.

        Suggestions that `next` has returned are in the caller's care: they are not repeated after
        a restore.
        """

    def restore_state(self, state: bytes) -> None:
        """Continues, in a new source with the same arguments, where `save_state` was called.

        ``num_samples`` may differ, to extend an experiment.
        """
