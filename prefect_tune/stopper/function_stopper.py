"""A user's function as a stopper."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from prefect_tune.error import InvalidArgument
from prefect_tune.stopper.stopper import Stopper, TrialStopper


class FunctionStopper(TrialStopper):
    """Stops a trial where a function says so.

    Nothing is known about the function, so trials wait for it at each result.

    Args:
        function: Called with ``(trial_id, result)``; what it returns is taken as true or false.

    Raises:
        InvalidArgument: If it cannot be called that way.
    """

    def __init__(self, function: Callable[[str, dict[str, Any]], Any]) -> None:
        if not self.is_valid_function(function):
            raise InvalidArgument("stop", f"got {function!r}.", _HINT)
        _check_signature(function)
        self._function = function

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """What the function says."""
        return bool(self._function(trial_id, result))

    def get_state(self) -> dict[str, Any]:
        """Nothing: the function comes from the user again."""
        return {}

    @classmethod
    def is_valid_function(cls, function: Any) -> bool:
        """Return True for a callable that is not itself a stopper.

        Raises:
            InvalidArgument: If it has a `stop_all` but does not derive from `Stopper`.
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
    except (TypeError, ValueError):  # a builtin that does not tell
        return
    try:
        signature.bind("trial_id", {})
    except TypeError as error:
        name = getattr(function, "__name__", type(function).__name__)
        raise InvalidArgument(
            "stop", f"{name}{signature} cannot be called with two arguments ({error}).", _HINT
        ) from None
