"""Stop trials by a user's function."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from prefect_tune.error import InvalidArgument
from prefect_tune.stopper.stopper import Stopper, TrialStopper


class FunctionStopper(TrialStopper):
    """Stops a trial at a result for which a function returns True.

    Trials wait for the function's decision at each result.

    Args:
        function: Called with ``(trial_id, result)``; its return value is taken as true or false.

    Raises:
        InvalidArgument: If the function cannot be called with two arguments.
    """

    def __init__(self, function: Callable[[str, dict[str, Any]], Any]) -> None:
        if not self.is_valid_function(function):
            raise InvalidArgument("stop", f"got {function!r}.", _HINT)
        _check_signature(function)
        self._function = function

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Return the function's decision."""
        return bool(self._function(trial_id, result))

    def get_state(self) -> dict[str, Any]:
        """Return an empty state, since a resumed experiment gets the function from the user."""
        return {}

    @classmethod
    def is_valid_function(cls, function: Any) -> bool:
        """Return True for a callable that is not itself a stopper.

        Raises:
            InvalidArgument: If `function` has a `stop_all` but does not derive from `Stopper`.
        """
        if not callable(function) or isinstance(function, (Stopper, type)):
            return False
        if hasattr(function, "stop_all"):
            raise InvalidArgument(
                "stop",
                f"{type(function).__name__} has a stop_all() but is not a Stopper.",
                "Derive it from prefect_tune.stopper.Stopper.",
            )
        return True


_HINT = "Give a function of (trial_id, result) that returns True to stop the trial."


def _check_signature(function: Callable[..., Any]) -> None:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some builtins have no signature
        return
    try:
        signature.bind("trial_id", {})
    except TypeError as error:
        name = getattr(function, "__name__", type(function).__name__)
        raise InvalidArgument(
            "stop", f"{name}{signature} cannot be called with two arguments ({error}).", _HINT
        ) from None
