"""The stopper seam and how stoppers are combined."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from functools import reduce
from operator import or_
from typing import Any

from prefect_tune.error import InvalidArgument
from prefect_tune.experiment.decision import EVERY_RESULT, NEVER, RunUntil


class Stopper(ABC):
    """Says when a trial, or the whole experiment, has run enough.

    A subclass implements `__call__` and `stop_all`. A trial is named by its `trial_id`. Results
    come flattened: nested metrics are named with ``/``. A stopper reads no clock: `on_time` tells
    it the time.

    Stoppers combine: ``a | b`` stops where one of both does, ``a & b`` where both do.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        # What a parent promises holds for the parent's decisions only.
        super().__init_subclass__(**kwargs)
        if "__call__" in cls.__dict__ and "run_until" not in cls.__dict__:
            cls.run_until = Stopper.run_until  # type: ignore[method-assign]

    @abstractmethod
    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Return True if the trial has to stop at this result; called once for each result."""

    @abstractmethod
    def stop_all(self) -> bool:
        """True if the experiment is over: no new trials, running ones end at their next report."""

    def run_until(self, trial_id: str) -> RunUntil:
        """Where the trial has to wait for the next decision.

        The promise: for results before that point, the stopper returns False. It is asked for when
        an attempt is launched and after each result that the trial waited on. The default promises
        nothing, and so does a subclass that overrides `__call__` only.
        """
        return EVERY_RESULT

    def on_time(self, now: float) -> None:
        """It is `now`, in seconds since the epoch. Called again and again, also without results.

        Stoppers among the attributes, which a stopper of one's own may ask, are told it, too.
        """
        for stopper in self._asked():
            stopper.on_time(now)

    def on_resume(self, now: float) -> None:
        """An interrupted experiment goes on `now`; the time since `on_time` does not count."""
        for stopper in self._asked():
            stopper.on_resume(now)

    def _asked(self) -> Iterator[Stopper]:
        """Return the stoppers that are attributes of this one, also in lists and dicts."""
        for value in self.__dict__.values():
            several = value.values() if isinstance(value, dict) else value
            members = several if isinstance(value, (dict, list, tuple)) else (value,)
            yield from (one for one in members if isinstance(one, Stopper) and one is not self)

    def get_state(self) -> dict[str, Any]:
        """What `set_state` needs to go on as if never interrupted.

        The state is picklable and may share data with the stopper: pickle it before the next call.
        The package's own stoppers leave out their arguments, so that a resumed experiment can have
        others.
        """
        return dict(self.__dict__)

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state` of `get_state`."""
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
    """A stopper that judges each trial by itself and never ends the whole experiment."""

    def stop_all(self) -> bool:
        """False."""
        return False


class _CompositeStopper(Stopper):
    """Several stoppers as one; what is alike however they are combined.

    Args:
        *stoppers: The members.

    Raises:
        InvalidArgument: If one of them is not a `Stopper`.
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
        """Give each member the first state left that comes from its class.

        So a resumed experiment may have more or fewer stoppers than the interrupted one.
        """
        left = list(state["members"])
        for stopper in self.stoppers:
            for index, (name, member_state) in enumerate(left):
                if name == type(stopper).__name__:
                    stopper.set_state(member_state)
                    del left[index]
                    break

    def _until(self, trial_id: str) -> RunUntil:
        return reduce(or_, (stopper.run_until(trial_id) for stopper in self.stoppers), NEVER)


class CombinedStopper(_CompositeStopper):
    """Stops a trial, or the experiment, as soon as one of several stoppers says so.

    Args:
        *stoppers: The stoppers. Each sees every result.

    Raises:
        InvalidArgument: If one of them is not a `Stopper`.
    """

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Return True if one of them says so."""
        votes = [stopper(trial_id, result) for stopper in self.stoppers]
        return any(votes)

    def stop_all(self) -> bool:
        """Return True if one of them says so."""
        return any(stopper.stop_all() for stopper in self.stoppers)

    def run_until(self, trial_id: str) -> RunUntil:
        """Return the first point of any of them."""
        return self._until(trial_id)


class JointStopper(_CompositeStopper):
    """Stops a trial, or the experiment, only where all of several stoppers agree; see ``a & b``.

    A member that ends the whole experiment agrees to the end of each trial:
    ``TimeoutStopper(3600) & MaximumIterationStopper(10)`` stops trials with ten results or more
    once an hour has passed.

    Args:
        *stoppers: The stoppers. Each sees every result.

    Raises:
        InvalidArgument: If one of them is not a `Stopper`, or none is given.
    """

    def __init__(self, *stoppers: Stopper) -> None:
        if not stoppers:
            raise InvalidArgument("stoppers", "none is given.", "Give at least one Stopper.")
        super().__init__(*stoppers)

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Return True if all agree and it is not for `stop_all` alone to say."""
        votes = [stopper(trial_id, result) for stopper in self.stoppers]
        return any(votes) and all(
            vote or stopper.stop_all() for vote, stopper in zip(votes, self.stoppers, strict=True)
        )

    def stop_all(self) -> bool:
        """Return True if all of them say so."""
        return all(stopper.stop_all() for stopper in self.stoppers)

    def run_until(self, trial_id: str) -> RunUntil:
        """The first point of any of them: one has to vote, whichever, so that the trial stops."""
        return self._until(trial_id)


def _members(stopper: Stopper, kind: type[_CompositeStopper]) -> tuple[Stopper, ...]:
    """Return the members of a stopper of exactly this kind, else the stopper itself."""
    return stopper.stoppers if isinstance(stopper, kind) and type(stopper) is kind else (stopper,)
