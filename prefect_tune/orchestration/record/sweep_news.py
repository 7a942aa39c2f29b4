"""Reports a sweep's progress in the flow run's log, and as events for automations."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from typing import Any

from prefect.events import Event, emit_event
from prefect.exceptions import EventTooLarge

from prefect_tune.experiment.trial import Trial
from prefect_tune.orchestration.control.current_flow import FlowIdentity
from prefect_tune.orchestration.control.sweep_events import ENDED, STARTED
from prefect_tune.orchestration.logs import RunLog, log_failure
from prefect_tune.orchestration.record.conclusion import Conclusion, Ending
from prefect_tune.orchestration.record.sweep_result import SweepResult, api_value
from prefect_tune.orchestration.record.texts import show_value
from prefect_tune.reporters.progress import Best, SweepProgress

CONTROLLED = "prefect-tune.sweep.controlled"
IMPROVED = "prefect-tune.sweep.improved"
FAILED = "prefect-tune.sweep.failed"
TRIAL_FAILED = "prefect-tune.trial.failed"
#: Prefect's own event for assets.
MATERIALIZED = "prefect.asset.materialization.succeeded"

#: Seconds between two checks of the trials, and between two lines of progress.
_CHECK_S = 1.0
_PROGRESS_S = 60.0
#: How often in a row the log says that the best trial has become better still, and how many seconds
#: apart it does from then on.
_SAME_TRIAL = 10
_SAME_TRIAL_S = 30.0
_MOST_FAILURES = 50
_LONGEST_ERROR = 500
_NOT_IN_ASSET_KEYS = re.compile(r"""[\s\0#?&%"'<>\[\]{}|\\^`]""")
_LONGEST_ASSET_KEY = 512


class SweepNews:
    """Logs and emits the start, improvements, failures, progress and the end of a sweep.

    The resource of the events is the outermost flow run, as for a sweep's signs of life; the flow
    run of the sweep, its deployment and its work pool are related to them.

    Args:
        flow: The flow run of the sweep; None sends no events.
        log: Logger of the flow run.
        progress: Progress of the trials.
        result: Returns the present result of the sweep.
        began: Monotonic time of the sweep's beginning; None is now.
    """

    def __init__(
        self,
        flow: FlowIdentity | None,
        log: RunLog,
        progress: SweepProgress,
        result: Callable[[], SweepResult],
        began: float | None = None,
    ) -> None:
        self._flow = flow
        self._log = log
        self._progress = progress
        self._result = result
        self._best: Best | None = None
        self._failures = 0
        self._next_progress = time.monotonic()
        self._began = self._next_progress if began is None else began
        self._next_report = 0.0
        self._next_of_trial = 0.0
        self._in_a_row = 0

    def started(self, what: str, trials: list[Trial]) -> None:
        """Report the beginning of the sweep.

        Args:
            what: Text that says what is tuned and how.
            trials: Earlier trials of a resumed experiment, which are not reported again.
        """
        self._progress.update(trials)
        self._failures, self._best = len(self._progress.errors), self._progress.best
        result = self._result()
        self._log.info("Sweep %s: %s. Results go to %s.", result.experiment, what, result.directory)
        self._next_progress = time.monotonic() + _PROGRESS_S
        self._emit(STARTED, result.model_dump())

    def report(self, trials: list[Trial], *, at_once: bool = False) -> None:
        """Report new failures and a new best value, if the last report is long enough ago.

        Args:
            trials: All trials.
            at_once: True reports them in any case.
        """
        now = time.monotonic()
        if now < self._next_report and not at_once:
            return
        self._next_report = now + _CHECK_S
        self._progress.update(trials)
        errors = self._progress.errors
        for number in range(self._failures, len(errors)):
            self._failed(errors[number], number + 1)
        self._failures = len(errors)
        best, sign = self._progress.best, 1 if self._progress.mode == "max" else -1
        # A trial's value may get worse again, and with it the best one.
        if best and (self._best is None or sign * best.value > sign * self._best.value):
            self._improved(best)
        elif now >= self._next_progress:
            self._log.info("%s trials.", self._progress.describe_counts())
            self._next_progress = now + _PROGRESS_S

    def controlled(self, what: str, by: str) -> None:
        """Report that a request to the sweep has been carried out.

        Args:
            what: Text that says what was done.
            by: Who has sent the request.
        """
        result = self._result()
        self._log.warning("Sweep %s: %s.", result.experiment, what)
        payload = {"experiment": result.experiment, "directory": result.directory}
        self._emit(CONTROLLED, {**payload, "what": what, "by": by})

    def ended(
        self, conclusion: Conclusion, follows: Event | None = None, at: float | None = None
    ) -> None:
        """Report how the sweep has ended.

        Args:
            conclusion: How the sweep has ended.
            follows: The last sign of life, which must precede the event.
            at: Monotonic time of the sweep's end; None is now.
        """
        seconds = (time.monotonic() if at is None else at) - self._began
        result = self._result()
        level = logging.INFO if conclusion.ending is Ending.COMPLETED else logging.WARNING
        self._log.log(
            level,
            "Sweep %s %s after %.0f s: %s%s.%s",
            result.experiment,
            conclusion.ending.value,
            seconds,
            conclusion.message.partition("\n")[0].rstrip("."),
            self._lost_best(),
            savings([*self._progress.finished, *self._progress.live]),
        )
        payload = {
            **result.model_dump(),
            "status": conclusion.ending.value,
            "message": show_value(conclusion.message),
            "seconds": seconds,
        }
        self._emit(ENDED, payload, follows)
        if conclusion.ending is Ending.FAILED:
            self._emit(FAILED, payload)
        if conclusion.ending is not Ending.INTERRUPTED and result.checkpoint is not None:
            self._announce_asset(result, result.checkpoint)

    def _lost_best(self) -> str:
        """Return a text that explains why the best value is worse than one reported before."""
        before, now = self._best, self._progress.best
        sign = 1 if self._progress.mode == "max" else -1
        if before is None or now is None or sign * before.value <= sign * now.value:
            return ""
        return (
            f" (trials count with their last value; {before.trial} had "
            f"{self._progress.metric}={before.value:.6g} in between)"
        )

    def _improved(self, best: Best) -> None:
        before, self._best = self._best, best
        metric, value = self._progress.metric, best.value
        config = ", ".join(f"{k}={show_value(v)}" for k, v in best.trial.evaluated_params.items())
        now = time.monotonic()
        is_other = before is None or best.trial is not before.trial
        self._in_a_row = 0 if is_other else self._in_a_row + 1
        if self._in_a_row < _SAME_TRIAL or now >= self._next_of_trial:
            self._next_of_trial = now + _SAME_TRIAL_S
            text = "%s=%.6g is the best so far, with %s."
            self._log.info(text, metric, value, config or best.trial)
        previous = None if before is None else api_value(before.value)
        self._emit(IMPROVED, {**self._result().model_dump(), "previous": previous})

    def _failed(self, trial: Trial, number: int) -> None:
        error = show_value(trial.error)[:_LONGEST_ERROR]
        if number <= _MOST_FAILURES:
            self._log.warning("Trial %s has failed: %s", trial, error)
        elif number == _MOST_FAILURES + 1:
            self._log.warning("Further trials that fail are not logged.")
        result = self._result()
        self._emit(
            TRIAL_FAILED,
            {
                "experiment": result.experiment,
                "directory": result.directory,
                "flow_run_id": result.flow_run_id,
                "trial": str(trial),
                "error": error,
                "config": api_value(trial.config),
                "failed": number,
                "trials": result.trials,
            },
        )

    def _announce_asset(self, result: SweepResult, checkpoint: str) -> None:
        """Emit that the best checkpoint is an asset, as a task that materializes it would.

        Prefect Cloud has a page of assets; a server of one's own has the event.
        """
        url = checkpoint if "://" in checkpoint else f"file://{checkpoint}"
        about = f"Best checkpoint of {result.experiment}"
        resource = {
            "prefect.resource.id": _NOT_IN_ASSET_KEYS.sub("_", url)[:_LONGEST_ASSET_KEY],
            "prefect.resource.name": about,
            "prefect.asset.description": f"{about}: {result.metric}={result.best_value}.",
        }
        left_out = {"counts", "trials", "failed"}
        self._emit(MATERIALIZED, result.model_dump(exclude=left_out), resource=resource)

    def _emit(
        self,
        event: str,
        payload: dict[str, Any],
        follows: Event | None = None,
        resource: dict[str, str] | None = None,
    ) -> None:
        if self._flow is None:
            return
        experiment = {"prefect-tune.experiment": str(payload["experiment"])}
        resource = (self._flow.resource if resource is None else resource) | experiment
        if "status" in payload:
            resource["prefect-tune.status"] = str(payload["status"])
        with log_failure("An event could not be sent."):
            try:
                emit_event(event, resource=resource, payload=payload, follows=follows)
            except EventTooLarge:
                large = ("config", "best_config", "best_metrics")
                small = {key: value for key, value in payload.items() if key not in large}
                emit_event(event, resource=resource, payload=small, follows=follows)


def savings(trials: list[Trial]) -> str:
    """Return a text that says how much training was saved by ending trials early; "" for none."""
    iterations = [trial.last_result.get("training_iteration") or 0 for trial in trials]
    longest = max(iterations, default=0)
    if not longest or sum(iterations) >= 0.95 * longest * len(iterations):
        return ""
    share = 1 - sum(iterations) / (longest * len(iterations))
    return f" {share:.0%} of the iterations that all trials to the end would have taken were saved."
