"""The machines of a simulation, with their faults: failures, losses and stragglers."""

from __future__ import annotations

import itertools
import random
from collections.abc import Mapping
from dataclasses import dataclass, field

from prefect_tune.coordinator.commands import Launch
from prefect_tune.coordinator.events import Node
from prefect_tune.coordinator.placement import Placer
from prefect_tune.experiment.attempt import AttemptError
from prefect_tune.resources import Resources
from prefect_tune.simulation.executor import SimulatedExecutor
from prefect_tune.validation import check_count, check_number

_CRASHED = AttemptError("simulated", "the simulated trial failed")


@dataclass(frozen=True, kw_only=True)
class SimulatedCluster:
    """The machines that a simulated sweep runs on.

    The faults of an attempt depend on the seed, the trial and the attempt only, so that two
    schedulers are compared under the same faults.

    Attributes:
        nodes: Number of machines.
        cpus: CPUs of each machine.
        gpus: GPUs of each machine.
        resources: Other resources of each machine.
        start_s: Seconds between a launch and an attempt's first work.
        failures_per_hour: Mean failures of an attempt per hour that it runs.
        losses_per_hour: Mean losses of a machine per hour, as of spot instances.
        replaced_after_s: Seconds after which a lost machine is replaced; None replaces none.
        straggler_share: Share of the attempts that are slow, from 0 to 1.
        straggler_slowdown: Factor by which these take longer.
        price_per_hour: Price of a machine per hour.

    Raises:
        InvalidArgument: If a value is out of its range.
    """

    nodes: int = 1
    cpus: float = 8
    gpus: float = 0
    resources: Mapping[str, float] = field(default_factory=dict)
    start_s: float = 0.0
    failures_per_hour: float = 0.0
    losses_per_hour: float = 0.0
    replaced_after_s: float | None = 120.0
    straggler_share: float = 0.0
    straggler_slowdown: float = 3.0
    price_per_hour: float = 0.0

    def __post_init__(self) -> None:
        check_count("nodes", self.nodes, at_least=1)
        for name in (
            "cpus",
            "gpus",
            "start_s",
            "failures_per_hour",
            "losses_per_hour",
            "price_per_hour",
        ):
            check_number(name, getattr(self, name), at_least=0)
        check_number("straggler_slowdown", self.straggler_slowdown, at_least=1)
        check_number("straggler_share", self.straggler_share, at_least=0, at_most=1)
        if self.replaced_after_s is not None:
            check_number("replaced_after_s", self.replaced_after_s, at_least=0)

    @property
    def has_faults(self) -> bool:
        """True if attempts may fail or be lost with their machine."""
        return self.failures_per_hour > 0 or self.losses_per_hour > 0

    def node(self, number: int) -> Node:
        """Return one of the machines as a node.

        Args:
            number: Number of the machine, from 1.
        """
        resources = Resources.of(CPU=self.cpus, GPU=self.gpus, **self.resources)
        devices = tuple(map(str, range(int(self.gpus))))
        return Node(f"node-{number}", resources, devices)

    def concurrency(self, request: Resources) -> int:
        """Return how many trials can run at the same time.

        Args:
            request: Resources of each trial.
        """
        if len(request.bundles) > 1:
            placer = Placer()
            placer.update(map(self.node, range(1, self.nodes + 1)), ())
            return sum(1 for _ in iter(lambda: placer.reserve(request), None))
        node = self.node(1).resources
        fit = [node.get_milli(name) // milli for name, milli in request.milli if milli]
        return self.nodes * min(fit, default=0)


class Faults:
    """Makes attempts fail or slow and machines disappear, reproducibly.

    Args:
        cluster: The machines, with the rates of faults.
        executor: Runs the attempts.
        seed: The same seed gives the same faults.

    Attributes:
        losses: Number of machines lost so far.
    """

    def __init__(self, cluster: SimulatedCluster, executor: SimulatedExecutor, seed: int) -> None:
        self._cluster = cluster
        self._executor = executor
        self._seed = seed
        self._numbers = itertools.count(cluster.nodes + 1)
        self.losses = 0
        self._node_s = 0.0
        self._up = {f"node-{number}": 0.0 for number in range(1, cluster.nodes + 1)}
        if cluster.losses_per_hour:
            for address in self._up:
                self._lose_later(address)

    def begin(self, launch: Launch, directory: str, experiment_tag: str) -> None:
        """Start an attempt, which may be slow or fail."""
        cluster, executor = self._cluster, self._executor
        if not (cluster.failures_per_hour or cluster.straggler_share):
            executor.begin(launch, directory, experiment_tag)
            return
        draw = random.Random(f"{self._seed}/{launch.trial_id}/{launch.attempt}")
        is_slow = draw.random() < cluster.straggler_share
        attempt = executor.begin(
            launch,
            directory,
            experiment_tag,
            slowdown=cluster.straggler_slowdown if is_slow else 1.0,
        )
        if cluster.failures_per_hour:
            seconds = draw.expovariate(cluster.failures_per_hour / 3600)
            executor.fail_after(seconds, attempt, _CRASHED)

    def node_hours(self) -> float:
        """Return the hours that all machines together have existed, for which they are paid."""
        now = self._executor.now
        return (self._node_s + sum(now - since for since in self._up.values())) / 3600

    def _lose_later(self, address: str) -> None:
        draw = random.Random(f"{self._seed}/{address}")
        seconds = draw.expovariate(self._cluster.losses_per_hour / 3600)
        self._executor.at(self._executor.now + seconds, lambda: self._lose(address))

    def _lose(self, address: str) -> None:
        executor = self._executor
        self.losses += 1
        self._node_s += executor.now - self._up.pop(address)
        executor.lose_node(address)
        if self._cluster.replaced_after_s is not None:
            executor.at(executor.now + self._cluster.replaced_after_s, self._replace)

    def _replace(self) -> None:
        node = self._cluster.node(next(self._numbers))
        self._up[node.address] = self._executor.now
        self._executor.add_node(node)
        self._lose_later(node.address)
