"""`TrialScheduler`: the base class of schedulers, and base classes of kinds of schedulers."""

from __future__ import annotations

import logging
import os
import pickle
from collections.abc import Mapping
from typing import Any

from prefect_tune.error import InvalidArgument
from prefect_tune.experiment.decision import EVERY_RESULT, NEVER, Action, RunUntil
from prefect_tune.experiment.trial import AUTO_FILLED, PENDING, Trial
from prefect_tune.experiment.view import ControllerView
from prefect_tune.validation import as_number, check_metric_name, check_mode, check_number

_logger = logging.getLogger("prefect_tune")

#: The metric of a trial that reports a bare number.
DEFAULT_METRIC = "_metric"


class TrialScheduler:
    """Base class of all schedulers, with Ray Tune's hooks.

    A subclass overrides the hooks it needs. Each hook gets the experiment as `controller`, a
    `ControllerView`, and a `trial`. Each `result` is flattened: nested metrics have names with
    ``/``.

    A scheduler must decide by its hooks' arguments only: it reads no clock and does no I/O, so that
    a replayed experiment makes the same decisions again.
    """

    CONTINUE = Action.CONTINUE.value  #: continue the trial
    PAUSE = Action.PAUSE.value  #: save a checkpoint, free the slot, continue the trial later
    STOP = Action.STOP.value  #: end the trial
    NOOP = "NOOP"  #: do nothing, after a call of `pause_trial` or `stop_trial`

    _metric: str | None = None
    _supports_buffered_results = True

    def __init_subclass__(cls, **kwargs: Any) -> None:
        # An inherited `run_until` is valid for the parent's decisions only.
        super().__init_subclass__(**kwargs)
        if "on_trial_result" in cls.__dict__ and "run_until" not in cls.__dict__:
            cls.run_until = TrialScheduler.run_until  # type: ignore[method-assign]

    @property
    def metric(self) -> str | None:
        """The metric that decisions are made by, None if there is none or not yet."""
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
            **spec: Further properties of the experiment; ignored here.

        Returns:
            False if the scheduler has a metric of its own already, which is an error of the user.
        """
        if self._metric and metric:
            return False
        if metric:
            self._metric = metric
        return True

    def on_trial_add(self, controller: ControllerView, trial: Trial) -> None:
        """Note a new trial, or a trial that will be retried after a failure."""

    def on_trial_error(self, controller: ControllerView, trial: Trial) -> None:
        """Note that an attempt of a trial failed; `on_trial_add` follows if it is retried."""

    def on_trial_result(
        self, controller: ControllerView, trial: Trial, result: dict[str, Any]
    ) -> str:
        """Decide whether a running trial continues, pauses or stops after a result.

        Returns:
            `CONTINUE`, `PAUSE`, `STOP` or `NOOP`.
        """
        return self.CONTINUE

    def on_trial_complete(
        self, controller: ControllerView, trial: Trial, result: dict[str, Any]
    ) -> None:
        """Note that a running trial has ended or was stopped; `result` is its last result."""

    def on_trial_remove(self, controller: ControllerView, trial: Trial) -> None:
        """Note that a pending or paused trial will not run any more."""

    def choose_trial_to_run(self, controller: ControllerView) -> Trial | None:
        """Return the next trial to launch or to resume, None if there is none now."""
        raise NotImplementedError(f"{type(self).__name__} has no choose_trial_to_run().")

    def run_until(self, trial: Trial) -> RunUntil:
        """Return the point at which a trial has to wait for the next decision.

        For all results before that point, `on_trial_result` must return `CONTINUE`. The method is
        called when an attempt is launched and after each result that the trial waited on. By
        default, and in a subclass that overrides `on_trial_result` only, trials wait at every
        result.
        """
        return EVERY_RESULT

    def why_stopped(self, result: Mapping[str, Any]) -> str:
        """Return a text that says why `on_trial_result` returned `STOP` for a result."""
        return f"stopped by {type(self).__name__}"

    def debug_string(self) -> str:
        """Return one or more lines about the scheduler for the console."""
        return f"Using {type(self).__name__}."

    def get_state(self) -> dict[str, Any]:
        """Return the state that `set_state` restores when an experiment is resumed.

        The state is picklable and may share data with the scheduler, so it must be pickled before
        the next hook is called.
        """
        return dict(self.__dict__)

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Restore a `state` that `get_state` returned."""
        self.__dict__.update(state)

    def save(self, checkpoint_path: str | os.PathLike[str]) -> None:
        """Write the state to the file `checkpoint_path`."""
        with open(checkpoint_path, "wb") as file:
            pickle.dump(self.get_state(), file)

    def restore(self, checkpoint_path: str | os.PathLike[str]) -> None:
        """Restore the state from a file of `save`; the file is unpickled, so it must be trusted."""
        with open(checkpoint_path, "rb") as file:
            self.set_state(pickle.load(file))


class FIFOScheduler(TrialScheduler):
    """Runs trials in the order of their creation and lets each run to its end."""

    def choose_trial_to_run(self, controller: ControllerView) -> Trial | None:
        """Return the first pending trial with free resources, or else the first such paused one."""
        paused: Trial | None = None
        for trial in controller.get_waiting_trials():
            if trial.status == PENDING:
                if controller.has_resources_for_trial(trial):
                    return trial
            elif paused is None and controller.has_resources_for_trial(trial):
                paused = trial
        return paused

    def run_until(self, trial: Trial) -> RunUntil:
        """Return that trials never wait."""
        return NEVER

    def debug_string(self) -> str:
        """Return a line about the scheduler for the console."""
        return "Using FIFO scheduling algorithm."


class ObjectiveScheduler(FIFOScheduler):
    """Base class of schedulers that compare trials by a metric over time.

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
        """The time at which the scheduler ends each trial; None if it does not."""
        return None

    def why_stopped(self, result: Mapping[str, Any]) -> str:
        """Return whether the trial reached `max_t` or others were better."""
        time = result.get(self._time_attr)
        if self.stops_at is not None and time is not None and time >= self.stops_at:
            return f"it ran to max_t={self.stops_at:g}"
        return f"others were better at {self._time_attr}={time}"

    @property
    def metric_mode(self) -> str | None:
        """The mode of `metric`, ``min`` or ``max``; None if it is not known or not yet."""
        return self._mode

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        """Take over metric and mode; False if the scheduler and the experiment both have one."""
        if (self._metric and metric) or (self._mode and mode):
            return False
        self._set_objective(metric, mode)
        if self._metric is None and self._mode is not None:
            self._metric = DEFAULT_METRIC
        return True

    def on_trial_add(self, controller: ControllerView, trial: Trial) -> None:
        """Check that metric and mode are known.

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
        """Log a warning, once, that results without `time_attr` are not judged."""
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
            InvalidArgument: If the value cannot be converted to a number.
        """
        return as_number(result[key], argument, key, "Report a number.")


class GroupScheduler(ObjectiveScheduler):
    """Base class of schedulers whose trials wait for each other, until they end in any way."""

    def on_trial_complete(
        self, controller: ControllerView, trial: Trial, result: dict[str, Any]
    ) -> None:
        """Handle the end of a trial as `on_trial_remove` does."""
        self.on_trial_remove(controller, trial)

    def on_trial_error(self, controller: ControllerView, trial: Trial) -> None:
        """Handle a failed attempt as `on_trial_remove` does; a retried trial is added again."""
        self.on_trial_remove(controller, trial)


def check_rungs(max_t: float, grace_period: float, reduction_factor: float) -> None:
    """Check the arguments that define the times of a scheduler's rungs.

    Raises:
        InvalidArgument: If an argument is out of its range, or the first rung is after `max_t`.
    """
    check_number("max_t", max_t, above=0)
    check_number("grace_period", grace_period, above=0)
    check_number("reduction_factor", reduction_factor, above=1)
    if grace_period > max_t:
        raise InvalidArgument(
            "grace_period", f"{grace_period!r} is more than max_t={max_t!r}.", "Lower it."
        )
