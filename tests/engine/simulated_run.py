"""A whole experiment in one thread that can be killed behind any record of its journal.

Everything is the real thing but for the trials, whose reports are made up one by one, and the
search's thread: it is asked and told at once, so that nothing depends on timing.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from prefect_tune.coordinator.commands import AskSearch, Decide, Kill, Launch, TellSearch
from prefect_tune.coordinator.coordinator import Coordinator
from prefect_tune.coordinator.events import (
    AttemptEnded,
    AttemptStarted,
    CapacityChanged,
    Control,
    ControlReceived,
    Event,
    Node,
    Outcome,
    ResultReported,
)
from prefect_tune.coordinator.options import CoordinatorOptions
from prefect_tune.engine.engine import Engine, EngineParts
from prefect_tune.engine.inbox import Inbox
from prefect_tune.engine.launcher import DirectLauncher
from prefect_tune.engine.naming import TrialMaker
from prefect_tune.engine.observers import Observers
from prefect_tune.engine.replay import replay
from prefect_tune.engine.search_feed import SearchFeed
from prefect_tune.engine.search_replay import SearchReplay
from prefect_tune.experiment.attempt_error import AttemptError
from prefect_tune.experiment.decision import Action
from prefect_tune.experiment.trial import Trial
from prefect_tune.resources import Resources
from prefect_tune.schedulers import TrialScheduler
from prefect_tune.search.source import TrialSource
from prefect_tune.stopper import Stopper
from prefect_tune.storage.layout import TrialDirNamer
from prefect_tune.storage.search_state import SearchState

#: What attempt `n` of a trial reports at each iteration, and whether it fails there.
Objective = Callable[[dict[str, Any], int, int], tuple[float, bool]]


class Killed(BaseException):
    """SIGKILL: nobody catches it."""


class Disk:
    """What outlives the process: the journal and the latest state of the search."""

    def __init__(self) -> None:
        self.records: list[bytes] = []
        self.state: SearchState | None = None
        self.room: int | None = None

    def append(self, records: Sequence[bytes]) -> None:
        for record in records:
            if self.room is not None and len(self.records) >= self.room:
                raise Killed
            self.records.append(record)

    def read(self, from_: int = 0) -> Iterator[bytes]:
        return iter(self.records[from_:])

    def close(self) -> None: ...

    def save(self, state: SearchState) -> None:
        self.state = state


class Trials:
    """An executor whose attempts take turns; each turn is one event."""

    def __init__(self, slots: int, iterations: int, objective: Objective) -> None:
        self._slots = slots
        self._iterations = iterations
        self._objective = objective
        self._running: dict[str, Iterator[Event]] = {}
        self._waiting: dict[str, Action | None] = {}
        self._killed: list[Event] = []
        self._clock = itertools.count(1000.0)
        self.turns = 0

    @property
    def nodes(self) -> tuple[Node, ...]:
        return (Node("n", Resources.of(CPU=self._slots)),)

    def launch(self, launch: Launch, place: Any) -> Future[AttemptEnded]:
        self._running[launch.trial_id] = self._events(launch)
        return Future()

    def _events(self, launch: Launch) -> Iterator[Event]:
        trial_id, attempt, until = launch.trial_id, launch.attempt, launch.run_until
        yield AttemptStarted(next(self._clock), trial_id, attempt, "n", 1, "host", "1.2.3.4")
        for step in range(1, self._iterations + 1):
            loss, fails = self._objective(launch.config, attempt, step)
            if fails:
                error = AttemptError("ValueError", "bad luck")
                yield self._ended(launch, Outcome.FAILED, error)
                return
            result = {"training_iteration": step, "loss": loss}
            waits = until.reached(result)
            if waits:
                self._waiting[trial_id] = None
            yield ResultReported(next(self._clock), trial_id, attempt, step, (result,), waits)
            if waits:
                decision = self._waiting.pop(trial_id)
                assert isinstance(decision, Decide)
                if decision.action is not Action.CONTINUE:
                    outcome = Outcome.STOPPED if decision.action is Action.STOP else Outcome.PAUSED
                    yield self._ended(launch, outcome)
                    return
                until = decision.run_until
        yield self._ended(launch, Outcome.FINISHED)

    def _ended(self, launch: Launch, outcome: Outcome, error: AttemptError | None = None) -> Event:
        del self._running[launch.trial_id]
        return AttemptEnded(next(self._clock), launch.trial_id, launch.attempt, outcome, error)

    def decide(self, decisions: Sequence[Decide]) -> None:
        for decision in decisions:
            if decision.seq:
                self._waiting[decision.trial_id] = decision  # type: ignore[assignment]

    def kill(self, kills: Sequence[Kill]) -> None:
        for kill in kills:
            del self._running[kill.trial_id]
            self._waiting.pop(kill.trial_id, None)
            self._killed.append(
                AttemptEnded(next(self._clock), kill.trial_id, kill.attempt, Outcome.STOPPED)
            )

    def turn(self) -> Event | None:
        """The next event of the trial whose turn it is."""
        self.turns += 1
        if self._killed:
            return self._killed.pop(0)
        for trial_id in self._running:
            if self._waiting.get(trial_id, self) is not None:
                events = self._running.pop(trial_id)
                self._running[trial_id] = events  # to the end of the queue
                return next(events)
        return None


class TurnInbox(Inbox):
    """Lets a trial report whenever there is nothing else to do."""

    def __init__(self, trials: Trials, interrupt_at: int | None) -> None:
        super().__init__()
        self._trials = trials
        self._interrupt_at = interrupt_at

    def take(self, timeout: float, limit: int = 2000) -> list[Event]:
        events = self.rest()
        if self._trials.turns == self._interrupt_at:
            self._interrupt_at = None
            events.insert(0, ControlReceived(1.0, Control.INTERRUPT, reason="test"))
        if not events:
            event = self._trials.turn()
            assert event is not None, "nothing will ever happen again"
            events = [event]
        return events


class DirectFeed:
    """Asks and tells the search at once, and has it saved now and then."""

    def __init__(self, feed: SearchFeed, random: random.Random) -> None:
        self._feed = feed
        self._random = random

    def put(self, command: AskSearch | TellSearch) -> None:
        self._feed.carry_out(command)
        if self._random.random() < 0.5:
            self._feed.save()


def simulate(
    disk: Disk,
    source: TrialSource,
    scheduler: TrialScheduler,
    stopper: Stopper,
    objective: Objective,
    *,
    slots: int = 3,
    iterations: int = 4,
    max_failures: int = 0,
    seed: int = 0,
    interrupt_at: int | None = None,
) -> list[Trial]:
    """Run an experiment, or go on with the one on the disk, to its end or until it is killed."""
    coordinator = Coordinator(
        scheduler,
        stopper,
        CoordinatorOptions(
            max_failures=max_failures,
            lookahead=source.lookahead,
            search_wants_results=source.wants_results,
        ),
    )
    resumed = bool(disk.records)
    search = SearchReplay(source, disk.state if resumed else None)
    if resumed:
        replay(disk.read(), coordinator, search, lambda trial, result: None)
    trials = Trials(slots, iterations, objective)
    inbox = TurnInbox(trials, interrupt_at)
    maker = TrialMaker(
        "f", "", lambda config: Resources.parse(None), TrialDirNamer("/nonexistent", 130)
    )

    def fail(error: Exception) -> None:
        raise error

    feed = SearchFeed(source, maker, inbox.put, fail, search.suggested, search.told)
    inbox.put(CapacityChanged(0.0, trials.nodes))
    if not search.suggested:
        feed.save()
    directory = SimpleNamespace(
        make_trial_dir=lambda relative: Path(), write_error=lambda relative, error: None
    )
    parts = EngineParts(
        coordinator=coordinator,
        inbox=inbox,
        executor=trials,  # type: ignore[arg-type]
        launcher=DirectLauncher(trials),  # type: ignore[arg-type]
        feed=DirectFeed(feed, random.Random(seed)),  # type: ignore[arg-type]
        journal=disk,
        directory=directory,  # type: ignore[arg-type]
        search_states=disk,  # type: ignore[arg-type]
        observers=Observers([]),
    )
    Engine(parts).run(resumed=resumed)
    return coordinator.get_trials()
