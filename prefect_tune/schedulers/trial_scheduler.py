"""The scheduler seam: who runs next, and what happens to a trial after a result."""

from __future__ import annotations

import logging
import math
import os
import pickle
from collections.abc import Mapping
from typing import Any

from prefect_tune.error import InvalidArgument
from prefect_tune.experiment.decision import EVERY_RESULT, NEVER, Action, RunUntil
from prefect_tune.experiment.trial import AUTO_FILLED, PENDING, Trial
from prefect_tune.experiment.view import ControllerView
from prefect_tune.text import in_words
from prefect_tune.validation import check_metric_name, check_mode, check_number

_logger = logging.getLogger("prefect_tune")

#: The metric of a trial that reports a bare number.
DEFAULT_METRIC = "_metric"


class TrialScheduler:
    """Base class of all schedulers, with Ray Tune's hooks.

    A subclass overrides the hooks it needs. Every hook gets the experiment as `controller`, a
    `ControllerView`, and the `trial` that it is about. Each `result` comes flattened: nested
    metrics are named with ``/``.

    A scheduler decides from what it is told and from nothing else: it reads no clock and does no
    I/O, so that a replayed experiment makes the same decisions again.
    """

    CONTINUE = Action.CONTINUE.value  #: go on
    PAUSE = Action.PAUSE.value  #: checkpoint, give the slot back, go on later
    STOP = Action.STOP.value  #: end the trial
    NOOP = "NOOP"  #: decided already (by `pause_trial` or `stop_trial`); do nothing more

    _metric: str | None = None
    _supports_buffered_results = True

    def __init_subclass__(cls, **kwargs: Any) -> None:
        # What a parent promises holds for the parent's decisions only.
        super().__init_subclass__(**kwargs)
        if "on_trial_result" in cls.__dict__ and "run_until" not in cls.__dict__:
            cls.run_until = TrialScheduler.run_until  # type: ignore[method-assign]

    @property
    def metric(self) -> str | None:
        """The metric that decisions are made by, None if there is none (yet)."""
        return self._metric

    @property
    def supports_buffered_results(self) -> bool:
        """False if results must be delivered one by one."""
        return self._supports_buffered_results

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        """Take over the experiment's metric and mode.

        Args:
            metric: The metric given to the experiment, if any.
            mode: ``min``, ``max`` or None.
            **spec: Further facts about the experiment; ignored here.

        Returns:
            False if the scheduler has its own already, which is the user's mistake.
        """
        if self._metric and metric:
            return False
        if metric:
            self._metric = metric
        return True

    def on_trial_add(self, controller: ControllerView, trial: Trial) -> None:
        """A trial exists, or is back after a failure and will run again."""

    def on_trial_error(self, controller: ControllerView, trial: Trial) -> None:
        """An attempt of the trial failed. If it is retried, `on_trial_add` follows."""

    def on_trial_result(
        self, controller: ControllerView, trial: Trial, result: dict[str, Any]
    ) -> str:
        """Decide after a result of a running trial.

        Returns:
            `CONTINUE`, `PAUSE`, `STOP` or `NOOP`.
        """
        return self.CONTINUE

    def on_trial_complete(
        self, controller: ControllerView, trial: Trial, result: dict[str, Any]
    ) -> None:
        """A running trial came to its end, or was stopped, with `result` as its last one."""

    def on_trial_remove(self, controller: ControllerView, trial: Trial) -> None:
        """A pending or paused trial will not run (again)."""

    def choose_trial_to_run(self, controller: ControllerView) -> Trial | None:
        """Return the trial to launch or to go on with next, None if there is none now."""
        raise NotImplementedError(f"{type(self).__name__} has no choose_trial_to_run().")

    def run_until(self, trial: Trial) -> RunUntil:
        """Where the trial has to wait for the next decision.

        The promise: for results before that point, `on_trial_result` returns `CONTINUE`. It is
        asked for when an attempt is launched and after each result that the trial waited on. The
        default promises nothing, and so does a subclass that overrides `on_trial_result` only.
        """
        return EVERY_RESULT

    def why_stopped(self, result: Mapping[str, Any]) -> str:
        """Say, for people, why `on_trial_result` has answered this result with `STOP`."""
        return f"stopped by {type(self).__name__}"

    def debug_string(self) -> str:
        """Return one or more lines about the scheduler for the console."""
        return f"Using {type(self).__name__}."

    def get_state(self) -> dict[str, Any]:
        """Everything `set_state` needs to go on as if never interrupted.

        The state is picklable and may share data with the scheduler: pickle it before the next
        hook is called.
        """
        return dict(self.__dict__)

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state` of `get_state`."""
        self.__dict__.update(state)

    def save(self, checkpoint_path: str | os.PathLike[str]) -> None:
        """Write the state to the file `checkpoint_path`."""
        with open(checkpoint_path, "wb") as file:
            pickle.dump(self.get_state(), file)

    def restore(self, checkpoint_path: str | os.PathLike[str]) -> None:
        """Go on from the file `checkpoint_path` of `save`; load only files that you trust."""
        with open(checkpoint_path, "rb") as file:
            self.set_state(pickle.load(file))


class FIFOScheduler(TrialScheduler):
    """Runs trials in the order of their creation and lets each run to its end."""

    def choose_trial_to_run(self, controller: ControllerView) -> Trial | None:
        """Return the first pending trial that has resources, else the first such paused one."""
        paused: Trial | None = None
        for trial in controller.get_waiting_trials():
            if trial.status == PENDING:
                if controller.has_resources_for_trial(trial):
                    return trial
            elif paused is None and controller.has_resources_for_trial(trial):
                paused = trial
        return paused

    def run_until(self, trial: Trial) -> RunUntil:
        """Never: a trial is not stopped."""
        return NEVER

    def debug_string(self) -> str:
        """Return the line for the console."""
        return "Using FIFO scheduling algorithm."


class ObjectiveScheduler(FIFOScheduler):
    """A FIFO scheduler that compares trials by a metric over time.

    Args:
        time_attr: The result key that counts as time; it should not decrease.
        metric: The result key to compare by; None takes the experiment's.
        mode: ``max``, ``min``, or None for the experiment's.

    Raises:
        InvalidArgument: If `mode` is neither ``min`` nor ``max``, or a name is not a string.
    """

    def __init__(self, time_attr: str, metric: str | None, mode: str | None) -> None:
        check_metric_name("time_attr", time_attr)
        self._time_attr: str = time_attr
        self._metric = None
        self._mode: str | None = None
        self._metric_op = 1.0
        self._told_without_time = False
        self._set_objective(metric, mode)

    @property
    def stops_at(self) -> float | None:
        """The time at which every trial ends; None if none does for that."""
        return None

    def why_stopped(self, result: Mapping[str, Any]) -> str:
        """Tell the end of the way from a worse result."""
        time = result.get(self._time_attr)
        if self.stops_at is not None and time is not None and time >= self.stops_at:
            return f"it ran to max_t={self.stops_at:g}"
        return f"others were better at {self._time_attr}={time}"

    @property
    def metric_mode(self) -> str | None:
        """Whether decisions want `metric` to be ``min`` or ``max``; None if not known (yet)."""
        return self._mode

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        """Take over what the scheduler was not given; False if both sides name the same thing."""
        if (self._metric and metric) or (self._mode and mode):
            return False
        self._set_objective(metric, mode)
        if self._metric is None and self._mode is not None:
            self._metric = DEFAULT_METRIC
        return True

    def on_trial_add(self, controller: ControllerView, trial: Trial) -> None:
        """Check that the objective is known.

        Raises:
            InvalidArgument: If neither the scheduler nor the experiment has a metric and a mode.
        """
        if self._metric is None or self._mode is None:
            missing = "metric" if self._metric is None else "mode"
            raise InvalidArgument(
                missing,
                f"{type(self).__name__} needs a metric and a mode, but {missing} is not set.",
                "Give it to the scheduler or to the experiment.",
            )

    def _set_objective(self, metric: str | None, mode: str | None) -> None:
        if metric is not None:
            check_metric_name("metric", metric)
            self._metric = metric
        if mode is not None:
            check_mode(mode)
            self._mode = mode
            self._metric_op = 1.0 if mode == "max" else -1.0

    def _tell_without_time(self, trial: Trial, result: Mapping[str, Any]) -> None:
        """Say once that results without `time_attr` are not judged."""
        if self._told_without_time or self._time_attr in result:
            return
        self._told_without_time = True
        reported = ", ".join(repr(name) for name in result if name not in AUTO_FILLED)
        _logger.warning(
            "%s does not judge results without %r, its `time_attr`, as trial %s has reported one; "
            "it has reported %s. No trial is stopped early by such results.",
            type(self).__name__,
            self._time_attr,
            trial,
            reported or "nothing of its own",
        )

    def _number(self, result: Mapping[str, Any], key: str, argument: str) -> float:
        """Return the value of a key that the result has.

        Raises:
            InvalidArgument: If it cannot be read as a number.
        """
        value = result[key]
        if type(value) is float:
            return value
        try:
            return float(value)
        except OverflowError:
            return math.inf if value > 0 else -math.inf
        except (TypeError, ValueError):
            raise InvalidArgument(
                argument,
                f"a trial reported {in_words(value, repr)} ({type(value).__name__}) as {key!r}.",
                "Report a number.",
            ) from None


class GroupScheduler(ObjectiveScheduler):
    """A scheduler whose trials wait for each other: in vain for one that has ended in any way."""

    def on_trial_complete(
        self, controller: ControllerView, trial: Trial, result: dict[str, Any]
    ) -> None:
        """As `on_trial_remove`."""
        self.on_trial_remove(controller, trial)

    def on_trial_error(self, controller: ControllerView, trial: Trial) -> None:
        """As `on_trial_remove`; one that is retried comes back."""
        self.on_trial_remove(controller, trial)


def check_rungs(max_t: float, grace_period: float, reduction_factor: float) -> None:
    """Check the arguments that say at which times the rungs of a scheduler lie.

    Raises:
        InvalidArgument: If one is out of its range, or the first rung lies behind the end.
    """
    check_number("max_t", max_t, above=0)
    check_number("grace_period", grace_period, above=0)
    check_number("reduction_factor", reduction_factor, above=1)
    if grace_period > max_t:
        raise InvalidArgument(
            "grace_period", f"{grace_period!r} is more than max_t={max_t!r}.", "Lower it."
        )
