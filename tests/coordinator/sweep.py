"""A whole sweep in one thread: a coordinator, simulated nodes, a journal, and every mishap at will.

What must hold at any time is checked at every event; see `Sweep.check_command` and `Sweep.check`.
"""

from __future__ import annotations

import functools
import pickle
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

from prefect_tune.coordinator.commands import (
    AskSearch,
    Command,
    Decide,
    DeleteCheckpoint,
    Kill,
    Launch,
    Record,
)
from prefect_tune.coordinator.coordinator import Coordinator
from prefect_tune.coordinator.events import (
    AttemptEnded,
    AttemptLaunched,
    Control,
    ControlReceived,
    EndedPolicy,
    Event,
    Fate,
    Node,
    ResultReported,
    Resumed,
    SearchIdle,
    Tick,
    TrialSuggested,
)
from prefect_tune.coordinator.options import CoordinatorOptions
from prefect_tune.coordinator.records import decode_event, encode_event
from prefect_tune.execution.base import ExperimentEnv, TrialPlace
from prefect_tune.experiment.attempt import AttemptError
from prefect_tune.experiment.trial import RUNNING, Trial
from prefect_tune.resources import Resources
from prefect_tune.results.journal_summary import replay_last_run
from prefect_tune.schedulers import FIFOScheduler, TrialScheduler
from prefect_tune.stopper import NoopStopper, Stopper
from prefect_tune.storage.journal.header import JournalHeader

from ..execution.experiments import make_env
from ..simulation.full_executor import FullExecutor, SimulatedStorage, UploadSeconds, at_once

Deciders = tuple[TrialScheduler, Stopper]
ONE = Resources.parse(None)


def train(config: dict[str, Any]) -> Any:
    for step in range(1, config["n"] + 1):
        yield {"loss": (config["x"] - 0.4) ** 2 + 1 / step}


@functools.cache
def _environment() -> ExperimentEnv:
    """Made once: it holds the source of all modules of tests."""
    return make_env(train, "/nowhere", stop_grace_s=10)


class Sweep:
    """One experiment, over all its runs."""

    def __init__(
        self,
        make_scheduler: Callable[[], TrialScheduler] = FIFOScheduler,
        make_stopper: Callable[[], Stopper] = NoopStopper,
        options: CoordinatorOptions | None = None,
        *,
        samples: int = 4,
        results: int = 6,
        every: int = 2,
        upload_s: UploadSeconds = at_once,
        nodes: int = 2,
    ) -> None:
        self.options = options or CoordinatorOptions(lookahead=2)
        self._make_scheduler, self._make_stopper = make_scheduler, make_stopper
        self._samples, self._results = samples, results
        self._every = every
        self.storage = SimulatedStorage(upload_s)
        self.journal: list[bytes] = []
        self.launches: list[Launch] = []
        self.warnings: list[str] = []
        self.commands: list[Command] = []
        self.torn: int | None = None
        self.snapshot: tuple[bytes, int] | None = None
        self._node_count = 0
        self._initial_nodes = nodes
        self.now = 1000.0
        self._open(*self.replayed())

    def _open(self, coordinator: Coordinator, deciders: Deciders) -> None:
        self.coordinator, self._deciders = coordinator, deciders
        self._inbox: deque[Event] = deque()
        nodes = [self._new_node() for _ in range(self._initial_nodes)]
        self.executor = FullExecutor(
            train,
            nodes,
            now=self.now,
            checkpoint_every=self._every,
            storage=self.storage,
        )
        self.executor.open(_environment(), self._inbox.append)
        self._suggested = len(coordinator.table)

    def _new_node(self) -> Node:
        self._node_count += 1
        return Node(f"node-{self._node_count}", Resources.of(CPU=1))

    # -- what happens -----------------------------------------------------------------------------

    def settle(self) -> None:
        """Handle what has arrived."""
        while self._inbox:
            self.handle(self._inbox.popleft())

    def handle(self, event: Event) -> None:
        self.now = max(self.now, event.time)
        commands = self.coordinator.handle(event)
        records = [encode_event(c.event) for c in commands if isinstance(c, Record)]
        if self.torn is not None and records:
            # The process dies while it writes; nobody has seen any effect.
            self.journal += records[: self.torn % (len(records) + 1)]
            raise Died
        self.journal += records
        self.commands += commands
        for command in commands:
            self.check_command(command)
        for command in commands:
            self._carry_out(command)
        self.check()

    def _carry_out(self, command: Command) -> None:
        if isinstance(command, Launch):
            self.launches.append(command)
            self.executor.launch(command, TrialPlace(command.trial_id))
        elif isinstance(command, Decide):
            self.executor.decide([command])
        elif isinstance(command, Kill):
            self.executor.kill([command])
        elif isinstance(command, DeleteCheckpoint):
            self.storage.delete(command.path)
        elif isinstance(command, AskSearch):
            for _ in range(command.count):
                if self._suggested == self._samples:
                    self._inbox.append(SearchIdle(self.now, finished=True))
                    break
                self._suggested += 1
                number = self._suggested
                config = {"x": number / 10, "n": self._results}
                self._inbox.append(
                    TrialSuggested(self.now, f"t{number}", config, {}, str(number), ONE)
                )

    def step(self) -> bool:
        """Let the next thing happen on the nodes; False if nothing is going to."""
        self.settle()
        stepped = self.executor.step()
        self.now = max(self.now, self.executor.now)
        self.settle()
        return stepped

    def tick(self, seconds: float = 1.0) -> None:
        self.now += seconds
        self.handle(Tick(self.now))
        self.settle()

    # -- mishaps ----------------------------------------------------------------------------------

    def lose_node(self, pick: int) -> None:
        nodes = self.executor.capacity()
        if nodes:
            self.executor.lose_node(nodes[pick % len(nodes)].address)
            self.settle()

    def add_node(self) -> None:
        self.executor.add_node(self._new_node())
        self.settle()

    def fail(self, pick: int, kind: str = "ValueError") -> None:
        running = [live.trial.trial_id for live in self.coordinator.table.running_trials()]
        if running:
            self.executor.fail(running[pick % len(running)], AttemptError(kind, "bad luck"))
            self.settle()

    def spoil(self, pick: int) -> None:
        stored = sorted(self.storage.stored)
        if stored:
            self.storage.spoiled.add(stored[pick % len(stored)])

    def stop_trial(self, pick: int) -> None:
        trials = self.coordinator.get_trials()
        if trials:
            trial_id = trials[pick % len(trials)].trial_id
            self.handle(ControlReceived(self.now, Control.STOP_TRIAL, trial_id))
            self.settle()

    def take_snapshot(self) -> None:
        if self.coordinator.is_replayable:
            states = [part.get_state() for part in (self.coordinator, *self._deciders)]
            self.snapshot = pickle.dumps(states), len(self.journal)

    def kill(self, resumed: Resumed | None = None, torn: int | None = None) -> None:
        """SIGKILL and a resume.

        Args:
            resumed: How.
            torn: Die at the next event, with so many of its records on disk.
        """
        if torn is not None:
            self.torn = torn
            try:
                for _ in range(20):
                    if not self.step():
                        self.tick()
            except Died:
                pass
            self.torn = None
        self._open(*self.replayed(snapshot=True))
        self.now += 1.0
        self.handle(resumed or Resumed(self.now))

    def interrupt(self) -> None:
        """Ctrl-C, and a resume once the sweep has ended."""
        self.handle(ControlReceived(self.now, Control.INTERRUPT, reason="test"))
        self.run()
        self.kill()

    def replayed(self, snapshot: bool = False) -> tuple[Coordinator, Deciders]:
        """A coordinator that knows what the journal says, and what it decides with."""
        deciders = self._make_scheduler(), self._make_stopper()
        coordinator = Coordinator(*deciders, self.options)
        start = 0
        if snapshot and self.snapshot is not None:
            data, start = self.snapshot
            state, *states = pickle.loads(data)
            coordinator.set_state(state)
            for decider, decider_state in zip(deciders, states, strict=True):
                decider.set_state(decider_state)
        coordinator.replay(True)
        for record in self.journal[start:]:
            coordinator.handle(decode_event(record))
        coordinator.replay(False)
        return coordinator, deciders

    def run(self, limit: int = 5000) -> None:
        """To the end; what is away comes back."""
        self.storage.away = False
        if not self.executor.capacity():
            self.add_node()
        idle = 0
        for _ in range(limit):
            if self.coordinator.finished:
                return
            idle = 0 if self.step() else idle + 1
            if idle:
                # Some delay may still have to pass.
                self.tick(60.0)
            assert idle < 20, f"nothing goes on: {self.coordinator.waiting_for()!r}"
        raise AssertionError("it never ends")

    # -- what must hold ---------------------------------------------------------------------------

    def check_command(self, command: Command) -> None:
        if isinstance(command, DeleteCheckpoint):
            assert command.path not in self.in_use(), f"{command.path} is deleted in use"
        elif isinstance(command, Launch):
            if command.checkpoint is not None:
                assert command.checkpoint in self.storage.stored, "it goes on from nothing"
            started = {(launch.trial_id, launch.attempt) for launch in self.launches}
            assert (command.trial_id, command.attempt) not in started, "it runs twice"

    def in_use(self) -> set[str]:
        """Paths of what may not be deleted now."""
        used: set[str] = set()
        table = self.coordinator.table
        for trial in self.coordinator.get_trials():
            if trial.newest_checkpoint is not None:
                used.add(trial.newest_checkpoint.path)
        for live in (*table.live_entries(), *table.set_aside_entries()):
            redirect = live.redirect
            for checkpoint in (
                live.book.start(),
                live.start,
                live.book.adopted,
                redirect and redirect.checkpoint,
            ):
                if checkpoint is not None:
                    used.add(checkpoint.path)
        return used

    def check(self) -> None:
        coordinator = self.coordinator
        table = coordinator.table
        running = [live for live in table.running_trials() if live.slot is not None]
        assert len(running) == table.running
        used, total = coordinator.placer.totals().get("CPU", (0.0, 0.0))
        here = {node.address for node in self.executor.capacity()}
        held = [live for live in running if live.slot is not None and live.slot.node in here]
        if not (self._inbox or coordinator.finished):  # else it does not know (yet)
            asked = sum(live.slot.resources.cpu for live in held if live.slot is not None)
            assert (used, total) == (asked, len(here))
        for trial in coordinator.get_trials():
            if trial.status == RUNNING:
                live = table.live(trial.trial_id)
                assert live is not None
                assert (live.slot is None) is (live.ending is not None)

    def check_journal(self) -> None:
        """Each result once and in order; no finished trial is launched again."""
        results: Counter[str] = Counter()
        last: dict[tuple[str, int], int] = {}
        attempts: Counter[str] = Counter()
        ended: dict[str, Fate] = {}
        for event in map(decode_event, self.journal):
            if isinstance(event, AttemptLaunched):
                assert event.trial_id not in ended, "a finished trial is repeated"
                attempts[event.trial_id] += 1
                assert event.attempt == attempts[event.trial_id]
            elif isinstance(event, ResultReported):
                key = event.trial_id, event.attempt
                assert event.first_seq == last.get(key, 0) + 1
                last[key] = event.first_seq + len(event.results) - 1
                results[event.trial_id] += len(event.results)
            elif isinstance(event, AttemptEnded) and event.fate in (Fate.TERMINATED, Fate.FAILED):
                ended[event.trial_id] = event.fate
            elif isinstance(event, Resumed) and event.errored is not EndedPolicy.KEEP:
                ended = {name: fate for name, fate in ended.items() if fate is Fate.TERMINATED}
        trials = self.coordinator.get_trials()
        assert {t.trial_id: t.results_seen for t in trials if t.results_seen} == results

    def check_replay(self) -> None:
        """A replay comes to the same state, from the beginning and from the snapshot.

        Whoever reads the journal without the scheduler and the results comes to the same statuses.
        """
        header = JournalHeader("a", "a", "sweep", 0.0).encode()
        read = replay_last_run([header, *self.journal], "/nowhere")
        assert read is not None
        assert list(map(outcome, read.trials)) == list(map(outcome, self.coordinator.get_trials()))
        if not self.coordinator.is_replayable:
            return
        known = plain(self.coordinator.get_state())
        assert plain(self.replayed()[0].get_state()) == known
        if self.snapshot is not None:
            assert plain(self.replayed(snapshot=True)[0].get_state()) == known


class Died(Exception):
    """SIGKILL."""


def outcome(trial: Trial) -> dict[str, Any]:
    """What became of a trial, for people."""
    names = ("trial_id", "status", "attempt", "config", "num_failures", "error", "start_time")
    return {name: getattr(trial, name) for name in names}


def plain(value: Any) -> Any:
    """Nested lists and dicts that can be compared."""
    if isinstance(value, Enum) or value is None or isinstance(value, (str, bytes, int, bool)):
        return value
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, dict):
        return [(plain(key), plain(item)) for key, item in value.items()]
    if isinstance(value, (list, tuple, deque)):
        return [plain(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted(map(str, value))
    if is_dataclass(value):
        return [(f.name, plain(getattr(value, f.name))) for f in fields(value)]
    if type(value).__name__ == "Trial":
        names = [name for name in value.__slots__ if name != "_checkpoints"]
        return {name: plain(getattr(value, name)) for name in (*names, "checkpoints")}
    return {name: plain(getattr(value, name)) for name in value.__slots__}
