"""Several experiments at once, each with an engine and a thread of its own."""

from __future__ import annotations

import contextvars
import copy
import functools
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar

from prefect_tune.engine.signals import relay_signals
from prefect_tune.error import ExperimentInterrupted
from prefect_tune.experiments import Experiment
from prefect_tune.reporters.notebook import in_notebook
from prefect_tune.reporters.plain import PlainReporter
from prefect_tune.results import ExperimentAnalysis

log = logging.getLogger(__name__)
_T = TypeVar("_T")
#: Arguments whose objects follow one experiment.
_OF_ITS_OWN = ("search_alg", "scheduler", "stop", "progress_reporter")


class _Call(Generic[_T]):
    """A call in a thread of its own."""

    def __init__(self, call: Callable[[], _T], name: str) -> None:
        self._call = call
        self._outcome: list[_T] = []
        self._error: BaseException | None = None
        # Each in a context of its own: a flow run that this happens in is everybody's parent.
        context = contextvars.copy_context()
        self._thread = threading.Thread(target=context.run, args=(self._run,), name=name)

    def start(self) -> None:
        self._thread.start()

    def wait(self) -> None:
        self._thread.join()

    def outcome(self) -> _T | ExperimentInterrupted:
        if isinstance(self._error, ExperimentInterrupted):
            return self._error
        if self._error is not None:
            raise self._error
        return self._outcome[0]

    def _run(self) -> None:
        try:
            self._outcome.append(self._call())
        except BaseException as error:
            self._error = error


def run_several(
    run: Callable[..., ExperimentAnalysis],
    experiments: Sequence[Experiment],
    given: Mapping[str, Any],
    concurrent: bool,
) -> list[ExperimentAnalysis]:
    """Run several experiments.

    Each has a scheduler, a search and stoppers of its own, copies of those that are given: they
    judge the trials of one experiment by each other.

    Args:
        run: `prefect_tune.run`.
        experiments: What to run.
        given: Arguments for all; those that an experiment brings along win.
        concurrent: At the same time, or one by one.

    Raises:
        Exception: What the first of those that failed raised, when all have ended.
        ExperimentInterrupted: If one was ended early; has the list of what there is of all.
    """
    calls = []
    taken: set[tuple[str, str]] = set()
    for experiment in experiments:
        arguments = {**given, **experiment.own_arguments}
        arguments["name"] = _free_name(experiment, taken)
        for name in _OF_ITS_OWN:
            arguments[name] = copy.deepcopy(arguments.get(name))
        shown = arguments.get("verbose") != 0 and arguments["progress_reporter"] is None
        if concurrent and shown and not in_notebook():
            # Two tables that are drawn anew again and again cannot share a terminal.
            arguments["progress_reporter"] = PlainReporter()
        calls.append(functools.partial(run, experiment.trainable, **arguments))
    outcomes = _side_by_side(calls) if concurrent else _one_by_one(calls)
    interrupted = [error for error in outcomes if isinstance(error, ExperimentInterrupted)]
    analyses = [
        outcome.analysis if isinstance(outcome, ExperimentInterrupted) else outcome
        for outcome in outcomes
    ]
    if interrupted:
        raise ExperimentInterrupted(str(interrupted[0]), analyses)
    return analyses


def _free_name(experiment: Experiment, taken: set[tuple[str, str]]) -> str:
    """A name that none of those before has in its place: each needs a directory of its own."""
    name, number = experiment.name, 1
    while (experiment.local_dir, name) in taken:
        number += 1
        name = f"{experiment.name}_{number}"
    if number > 1:
        log.warning("There is another experiment %r: this one is %r.", experiment.name, name)
    taken.add((experiment.local_dir, name))
    return name


def _one_by_one(calls: Sequence[Callable[[], _T]]) -> list[_T | ExperimentInterrupted]:
    """Make calls that run experiments; one that was interrupted is the last."""
    outcomes: list[_T | ExperimentInterrupted] = []
    for call in calls:
        try:
            outcomes.append(call())
        except ExperimentInterrupted as error:
            return [*outcomes, error]
    return outcomes


def _side_by_side(calls: Sequence[Callable[[], _T]]) -> list[_T | ExperimentInterrupted]:
    """Make calls that run experiments, at the same time; SIGINT and SIGTERM end them all."""
    running = [_Call(call, f"experiment-{number}") for number, call in enumerate(calls)]
    with relay_signals() as interruption:
        for call in running:
            call.start()
        for call in running:
            call.wait()
    interruption.reraise()
    return [call.outcome() for call in running]
