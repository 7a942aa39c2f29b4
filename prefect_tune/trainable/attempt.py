"""What an attempt knows about itself, and the channel over which it talks to its node's agent."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from prefect_tune.experiment.decision import NEVER, Action, RunUntil


@dataclass(frozen=True, slots=True)
class AttemptContext:
    """One attempt of one trial, as its own process sees it.

    Attributes:
        experiment_id: Unique id of this run of the experiment.
        experiment_name: Name of the experiment.
        trainable_name: Name of the trainable.
        trial_id: Id of the trial.
        trial_name: Name of the trial for people.
        experiment_tag: The trial's tag.
        attempt: 1 for the first.
        config: The trial's configuration.
        resources: Amounts in units, e.g. ``{"CPU": 0.5}``.
        trial_dir: Directory on this node; exists, and is the working directory.
        devices: GPU ids this attempt may use.
        run_until: Where it first waits for a decision.
        iteration: `training_iteration` so far.
        checkpoint: Where to go on from, if anywhere.
        seed: Seeds `random` and `numpy`; None leaves them random.
        env: Environment variables to set before any user code runs.
    """

    experiment_id: str
    experiment_name: str
    trainable_name: str
    trial_id: str
    trial_name: str
    experiment_tag: str
    attempt: int
    config: dict[str, Any]
    resources: dict[str, float]
    trial_dir: str
    devices: tuple[str, ...] = ()
    run_until: RunUntil = NEVER
    iteration: int = 0
    checkpoint: str | None = None
    seed: int | None = None
    env: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Decision:
    """What the coordinator wants of this attempt; `seq` is the report it answers, 0 if unasked."""

    seq: int
    action: Action
    run_until: RunUntil = NEVER


class Channel(Protocol):
    """The attempt's side of the connection to the agent of its node."""

    def send_result(self, seq: int, line: bytes, awaiting: bool) -> None:
        """Hand over one report, a JSON text; once this returns it survives the attempt's death."""
        ...

    def wait_decision(self) -> Decision:
        """Block until the next decision arrives.

        Raises:
            ConnectionError: If the agent is gone.
        """
        ...

    def poll_decision(self) -> Decision | None:
        """The next decision if one has arrived; never blocks."""
        ...
