"""Class trainables: one object per trial, one `step` per result."""

from __future__ import annotations

from typing import Any

from prefect_tune.error import InvalidTrainable
from prefect_tune.resources import PlacementGroupFactory
from prefect_tune.trainable.attempt_session import Session, current_session


class Trainable:
    """Base class for training as an object; override `setup`, `step` and, if need be, `cleanup`.

    The trial ends when a scheduler or stopper says so, or when `step` returns ``done=True``.

    Args:
        config: The trial's configuration.
    """

    def __init__(self, config: dict[str, Any] | None = None) -> None:
        self.config: dict[str, Any] = {} if config is None else config
        session = current_session()
        self._context = None if session is None else session.context
        self._iteration = 0 if self._context is None else self._context.progress.iteration
        self.setup(self.config)

    def setup(self, config: dict[str, Any]) -> None:
        """Prepare the training; called once, before the first `step`."""

    def step(self) -> dict[str, Any]:
        """Train for one iteration and return its metrics."""
        raise NotImplementedError(f"{type(self).__name__} has no method `step`")

    def cleanup(self) -> None:
        """Release what `setup` took; called at the end, however the trial ends."""

    def train(self) -> dict[str, Any]:
        """Do one `step` and count it.

        Raises:
            InvalidTrainable: If `step` returns anything but a dict.
        """
        result = self.step()
        if not isinstance(result, dict):
            raise InvalidTrainable(
                "trainable",
                f"{type(self).__name__}.step() returned {type(result).__name__} ({result!r:.80}).",
                "It returns a dict of metrics.",
            )
        self._iteration += 1
        return result

    @property
    def iteration(self) -> int:
        """How many iterations are done, those of earlier attempts included."""
        return self._iteration

    @property
    def training_iteration(self) -> int:
        """The same as `iteration`."""
        return self._iteration

    @property
    def logdir(self) -> str | None:
        """Directory of the trial on this node; None outside a trial."""
        return None if self._context is None else self._context.trial_dir

    @property
    def trial_id(self) -> str:
        """Id of the trial; ``default`` outside a trial."""
        return "default" if self._context is None else self._context.trial_id

    @property
    def trial_name(self) -> str:
        """Name of the trial; ``default`` outside a trial."""
        return "default" if self._context is None else self._context.trial_name

    @property
    def trial_resources(self) -> PlacementGroupFactory | None:
        """What is reserved for the trial, as one bundle; None outside a trial."""
        return None if self._context is None else PlacementGroupFactory([self._context.resources])

    def get_config(self) -> dict[str, Any]:
        """The trial's configuration."""
        return self.config


def run_class(trainable: type[Trainable], session: Session) -> None:
    """Run a class trainable until it is done or ended.

    Raises:
        TrialEnding: If the attempt was ended at a report.
    """
    training = trainable(session.context.config)
    try:
        done = False
        while not done:
            result = training.train()
            done = bool(result.get("done"))
            session.report(result)
    finally:
        training.cleanup()
