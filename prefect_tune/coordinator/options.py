"""How the coordinator treats metrics and failures."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class FailFast(StrEnum):
    """What the first failed trial does to the others."""

    OFF = "off"
    STOP = "stop"  #: all others are stopped
    RAISE = "raise"  #: the trial's own exception is raised at once


@dataclass(frozen=True, slots=True)
class CoordinatorOptions:
    """Options of one experiment.

    Attributes:
        trainable_name: Name of the trainable, the first part of every trial's name.
        local_experiment_dir: The experiment directory, "" if nothing is written.
        metrics: Metrics that must be a number in each result with metrics of the user's own
            (strict metric checking); empty to check none.
        max_failures: Retries of a failed trial; -1 without end.
        fail_fast: What the first failed trial does to the others.
        lookahead: How many trials may wait for a slot.
        search_wants_results: False if the search ignores intermediate results.
        max_running: Most trials that run at once, whatever the resources; None for no limit.
    """

    trainable_name: str = "trainable"
    local_experiment_dir: str = ""
    metrics: tuple[str, ...] = ()
    max_failures: int = 0
    fail_fast: FailFast = FailFast.OFF
    lookahead: int = 1
    search_wants_results: bool = True
    max_running: int | None = None
