"""A whole experiment in one thread that can be killed behind anything it writes.

Everything is the real thing, on a real disk, but for the trials, whose reports are made up one by
one, and the search's thread: it is asked and told at once, so that nothing depends on timing.
"""

from __future__ import annotations

import itertools
import os
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

from prefect_tune.coordinator.commands import AskSearch, Decide, Kill, Launch, TellSearch
from prefect_tune.coordinator.coordinator import Coordinator
from prefect_tune.coordinator.events import (
    AttemptEnded,
    AttemptStarted,
    CapacityChanged,
    CheckpointSaved,
    Control,
    ControlReceived,
    Event,
    Node,
    Outcome,
    ResultReported,
)
from prefect_tune.coordinator.options import CoordinatorOptions, Retention
from prefect_tune.coordinator.records import decode_event
from prefect_tune.engine.engine import Engine, EngineParts
from prefect_tune.engine.launcher import DirectLauncher
from prefect_tune.engine.observers import Observers
from prefect_tune.engine.queues import Inbox
from prefect_tune.engine.resume.last_run import find_last_run
from prefect_tune.engine.resume.resume import Resumer, StartingPoint
from prefect_tune.engine.resume.snapshot import Position, StatefulParts
from prefect_tune.engine.resume.snapshot_writer import Snapshots
from prefect_tune.engine.search_feed import SearchFeed
from prefect_tune.engine.setup.initial_states import fingerprint
from prefect_tune.engine.setup.resume_mode import parse_resume, resumed_event
from prefect_tune.engine.wiring import TrialMaker
from prefect_tune.experiment.attempt import AttemptError
from prefect_tune.experiment.decision import Action
from prefect_tune.experiment.pickling.signing import OF_THIS_PROCESS
from prefect_tune.experiment.trial import Trial
from prefect_tune.resources import Resources
from prefect_tune.schedulers import TrialScheduler
from prefect_tune.search.search_state import SearchState, SearchStates
from prefect_tune.search.source import TrialSource
from prefect_tune.stopper import Stopper
from prefect_tune.storage.journal.file import JOURNAL_FILE, LocalJournal
from prefect_tune.storage.journal.header import JournalHeader, parse_header
from prefect_tune.storage.layout import TrialDirNamer
from prefect_tune.storage.snapshot_files import SnapshotFiles

#: Where files cost less than on a disk; None if there is no such place.
_MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
#: What attempt `n` of a trial reports at each iteration, and whether it fails there.
Objective = Callable[[dict[str, Any], int, int], tuple[float, bool]]


class Killed(BaseException):
    """SIGKILL: nobody catches it."""


class Disk:
    """What outlives the process: the experiment directory, and the trials' checkpoints.

    Attributes:
        path: The experiment directory.
        writes: How often something was written.
        kill_at: Number of the write behind which the process is killed, before any effect of it.
        copies: If not None, a copy of the disk behind each write is added to it.
        checkpoints: How far each checkpoint that exists is, by path.
    """

    def __init__(self) -> None:
        self._temporary = tempfile.TemporaryDirectory(dir=_MEMORY)
        self.path = Path(self._temporary.name)
        self.writes = 0
        self.kill_at: int | None = None
        self.copies: list[Disk] | None = None
        self.checkpoints: dict[str, int] = {}
        self.openings = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._temporary.cleanup()

    def written(self) -> None:
        self.writes += 1
        if self.writes == self.kill_at:
            raise Killed
        if self.copies is not None:
            copy = Disk()
            shutil.copytree(self.path, copy.path, dirs_exist_ok=True)
            copy.checkpoints = dict(self.checkpoints)
            copy.openings = self.openings
            self.copies.append(copy)

    def records(self) -> list[bytes]:
        journal = LocalJournal(self.path / JOURNAL_FILE)
        found = list(journal.read())
        journal.close()
        return found

    def events(self) -> list[Event]:
        return [decode_event(record) for record in self.records() if parse_header(record) is None]


class DiskJournal(LocalJournal):
    """Writes record by record: a batch may be cut anywhere."""

    def __init__(self, disk: Disk) -> None:
        super().__init__(disk.path / JOURNAL_FILE)
        self._disk = disk

    def append(self, records: Sequence[bytes]) -> None:
        for record in records:
            super().append([record])
            self._disk.written()


class DiskSearchStates(SearchStates):
    def __init__(self, disk: Disk, origin: str) -> None:
        super().__init__(disk.path, origin)
        self._disk = disk

    def save(self, state: SearchState) -> None:
        super().save(state)
        self._disk.written()


class Trials:
    """An executor whose attempts take turns; each turn is one event."""

    def __init__(
        self,
        disk: Disk,
        slots: int,
        iterations: int,
        objective: Objective,
        checkpoint_every: int = 0,
    ) -> None:
        self._disk = disk
        self._slots = slots
        self._iterations = iterations
        self._objective = objective
        self._every = checkpoint_every
        self._running: dict[str, Iterator[Event]] = {}
        self._waiting: dict[str, Decide | None] = {}
        self._unasked: dict[str, Decide] = {}
        self._killed: list[Event] = []
        self._clock = itertools.count(1000.0)
        self.turns = 0

    @property
    def nodes(self) -> tuple[Node, ...]:
        return (Node("n", Resources.of(CPU=self._slots)),)

    def launch(self, launch: Launch, place: Any) -> Future[AttemptEnded]:
        self._running[launch.trial_id] = self._events(launch)
        return Future()

    def _begin_at(self, launch: Launch) -> int:
        """The step that comes first."""
        if launch.checkpoint is None:
            return 1
        assert launch.checkpoint in self._disk.checkpoints, "a checkpoint in use is deleted"
        reached = self._disk.checkpoints[launch.checkpoint]
        assert launch.progress.iteration == reached
        return reached + 1

    def _events(self, launch: Launch) -> Iterator[Event]:
        trial_id, attempt, until = launch.trial_id, launch.attempt, launch.run_until
        self._unasked.pop(trial_id, None)
        yield AttemptStarted(next(self._clock), trial_id, attempt, "n", 1, "host", "1.2.3.4")
        seq = 0
        for step in range(self._begin_at(launch), self._iterations + 1):
            loss, fails = self._objective(launch.config, attempt, step)
            if fails:
                error = AttemptError("ValueError", "bad luck")
                yield self._ended(launch, Outcome.FAILED, error)
                return
            if (unasked := self._unasked.pop(trial_id, None)) is not None:
                yield self._ended(launch, _outcome(unasked))
                return
            seq += 1
            result = {"training_iteration": step, "loss": loss}
            waits = until.reached(result)
            if waits:
                self._waiting[trial_id] = None
            yield ResultReported(next(self._clock), trial_id, attempt, seq, (result,), waits)
            if self._every and step % self._every == 0:
                yield self._checkpoint(launch, step, result)
            decision = self._waiting.pop(trial_id, None)
            if decision is None:
                continue
            if decision.action is Action.PAUSE and not (self._every and step % self._every == 0):
                yield self._checkpoint(launch, step, result)
            if decision.action is not Action.CONTINUE:
                yield self._ended(launch, _outcome(decision))
                return
            until = decision.run_until
        yield self._ended(launch, Outcome.FINISHED)

    def _checkpoint(self, launch: Launch, step: int, result: dict[str, Any]) -> Event:
        trial_id, suffix = launch.trial_id, launch.checkpoint_suffix
        path = f"{trial_id}/checkpoint_{step:06d}{suffix}"
        self._disk.checkpoints[path] = step
        return CheckpointSaved(next(self._clock), trial_id, launch.attempt, path, dict(result))

    def _ended(self, launch: Launch, outcome: Outcome, error: AttemptError | None = None) -> Event:
        del self._running[launch.trial_id]
        return AttemptEnded(next(self._clock), launch.trial_id, launch.attempt, outcome, error)

    def delete_checkpoint(self, path: str) -> None:
        # Again after a crash, to be sure.
        self._disk.checkpoints.pop(path, None)

    def decide(self, decisions: Sequence[Decide]) -> None:
        for decision in decisions:
            if decision.seq:
                self._waiting[decision.trial_id] = decision
            elif decision.action is not Action.CONTINUE:
                self._unasked[decision.trial_id] = decision

    def kill(self, kills: Sequence[Kill]) -> None:
        for kill in kills:
            del self._running[kill.trial_id]
            self._waiting.pop(kill.trial_id, None)
            self._killed.append(
                AttemptEnded(next(self._clock), kill.trial_id, kill.attempt, Outcome.STOPPED)
            )

    def show_demand(self, waiting: Any) -> None:
        pass

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


def _outcome(decision: Decide) -> Outcome:
    return Outcome.STOPPED if decision.action is Action.STOP else Outcome.PAUSED


class TurnInbox(Inbox):
    """Lets a trial report whenever there is nothing else to do."""

    def __init__(self, trials: Trials, interrupt_at: int | None) -> None:
        super().__init__()
        self._trials = trials
        self._interrupt_at = interrupt_at

    def next_batch(self, timeout: float, limit: int = 2000) -> list[Event]:
        events = self.drain()
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


def _resume(
    disk: Disk,
    journal: LocalJournal,
    source: TrialSource,
    stateful_parts: StatefulParts,
    make_coordinator: Callable[[], Coordinator],
) -> StartingPoint | None:
    run = find_last_run(journal)
    if run is None:
        return None
    setup: Any = SimpleNamespace(source=source, callbacks=[], pickles=OF_THIS_PROCESS)
    return Resumer(setup, journal, run, stateful_parts, make_coordinator).resume()


def _count_writes(disk: Disk, files: SnapshotFiles) -> None:
    def counted(method: Callable[..., None]) -> Callable[..., None]:
        def write(*arguments: Any) -> None:
            method(*arguments)
            disk.written()

        return write

    files.save = counted(files.save)  # type: ignore[method-assign]
    files.add_trials = counted(files.add_trials)  # type: ignore[method-assign]


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
    checkpoint_every: int = 0,
    checkpoint_keep: int | None = None,
    snapshot_every_s: float | None = None,
    resume: str = "AUTO",
    seed: int = 0,
    interrupt_at: int | None = None,
) -> list[Trial]:
    """Run an experiment, or go on with the one on the disk, to its end or until it is killed."""
    disk.openings += 1
    journal = DiskJournal(disk)

    def make_coordinator() -> Coordinator:
        return Coordinator(
            scheduler,
            stopper,
            CoordinatorOptions(
                trainable_name="f",
                max_failures=max_failures,
                lookahead=source.lookahead,
                search_wants_results=source.wants_results,
                retention=Retention(checkpoint_keep),
            ),
        )

    stateful_parts = StatefulParts(
        scheduler, stopper, None, fingerprint(scheduler), fingerprint(stopper)
    )
    resumption = _resume(disk, journal, source, stateful_parts, make_coordinator)
    resumed = resumption is not None
    if resumption is None:
        position = Position(f"run-{disk.openings}", SnapshotFiles(disk.path))
        resumption = StartingPoint(position, make_coordinator())
    position, coordinator = resumption.position, resumption.coordinator
    _count_writes(disk, position.files)

    trials = Trials(disk, slots, iterations, objective, checkpoint_every)
    inbox = TurnInbox(trials, interrupt_at)
    maker = TrialMaker(
        coordinator.options,
        lambda config: Resources.parse(None),
        TrialDirNamer("/nonexistent", 130),
    )

    def fail(error: Exception) -> None:
        raise error

    feed = SearchFeed(source, maker, inbox.put, fail, position.suggested, position.told)
    experiment_id = f"run-{disk.openings}"
    header = JournalHeader(experiment_id, position.origin, "e", 0.0).encode()
    journal.append([header])
    observers = Observers([])
    snapshots = Snapshots(
        position,
        coordinator,
        stateful_parts,
        SimpleNamespace(collect=None, collect_all=lambda: None, save=lambda: None),  # type: ignore[arg-type]
        observers.visit_callbacks,
        lambda: feed.can_save,
        1e9 if snapshot_every_s is None else snapshot_every_s,
    )
    snapshots.on_opened(experiment_id, header)
    inbox.put(CapacityChanged(0.0, trials.nodes))
    if not position.suggested:
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
        journal=journal,
        directory=directory,  # type: ignore[arg-type]
        storage=SimpleNamespace(delete_checkpoint=trials.delete_checkpoint),  # type: ignore[arg-type]
        search_states=DiskSearchStates(disk, position.origin),
        snapshots=snapshots,
        observers=observers,
    )
    mode = parse_resume(resume)
    assert mode is not None
    try:
        Engine(parts).run([resumed_event(mode.trials, time.time())] if resumed else [])
        if snapshot_every_s is not None:
            snapshots.close()
    finally:
        journal.close()
    return coordinator.get_trials()
