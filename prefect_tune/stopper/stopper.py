"""Base class of stoppers, one that never stops, and combinations of stoppers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from functools import reduce
from operator import or_
from typing import Any

from prefect_tune.error import InvalidArgument
from prefect_tune.experiment.decision import EVERY_RESULT, NEVER, RunUntil


class Stopper(ABC):
    """Base class of objects that decide when a trial or the whole experiment ends.

    A subclass implements `__call__` and `stop_all`. Results are flattened: nested metrics have
    names with ``/``. A stopper must not read a clock; it gets the time by `on_time`.

    Stoppers can be combined: ``a | b`` stops where either does, ``a & b`` where both do.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        # An inherited `run_until` is valid for the parent's decisions only.
        super().__init_subclass__(**kwargs)
        if "__call__" in cls.__dict__ and "run_until" not in cls.__dict__:
            cls.run_until = Stopper.run_until  # type: ignore[method-assign]

    @abstractmethod
    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Return True if a trial has to stop at a result; called once for each result."""

    @abstractmethod
    def stop_all(self) -> bool:
        """Return True to end the experiment: running trials then end at their next report."""

    def run_until(self, trial_id: str) -> RunUntil:
        """Return the point at which the trial `trial_id` has to wait for the next decision.

        For all results before that point, the stopper must return False. The method is called when
        an attempt is launched and after each result that the trial waited on. By default, and in a
        subclass that overrides `__call__` only, trials wait at each result.
        """
        return EVERY_RESULT

    def on_time(self, now: float) -> None:
        """Note the time `now`, in seconds since the epoch; called often, also without results.

        The time is passed on to stoppers that are attributes of this one.
        """
        for stopper in self._inner_stoppers():
            stopper.on_time(now)

    def on_resume(self, now: float) -> None:
        """Note that an experiment is resumed at `now`; time since `on_time` does not count."""
        for stopper in self._inner_stoppers():
            stopper.on_resume(now)

    def _inner_stoppers(self) -> Iterator[Stopper]:
        """Yield the stoppers that are attributes of this one or in its lists and dicts."""
        for value in self.__dict__.values():
            several = value.values() if isinstance(value, dict) else value
            members = several if isinstance(value, (dict, list, tuple)) else (value,)
            yield from (one for one in members if isinstance(one, Stopper) and one is not self)

    def get_state(self) -> dict[str, Any]:
        """Return the state that `set_state` restores when an experiment is resumed.

        The state is picklable and may share data with the stopper, so it must be pickled before the
        next call. States of the package's stoppers do not contain their arguments, so that a
        resumed experiment can have others.
        """
        return dict(self.__dict__)

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Restore a `state` that `get_state` has returned."""
        self.__dict__.update(state)

    def __or__(self, other: Stopper) -> Stopper:
        if not isinstance(other, Stopper):
            return NotImplemented
        return CombinedStopper(*_members(self, CombinedStopper), *_members(other, CombinedStopper))

    def __and__(self, other: Stopper) -> Stopper:
        if not isinstance(other, Stopper):
            return NotImplemented
        return JointStopper(*_members(self, JointStopper), *_members(other, JointStopper))


class TrialStopper(Stopper):
    """Base class of stoppers that end single trials, never the whole experiment."""

    def stop_all(self) -> bool:
        """Return False."""
        return False


class _CompositeStopper(Stopper):
    """Base class of combinations of stoppers.

    Args:
        *stoppers: The members.

    Raises:
        InvalidArgument: If a member is not a `Stopper`.
    """

    def __init__(self, *stoppers: Stopper) -> None:
        for stopper in stoppers:
            if not isinstance(stopper, Stopper):
                raise InvalidArgument(
                    "stoppers", f"got {stopper!r}.", "Give instances of Stopper, each by itself."
                )
        self.stoppers = stoppers

    def get_state(self) -> dict[str, Any]:
        """Return the states of the members."""
        return {"members": [(type(s).__name__, s.get_state()) for s in self.stoppers]}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Restore each member from the first unused state of its class.

        A resumed experiment may therefore have more or fewer stoppers than the interrupted one.
        """
        left = list(state["members"])
        for stopper in self.stoppers:
            for index, (name, member_state) in enumerate(left):
                if name == type(stopper).__name__:
                    stopper.set_state(member_state)
                    del left[index]
                    break

    def run_until(self, trial_id: str) -> RunUntil:
        """Return the first point at which one of the stoppers needs a decision."""
        return reduce(or_, (stopper.run_until(trial_id) for stopper in self.stoppers), NEVER)


class CombinedStopper(_CompositeStopper):
    """Stops a trial or the experiment as soon as one of several stoppers does; see ``a | b``.

    Args:
        *stoppers: The stoppers. Each gets every result.

    Raises:
        InvalidArgument: If one of the arguments is not a `Stopper`.
    """

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Return True if one of the stoppers stops the trial."""
        votes = [stopper(trial_id, result) for stopper in self.stoppers]
        return any(votes)

    def stop_all(self) -> bool:
        """Return True if one of the stoppers ends the experiment."""
        return any(stopper.stop_all() for stopper in self.stoppers)

    run_until = _CompositeStopper.run_until


class JointStopper(_CompositeStopper):
    """Stops a trial or the experiment only where all of several stoppers do; see ``a & b``.

    A stopper that ends the whole experiment also counts as stopping each trial:
    ``TimeoutStopper(3600) & MaximumIterationStopper(10)`` stops trials with ten results or more
    once an hour has passed.

    Args:
        *stoppers: The stoppers. Each gets every result.

    Raises:
        InvalidArgument: If one of the arguments is not a `Stopper`, or there are none.
    """

    def __init__(self, *stoppers: Stopper) -> None:
        if not stoppers:
            raise InvalidArgument("stoppers", "none is given.", "Give at least one Stopper.")
        super().__init__(*stoppers)

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Return True if all stoppers stop the trial or the experiment, and one stops the trial."""
        votes = [stopper(trial_id, result) for stopper in self.stoppers]
        return any(votes) and all(
            vote or stopper.stop_all() for vote, stopper in zip(votes, self.stoppers, strict=True)
        )

    def stop_all(self) -> bool:
        """Return True if all stoppers end the experiment."""
        return all(stopper.stop_all() for stopper in self.stoppers)

    run_until = _CompositeStopper.run_until


def _members(stopper: Stopper, kind: type[_CompositeStopper]) -> tuple[Stopper, ...]:
    """Return the members of a stopper of exactly this class, else the stopper itself."""
    return stopper.stoppers if isinstance(stopper, kind) and type(stopper) is kind else (stopper,)


class NoopStopper(TrialStopper):
    """A stopper that never stops a trial or the experiment."""

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Return False."""
        return False

    def run_until(self, trial_id: str) -> RunUntil:
        """Return that the trial never waits."""
        return NEVER
