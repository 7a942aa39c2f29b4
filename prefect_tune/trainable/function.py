"""Validates trainables, and runs function trainables."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Generator, Mapping
from typing import Any

from prefect_tune.error import InvalidTrainable
from prefect_tune.trainable.runtime.attempt_session import Session
from prefect_tune.trainable.runtime.metrics import as_metrics, is_number
from prefect_tune.trainable.trainable import Trainable, runs_steps

_RIGHT = "Write e.g. `def train(config): ...` and report from it."


class LegacyReporter:
    """Reporter of ``f(config, reporter)``: call it to report metrics.

    Attributes:
        logdir: Directory of the trial.
        trial_id: Id of the trial.
        trial_name: Name of the trial.
        trial_resources: Bundles reserved for the trial.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self.logdir = session.context.trial_dir
        self.trial_id = session.context.launch.trial_id
        self.trial_name = session.context.launch.name
        self.trial_resources = session.context.launch.resources.factory

    def __call__(self, _metric: Any = None, **metrics: Any) -> None:
        """Report ``reporter(loss=0.1)`` or ``reporter(0.1)``."""
        named = {} if _metric is None else as_metrics(_metric)
        self._session.report({**named, **metrics})


def validate_trainable(
    trainable: object, argument: str = "trainable", allow_abstract: bool = False
) -> None:
    """Check that an object can be run as a trainable.

    Args:
        trainable: The object that the user gave.
        argument: Name of the user's argument, for errors.
        allow_abstract: True to accept a class without a `step`.

    Raises:
        InvalidTrainable: If `trainable` cannot be run; the message says why.
    """
    if inspect.isclass(trainable):
        _validate_class(trainable, argument, allow_abstract)
        return
    if not callable(trainable):
        raise InvalidTrainable(argument, f"{trainable!r:.80} is not callable.", _RIGHT)
    name = trainable_name(trainable)
    if inspect.iscoroutinefunction(trainable) or inspect.isasyncgenfunction(trainable):
        raise InvalidTrainable(argument, f"{name} is an async function.", _RIGHT)
    try:
        signature = inspect.signature(trainable)
    except ValueError:  # a builtin without a signature
        return
    try:
        signature.bind({}, **_keywords(signature.parameters))
    except TypeError as error:
        raise InvalidTrainable(
            argument,
            f"{name}{signature} cannot be called with one argument, the config ({error}).",
            _RIGHT,
        ) from None


def _validate_class(trainable: type, argument: str, allow_abstract: bool) -> None:
    right = "Write e.g. `class Train(tune.Trainable)` with a method `step`."
    if not issubclass(trainable, Trainable):
        raise InvalidTrainable(
            argument, f"the class {trainable.__name__} is not a `Trainable`.", right
        )
    if not allow_abstract and not runs_steps(trainable):
        raise InvalidTrainable(argument, f"{trainable.__name__} has no method `step`.", right)


def takes_checkpoint_dir(trainable: Callable[..., Any]) -> bool:
    """Return True if a function has a parameter `checkpoint_dir`."""
    return "checkpoint_dir" in _parameters(trainable)


def without_partials(trainable: Any) -> Any:
    """Return the function or class inside nested `functools.partial` objects."""
    while isinstance(trainable, functools.partial):
        trainable = trainable.func
    return trainable


def trainable_name(trainable: object) -> str:
    """Return a trainable's name, in a form that file names may contain."""
    trainable = without_partials(trainable)
    name = getattr(trainable, "__name__", None) or type(trainable).__name__
    return "lambda" if name == "<lambda>" else str(name)


def run_function(function: Callable[..., Any], session: Session) -> None:
    """Run a function trainable to its end; report the values that it returns or yields.

    Raises:
        TrialEnding: If the attempt was ended at a report.
        InvalidTrainable: If it returns or yields anything but dicts and numbers.
    """
    context = session.context
    parameters = _parameters(function)
    keywords = _keywords(parameters, LegacyReporter(session), context.checkpoint)
    outcome = function(context.launch.config, **keywords)
    if inspect.isgenerator(outcome):
        outcome = _run_generator(outcome, session)
    _report_output(outcome, "returned", session)
    session.finish()


def _run_generator(results: Generator[Any, Any, Any], session: Session) -> Any:
    try:
        while True:
            try:
                result = next(results)
            except StopIteration as end:
                return end.value
            _report_output(result, "yielded", session)
    finally:
        # If a report ends the attempt, closing the generator runs its `finally` blocks.
        results.close()


def _report_output(output: Any, how: str, session: Session) -> None:
    if output is None:
        return
    if not isinstance(output, dict) and not is_number(output):
        raise InvalidTrainable(
            "trainable",
            f"it {how} {type(output).__name__} ({output!r:.80}).",
            "What a trainable returns or yields is a dict of metrics, a number, or nothing.",
        )
    if session.ending is None or how == "yielded":
        session.report(as_metrics(output))


def _parameters(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    """Return the parameters of a function; {} for a builtin without a signature."""
    try:
        return inspect.signature(function).parameters
    except ValueError:
        return {}


def _keywords(
    parameters: Mapping[str, inspect.Parameter],
    reporter: LegacyReporter | None = None,
    checkpoint_dir: str | None = None,
) -> dict[str, Any]:
    """Return the keyword arguments that a function trainable gets besides its configuration."""
    if "checkpoint_dir" in parameters:
        has_default = parameters["checkpoint_dir"].default is not inspect.Parameter.empty
        is_left_out = checkpoint_dir is None and has_default
        return {} if is_left_out else {"checkpoint_dir": checkpoint_dir}
    return {"reporter": reporter} if "reporter" in parameters else {}
