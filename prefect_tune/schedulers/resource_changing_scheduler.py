"""`ResourceChangingScheduler`: change the resources of trials while they run.

Another scheduler decides about the trials. Where it continues a trial, a function returns the
resources that the trial should have; if they differ from the present ones, the trial pauses and
continues from its checkpoint with the new resources.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from prefect_tune.error import InvalidArgument
from prefect_tune.experiment.decision import EVERY_RESULT, RunUntil
from prefect_tune.experiment.plain import number_of
from prefect_tune.experiment.trial import Trial
from prefect_tune.experiment.view import ControllerView
from prefect_tune.resources import CPU, GPU, MILLI, PlacementGroup, Resources
from prefect_tune.schedulers.trial_scheduler import FIFOScheduler, TrialScheduler
from prefect_tune.text import in_words
from prefect_tune.validation import check_callable, check_mode, check_type

__all__ = [
    "DistributeResources",
    "DistributeResourcesToTopJob",
    "ResourceChangingScheduler",
    "evenly_distribute_cpus_gpus",
]

#: A function of controller, trial, result and scheduler that returns resources in the form of
#: `resources_per_trial`, or None to leave the trial's resources unchanged.
Allocate = Callable[[Any, Trial, dict[str, Any], "ResourceChangingScheduler"], Any]


class DistributeResources:
    """Shares the cluster evenly between the unfinished trials.

    A trial never has less than it began with. The remainder of the even division goes to the oldest
    trials, where Ray Tune gives it to those that report first. No trial gets more than a node has,
    where Ray Tune looks at the sum over all nodes, so that a trial may wait for ever.

    Args:
        add_bundles: Whether a step is as large as what trials begin with; here always the first
            bundle grows.
        increase_by: The resources of a step, e.g. ``{"CPU": 1, "GPU": 1}``; None is one GPU for
            trials with GPUs and one CPU for others.
        increase_by_times: The most steps for a trial; below 1 there is no limit.
        reserve_resources: Resources to leave free in the cluster.

    Raises:
        InvalidArgument: If an amount is wrong, or nothing is added.
    """

    def __init__(
        self,
        add_bundles: bool = False,
        increase_by: Mapping[str, float] | None = None,
        increase_by_times: int = -1,
        reserve_resources: Mapping[str, float] | None = None,
    ) -> None:
        self.add_bundles = add_bundles
        self._step = None
        if increase_by is not None:
            self._step = Resources.parse({"cpu": 0, **increase_by}, "increase_by")
            if not self._step.milli:
                raise InvalidArgument(
                    "increase_by", f"got {increase_by!r}.", 'Add something, e.g. {"CPU": 1}.'
                )
        self._most = increase_by_times if increase_by_times >= 1 else math.inf
        self._reserved = Resources.parse(
            {"cpu": 0, **(reserve_resources or {})}, "reserve_resources"
        )

    def __call__(
        self,
        controller: ControllerView,
        trial: Trial,
        result: dict[str, Any],
        scheduler: ResourceChangingScheduler,
    ) -> Resources | None:
        """Return the resources that a trial should have."""
        base = scheduler.base_trial_resources
        nodes = controller.get_node_resources()
        if base is None or not nodes:
            return None
        step = self._step or self._default_step(base)
        live = controller.get_live_trials()
        spare = self._spare_steps(base, step, nodes, len(live))
        times = min(self._count_steps(spare, trial, result, live), self._most)
        while times > 0 and not any(
            _has_room(node, _add_steps(base, step, int(times))) for node in nodes
        ):
            times -= 1
        return _add_steps(base, step, int(times))

    def _default_step(self, base: Resources) -> Resources:
        """Return the resources of a step where the user gives none."""
        if self.add_bundles:
            return base
        return Resources.of(**({GPU: 1} if base.get_milli(GPU) else {CPU: 1}))

    def _count_steps(
        self, spare: int, trial: Trial, result: dict[str, Any], live: list[Trial]
    ) -> int:
        """Return the number of spare steps that a trial gets."""
        each, left = divmod(spare, len(live))
        place = next((i for i, other in enumerate(live) if other is trial), len(live))
        return each + (place < left)

    def _spare_steps(
        self, base: Resources, step: Resources, nodes: list[Resources], trials: int
    ) -> int:
        """Return how many steps fit the cluster besides the resources that trials begin with."""
        counts = []
        for name, amount in step.milli:
            total = sum(node.get_milli(name) for node in nodes) - self._reserved.get_milli(name)
            counts.append((total - trials * base.get_milli(name)) // amount)
        return max(0, min(counts))


class DistributeResourcesToTopJob(DistributeResources):
    """Gives all free resources to the trial with the best newest result.

    Args:
        add_bundles: Whether a step is as large as what trials begin with.
        increase_by: The resources of a step; None is one GPU for trials with GPUs, else one CPU.
        increase_by_times: The most steps for a trial; below 1 there is no limit.
        reserve_resources: Resources to leave free in the cluster.
        metric: The result key to compare by; None takes the scheduler's.
        mode: ``min`` or ``max``; None takes the scheduler's.

    Raises:
        InvalidArgument: If an amount or the mode is wrong.
    """

    def __init__(
        self,
        add_bundles: bool = False,
        increase_by: Mapping[str, float] | None = None,
        increase_by_times: int = -1,
        reserve_resources: Mapping[str, float] | None = None,
        metric: str | None = None,
        mode: str | None = None,
    ) -> None:
        super().__init__(add_bundles, increase_by, increase_by_times, reserve_resources)
        if mode is not None:
            check_mode(mode)
        self.metric = metric
        self.mode = mode

    def __call__(
        self,
        controller: ControllerView,
        trial: Trial,
        result: dict[str, Any],
        scheduler: ResourceChangingScheduler,
    ) -> Resources | None:
        """Return the resources that a trial should have.

        Raises:
            InvalidArgument: If neither this object nor the scheduler has a metric and a mode.
        """
        self.metric = self.metric or scheduler.metric
        self.mode = self.mode or scheduler.metric_mode
        if self.metric is None or self.mode is None:
            raise InvalidArgument(
                "metric" if self.metric is None else "mode",
                "DistributeResourcesToTopJob needs it to know which trial is the best.",
                "Give it to DistributeResourcesToTopJob or to the experiment.",
            )
        return super().__call__(controller, trial, result, scheduler)

    def _count_steps(
        self, spare: int, trial: Trial, result: dict[str, Any], live: list[Trial]
    ) -> int:
        sign = 1.0 if self.mode == "max" else -1.0

        def score(other: Trial) -> float:
            newest = result if other is trial else other.last_result
            value = number_of(newest.get(str(self.metric)))
            return -math.inf if value is None or math.isnan(value) else sign * float(value)

        return spare if trial is max(live, key=score) else 0


def evenly_distribute_cpus_gpus(
    controller: ControllerView,
    trial: Trial,
    result: dict[str, Any],
    scheduler: ResourceChangingScheduler,
) -> Resources | None:
    """Share CPUs and GPUs evenly between trials, as `DistributeResources` with steps of one does.

    Args:
        controller: The experiment.
        trial: A trial that has reported a result.
        result: The result.
        scheduler: The calling scheduler.

    Returns:
        The resources that the trial should have; None leaves them unchanged.
    """
    base = scheduler.base_trial_resources or Resources()
    units = {name: 1 for name in (CPU, GPU) if base.get_milli(name)}
    return DistributeResources(increase_by=units or None)(controller, trial, result, scheduler)


class ResourceChangingScheduler(TrialScheduler):
    """Changes the resources of running trials; another scheduler decides about the trials.

    Trials pause for a change, so they need checkpoints, as with `HyperBandScheduler`. A trial gets
    its present resources by `get_trial_resources()`.

    Args:
        base_scheduler: Decides about the trials; None for `FIFOScheduler`.
        resources_allocation_function: Gets the controller, the trial, its result and this
            scheduler, and returns the trial's resources in the form of `resources_per_trial`, or
            None to leave them. If the function is None, resources are never changed.

    Raises:
        InvalidArgument: If an argument has another type.
    """

    def __init__(
        self,
        base_scheduler: TrialScheduler | None = None,
        resources_allocation_function: Allocate | None = DistributeResources(),  # noqa: B008
    ) -> None:
        if base_scheduler is not None:
            check_type("base_scheduler", base_scheduler, TrialScheduler, "a TrialScheduler")
        if resources_allocation_function is not None:
            check_callable(
                "resources_allocation_function", resources_allocation_function, "or None"
            )
        self._base = FIFOScheduler() if base_scheduler is None else base_scheduler
        self._allocate = resources_allocation_function
        self._base_resources: Resources | None = None
        self._known: set[str] = set()
        self._changes = 0

    @property
    def base_trial_resources(self) -> Resources | None:
        """The resources that trials begin with; None before the first trial."""
        return self._base_resources

    @property
    def metric(self) -> str | None:
        """The metric of the other scheduler."""
        return self._base.metric

    @property
    def metric_mode(self) -> str | None:
        """The mode of the other scheduler."""
        return getattr(self._base, "metric_mode", None)

    @property
    def log_config(self) -> bool:
        """Whether the other scheduler, if it is PBT, logs its copies."""
        return getattr(self._base, "log_config", False)

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        """Pass metric and mode to the other scheduler and to `DistributeResourcesToTopJob`."""
        if isinstance(self._allocate, DistributeResourcesToTopJob):
            self._allocate.metric = self._allocate.metric or metric
            self._allocate.mode = self._allocate.mode or mode
        return self._base.set_search_properties(metric, mode, **spec)

    def on_trial_add(self, controller: ControllerView, trial: Trial) -> None:
        """Pass a new trial to the other scheduler.

        Raises:
            InvalidArgument: If trials begin with different resources.
        """
        if self._base_resources is None:
            self._base_resources = trial.resources
        if trial.trial_id not in self._known and trial.resources != self._base_resources:
            raise InvalidArgument(
                "resources_per_trial",
                f"{trial} asks for {trial.resources}, and the first trial asked for "
                f"{self._base_resources}: ResourceChangingScheduler shares evenly.",
                "Give all trials the same.",
            )
        self._known.add(trial.trial_id)
        self._base.on_trial_add(controller, trial)

    def on_trial_error(self, controller: ControllerView, trial: Trial) -> None:
        """Pass a failed attempt to the other scheduler."""
        self._base.on_trial_error(controller, trial)

    def on_trial_result(
        self, controller: ControllerView, trial: Trial, result: dict[str, Any]
    ) -> str:
        """Return the other scheduler's decision; if it continues, change the trial's resources.

        Raises:
            InvalidArgument: If the function returns resources that no node has.
        """
        answer = self._base.on_trial_result(controller, trial, result)
        if answer != self.CONTINUE or self._allocate is None:
            return answer
        wanted = self._allocate(controller, trial, result, self)
        if wanted is None:
            return answer
        resources = Resources.parse(wanted, "resources_allocation_function")
        if resources == trial.resources:
            return answer
        nodes = controller.get_node_resources()
        if nodes and not all(
            any(_has_room(node, bundle) for node in nodes) for bundle in resources.bundles
        ):
            raise InvalidArgument(
                "resources_allocation_function",
                f"{in_words(self._allocate, repr)} gives {trial} {resources}, which no node has.",
                "Give a bundle at most what the largest node has.",
            )
        if not controller.change_trial(trial, resources=resources):
            return answer
        self._changes += 1
        return self.PAUSE

    def on_trial_complete(
        self, controller: ControllerView, trial: Trial, result: dict[str, Any]
    ) -> None:
        """Pass the end of a trial to the other scheduler."""
        self._base.on_trial_complete(controller, trial, result)

    def on_trial_remove(self, controller: ControllerView, trial: Trial) -> None:
        """Pass the removal of a trial to the other scheduler."""
        self._base.on_trial_remove(controller, trial)

    def choose_trial_to_run(self, controller: ControllerView) -> Trial | None:
        """Return the other scheduler's choice."""
        return self._base.choose_trial_to_run(controller)

    def run_until(self, trial: Trial) -> RunUntil:
        """Have the trial wait at each result, unless its resources cannot change."""
        return self._base.run_until(trial) if self._allocate is None else EVERY_RESULT

    def why_stopped(self, result: Mapping[str, Any]) -> str:
        """Return the other scheduler's reason."""
        return self._base.why_stopped(result)

    def debug_string(self) -> str:
        """Return the number of changes, and the other scheduler's lines."""
        return f"Resources were changed {self._changes} times. {self._base.debug_string()}"


def _has_room(node: Resources, request: Resources) -> bool:
    return all(node.get_milli(name) >= amount for name, amount in request.milli)


def _add_steps(base: Resources, step: Resources, times: int) -> Resources:
    if len(base.bundles) > 1:
        head, *others = base.bundles
        return PlacementGroup((_add_steps(head, step, times), *others), base.strategy)
    amounts = dict(base.milli)
    for name, amount in step.milli:
        amounts[name] = amounts.get(name, 0) + times * amount
    return Resources.of(**{name: amount / MILLI for name, amount in amounts.items()})
