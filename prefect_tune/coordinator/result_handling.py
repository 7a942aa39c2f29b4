"""Handles reported results: checks metrics, asks stopper and scheduler, sends decisions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from prefect_tune.coordinator.commands import Notice, Notify, TellSearch
from prefect_tune.coordinator.control import Shutdown
from prefect_tune.coordinator.events import ResultReported
from prefect_tune.coordinator.lifecycle import Lifecycle
from prefect_tune.coordinator.shared_state import SharedState
from prefect_tune.coordinator.table import LiveTrial
from prefect_tune.error import MissingMetric, TuneError
from prefect_tune.experiment.checkpoints import Progress
from prefect_tune.experiment.decision import Action
from prefect_tune.experiment.plain import number_of
from prefect_tune.experiment.trial import ALL_AUTO_FILLED, RUNNING
from prefect_tune.nested import flatten
from prefect_tune.text import in_words

_NOT_USER_METRICS = ALL_AUTO_FILLED | {"timesteps_this_iter", "episodes_this_iter", "_metric"}


def check_metrics(flat_result: dict[str, Any], metrics: Iterable[str], trial: object) -> None:
    """Raise if a result lacks a metric of the experiment (strict metric checking).

    A result without any metric of the user's own passes. NaN and infinity pass, too: they never
    rank best.

    Raises:
        MissingMetric: If a metric is missing or is not a number; the message names the trial, the
            metric, the reported ones, and how to switch the check off.
    """
    for metric in metrics:
        if metric in flat_result:
            value = flat_result[metric]
            if type(value) is not float and value is not None and number_of(value) is None:
                raise MissingMetric(
                    f"Trial {trial} reported {metric}={in_words(value, repr)} "
                    f"({type(value).__name__}). The `metric` of an experiment must be a number: "
                    f"report e.g. float(...)."
                )
            continue
        reported = sorted(str(key) for key in flat_result if key not in _NOT_USER_METRICS)
        if not reported and "_metric" not in flat_result:
            continue
        raise MissingMetric(
            f"Trial {trial} reported a result without {metric!r}, the `metric` that the "
            f"experiment optimises; it reported {reported or ['_metric']}. Report the metric "
            f"each time, name one of these as `metric`, or set "
            f"TUNE_DISABLE_STRICT_METRIC_CHECKING=1 to switch this check off."
        )


_BY_REQUEST = "stopped by request"


class ResultHandling:
    """Handles results, and the scheduler's requests while it handles one.

    Args:
        shared: The state of the coordinator.
        lifecycle: The transitions of trials.
        shutdown: Ends trials and the experiment.
    """

    def __init__(self, shared: SharedState, lifecycle: Lifecycle, shutdown: Shutdown) -> None:
        self._shared = shared
        self._lifecycle = lifecycle
        self._shutdown = shutdown
        # The trial whose result the scheduler handles, and what was requested for it meanwhile.
        self._handled: LiveTrial | None = None
        self._requested = Action.CONTINUE

    def on_reported(self, event: ResultReported) -> None:
        """Handle one or more results of an attempt."""
        live = self._shared.table.current(event.trial_id, event.attempt)
        if live is None:
            return
        if live.closing is not None:
            self._on_repeated(live, live.closing, event)
            return
        last = len(event.results) - 1
        accepted: list[int] = []
        for index, result in enumerate(event.results):
            seq = event.first_seq + index
            if seq <= live.last_seq:
                continue
            if live.stop_reason and not self._shared.replaying and not self._still_counts(live):
                break
            live.last_seq = seq
            line = event.lines[index] if event.lines else None
            awaiting = event.awaiting and index == last
            if not self._on_result(live, result, line, awaiting, event.stop and index == last):
                break
            accepted.append(index)
        if accepted:
            self._shared.recorder.results(event, accepted[0], accepted[-1] + 1, live.completed)

    def _still_counts(self, live: LiveTrial) -> bool:
        """Return whether a report of a trial that was told to end still counts.

        It counts if the trial was told to end by a stop of the experiment or by its time limit. A
        trial that was stopped at a result has ended with that result.
        """
        return not live.completed and bool(self._shared.stopping or live.overdue)

    def _on_repeated(self, live: LiveTrial, closing: int, event: ResultReported) -> None:
        """Handle results of an attempt that only has to write the last checkpoint again."""
        live.last_seq = event.first_seq + len(event.results) - 1
        last = event.results[-1]
        at_end = last.get("done") is True or (last.get("training_iteration") or 0) >= closing
        if at_end and not live.stop_reason:
            live.stop_reason = "it had ended before"
            self._lifecycle.decide(live, live.last_seq if event.awaiting else 0, Action.STOP)
        elif event.awaiting:
            action = Action.STOP if at_end else Action.CONTINUE
            self._lifecycle.decide(live, live.last_seq, action)

    def _on_result(
        self,
        live: LiveTrial,
        result: dict[str, Any],
        line: bytes | None,
        awaiting: bool,
        stopped: bool,
    ) -> bool:
        """Handle one result; return False if it is invalid, which ends the experiment."""
        shared, trial = self._shared, live.trial
        flat = flatten(result)
        size = len(result)
        was_told_to_stop = bool(live.stop_reason)
        try:
            action, reason = self._decide(live, result, flat)
        except TuneError as error:
            if not shared.replaying:
                self._shutdown.abort(error)
                return False
            action, reason = Action.CONTINUE, ""
        if len(result) != size:
            line = None  # a stopper or scheduler has added a key, which the text lacks
            flat = flatten(result)
        if shared.replaying:
            action = Action.STOP if stopped else Action.CONTINUE
        elif was_told_to_stop and action in (Action.PAUSE, Action.SAVE):
            action = Action.CONTINUE
        if action is Action.STOP:
            # Copies: the journal gets what was reported.
            is_flat = flat is result
            result = {**result, "done": True}
            flat = result if is_flat else {**flat, "done": True}
            line = None
            live.stop_reason = reason or "it was stopped"
        elif shared.options.search_wants_results:
            shared.emit(TellSearch(trial.trial_id, flat, complete=False))
        shared.emit(Notify(Notice.TRIAL_RESULT, trial.trial_id, result, line))
        trial.update_last_result(result, flat, shared.now)
        if action is Action.STOP:
            if shared.options.saves_at_end:
                live.book.expect(Progress.of(result).iteration)
            self._lifecycle.complete(live)
        if action is not Action.CONTINUE or (awaiting and not was_told_to_stop):
            self._lifecycle.decide(live, live.last_seq if awaiting else 0, action)
        self._shutdown.check_stopper()
        return True

    def _decide(
        self, live: LiveTrial, result: dict[str, Any], flat: dict[str, Any]
    ) -> tuple[Action, str]:
        """Ask stopper and scheduler what the trial does next; return their decision and a reason.

        Args:
            live: The trial.
            result: The reported result; keys that stopper and scheduler add are added to it.
            flat: The same result with nested keys joined by ``/``.

        Raises:
            TuneError: If the result lacks a metric or has a value that cannot be used.
        """
        shared = self._shared
        check_metrics(flat, shared.options.metrics, live.trial)
        self._handled, self._requested = live, Action.CONTINUE
        try:
            # Stopping functions may look metrics up either way, nested or flat.
            both = result if flat is result else {**result, **flat}
            known = len(both)
            wants_stop = shared.stopper(live.trial.trial_id, both)
            if both is not result and len(both) != known:  # the stopper has added a key
                result.update({k: both[k] for k in both if k not in flat and k not in result})
            if wants_stop or flat.get("done") is True:
                return Action.STOP, "a stopping criterion was met"
            known = len(flat)
            answer = shared.scheduler.on_trial_result(shared.view, live.trial, flat)
            if flat is not result and len(flat) != known:  # the scheduler has added a key
                result.update(list(flat.items())[known:])
        finally:
            self._handled = None
        if answer == Action.STOP:
            return Action.STOP, shared.scheduler.why_stopped(flat)
        if self._requested is Action.STOP:
            return Action.STOP, _BY_REQUEST
        # NOOP: the scheduler has called the controller for the trial, which goes on meanwhile.
        return (Action.PAUSE if answer == Action.PAUSE else self._requested), ""

    # -- requests of the scheduler ----------------------------------------------------------------

    def save(self, live: LiveTrial) -> None:
        """Have a trial save a checkpoint, if the scheduler is handling its result."""
        if live is self._handled and self._requested is Action.CONTINUE:
            self._requested = Action.SAVE

    def pause(self, live: LiveTrial) -> None:
        """Pause a running trial: at this result if the scheduler handles it, else at its next."""
        if live is self._handled:
            if self._requested is not Action.STOP:
                self._requested = Action.PAUSE
        elif live.trial.status == RUNNING and not live.stop_reason:
            self._lifecycle.decide(live, 0, Action.PAUSE)

    def stop(self, live: LiveTrial) -> None:
        """End a trial: at this result if the scheduler handles it, at once if it waits."""
        if live is self._handled:
            self._requested = Action.STOP
        else:
            self._shutdown.stop_trial(live, _BY_REQUEST)
