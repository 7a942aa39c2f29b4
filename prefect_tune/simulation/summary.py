"""`SimulationSummary`: the time, the cost and the best results of a simulated sweep."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Incumbent:
    """A result that was better than all before it.

    Attributes:
        time: The simulated time.
        hours: Hours that all attempts together had run by then.
        trial_id: The trial.
        value: The value of the metric.
    """

    time: float
    hours: float
    trial_id: str
    value: float


@dataclass
class SimulationSummary:
    """Time and cost of a simulated sweep, and the course of its best result.

    Attributes:
        seconds: Simulated seconds from the beginning to the end.
        num_results: Results that were reported.
        num_attempts: Attempts that were launched.
        losses: Machines that were lost.
        hours_used: Hours for which attempts have held each resource, e.g. ``{"CPU": 3.5}``.
        trial_hours: Hours that all attempts together have run.
        node_hours: Hours that all machines together have existed.
        cost: Price of these machine hours.
        incumbents: The course of the best result, if the experiment has one metric.
    """

    seconds: float = 0.0
    num_results: int = 0
    num_attempts: int = 0
    losses: int = 0
    hours_used: dict[str, float] = field(default_factory=dict)
    trial_hours: float = 0.0
    node_hours: float = 0.0
    cost: float = 0.0
    incumbents: list[Incumbent] = field(default_factory=list, repr=False)
