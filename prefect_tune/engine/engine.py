"""The loop of an experiment: take events, let the coordinator decide, journal, carry commands out.

The order makes a crash safe: an event is in the journal before it has any effect outside. Batches
make the loop fast; decisions about running trials are sent first, then new attempts start. The loop
has its own thread. Callbacks, loggers and reporters run in the thread that called the sweep, and
the loop does not wait for them, unless too many notices wait: then it takes no more events, so that
trials wait as well.
"""

from __future__ import annotations

import contextvars
import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from prefect_tune.coordinator.commands import (
    Abort,
    AdjustSearch,
    AskSearch,
    Command,
    Decide,
    DeleteCheckpoint,
    Kill,
    Launch,
    Notify,
    Record,
    TellSearch,
    Warn,
)
from prefect_tune.coordinator.coordinator import Coordinator
from prefect_tune.coordinator.events import (
    AttemptEnded,
    Control,
    ControlReceived,
    Event,
    SearchSaved,
    Tick,
    TrialRedirected,
)
from prefect_tune.coordinator.records import encode_event
from prefect_tune.engine.launcher import AttemptLauncher
from prefect_tune.engine.observers import Observers
from prefect_tune.engine.queues import NOTICE_LIMIT, Inbox
from prefect_tune.engine.resume.snapshot_writer import Snapshots
from prefect_tune.engine.search_feed import SearchFeed
from prefect_tune.engine.slow_steps import SlowSteps
from prefect_tune.error import TuneError
from prefect_tune.execution.base import Executor, TrialPlace
from prefect_tune.experiment.decision import Action
from prefect_tune.experiment.pickling.signing import OF_THIS_PROCESS, Pickles
from prefect_tune.experiment.trial import Trial
from prefect_tune.schedulers.mutations import original_tag
from prefect_tune.search.search_state import SearchState, SearchStates
from prefect_tune.storage.experiment_dir import ExperimentDir
from prefect_tune.storage.experiment_storage import ExperimentStorage
from prefect_tune.storage.journal.file import Journal
from prefect_tune.text import in_words

_logger = logging.getLogger(__name__)
_TICK_S = 0.5
_REPEAT_WARNING_S = 60.0
_JOIN_S = 15.0
#: Seconds for which an interrupted sweep waits for checkpoints that are being uploaded.
_UPLOAD_GRACE_S = 18.0


@dataclass
class EngineParts:
    """The objects that an engine works with; the caller who opened them closes them.

    Attributes:
        log_policies: True writes the files in which PBT records which trial copied which.
    """

    coordinator: Coordinator
    inbox: Inbox
    executor: Executor
    launcher: AttemptLauncher
    feed: SearchFeed
    journal: Journal
    directory: ExperimentDir
    storage: ExperimentStorage
    search_states: SearchStates
    snapshots: Snapshots
    observers: Observers
    pickles: Pickles = OF_THIS_PROCESS
    log_policies: bool = False


class Engine:
    """Runs one experiment to its end.

    Args:
        parts: The open parts of the experiment.
        warn_pending_s: Seconds without a running trial after which a warning says why.
        warn_slow_s: Seconds after which a warning says that user code delays the loop; 0 never
            warns.
        resource_help: The trainable's advice on a configuration whose trials wait for resources.
    """

    def __init__(
        self,
        parts: EngineParts,
        warn_pending_s: float = 10.0,
        warn_slow_s: float = 0.5,
        resource_help: Callable[[dict[str, Any]], str] | None = None,
    ) -> None:
        self._parts = parts
        self._warn_pending_s = warn_pending_s
        self._slow = SlowSteps(warn_slow_s)
        self._resource_help = resource_help
        self._give_up_uploads_at: float | None = None
        self._error: Exception | None = None
        self._callback_error: BaseException | None = None
        self._loop_error: BaseException | None = None
        self._has_warned_of_backlog = False
        self._is_stopping = False
        self._request: ControlReceived | None = None
        self._request_is_over = threading.Event()
        self._has_ended = False
        self._last_tick = 0.0
        self._pending_since: float | None = None

    def interrupt(self, reason: str) -> None:
        """End the sweep in order, with unfinished trials resumable; callable from any thread."""
        now = time.time()
        self._give_up_uploads_at = now + _UPLOAD_GRACE_S
        self._parts.inbox.put(ControlReceived(now, Control.INTERRUPT, reason=reason))

    def request(self, event: ControlReceived) -> None:
        """Have the loop handle a request, and wait until it is in the journal; for one thread.

        Raises:
            TuneError: If the loop has ended before that.
        """
        self._request = event
        self._request_is_over.clear()
        self._parts.inbox.put(event)
        if not self._has_ended:
            self._request_is_over.wait()
        if self._request is not None:
            raise TuneError("The experiment has just ended.")

    def _give_up_uploads(self, now: float) -> list[Event]:
        """Return the event that ends the wait for uploads once an interrupted sweep's is over."""
        if self._give_up_uploads_at is None or now < self._give_up_uploads_at:
            return []
        self._give_up_uploads_at = None
        reason = "unfinished uploads of checkpoints are given up"
        return [ControlReceived(now, Control.INTERRUPT, reason=reason)]

    def run(self, begin: Sequence[Event] = ()) -> None:
        """Run the experiment to its end, with callbacks and reporters in the calling thread.

        Args:
            begin: What is handled first, in a resumed experiment: the checkpoints that the earlier
                run had in storage but not in its journal, then `Resumed`, so that trials go on
                from them.

        Raises:
            Exception: What ended the experiment early: an error of a callback, the search, storage,
                the strict metric check, or a trial with ``fail_fast="raise"``.
        """
        parts = self._parts
        parts.observers.start()
        # The copied context lets Prefect find its flow run in the loop's thread, too.
        loop = threading.Thread(
            target=contextvars.copy_context().run,
            args=(self._run_loop, begin),
            name="tune-engine",
            daemon=True,
        )
        loop.start()
        try:
            meanwhile = f"trials wait once {NOTICE_LIMIT} results do"
            parts.observers.serve(lambda n: self._slow.watch("Callbacks", n, meanwhile))
        except BaseException as error:
            if error is not self._loop_error:
                self._callback_error = error
                parts.inbox.put(Tick(time.time()))  # wakes the loop
                # After Ctrl-C, a scheduler that hangs must not keep the process from ending.
                loop.join(None if isinstance(error, Exception) else _JOIN_S)
                # The result files lack some results that the journal has.
                parts.snapshots.disable("a callback has failed")
            raise
        loop.join()
        if self._error is not None:
            raise self._error

    def _run_loop(self, begin: Sequence[Event]) -> None:
        """Run the loop in its thread, and hand its error to the thread that runs callbacks."""
        try:
            self._loop(begin)
        except BaseException as error:
            self._loop_error = error
        finally:
            self._has_ended = True
            self._request_is_over.set()
            self._parts.observers.finish(self._loop_error)

    def _loop(self, begin: Sequence[Event]) -> None:
        parts = self._parts
        self._handle([*begin, Tick(time.time())])
        try:
            while not parts.coordinator.finished:
                events = self._next_events()
                now = time.time()
                if now - self._last_tick >= _TICK_S:
                    self._last_tick = now
                    events.append(Tick(now))
                events += self._give_up_uploads(now)
                self._handle(events)
                if now == self._last_tick:
                    parts.executor.show_demand(parts.coordinator.demand())
                self._explain_waiting(now)
        except Exception as error:
            self._end_attempts(error)
            raise

    def _next_events(self) -> list[Event]:
        """Wait for events; return only control requests while too many notices wait.

        Raises:
            Exception: What has failed in other threads.
        """
        parts = self._parts
        # A sweep that stops must not be delayed, and only running trials can add events then.
        if parts.coordinator.stopping or parts.observers.has_room(_TICK_S):
            events = parts.inbox.next_batch(_TICK_S)
        else:
            events = parts.inbox.pop_control_events()
            if not self._has_warned_of_backlog:
                self._has_warned_of_backlog = True
                _logger.warning(
                    "Callbacks or loggers cannot keep up with what trials report; trials wait for "
                    "them. This is logged once."
                )
        if self._callback_error is not None:
            raise TuneError(in_words(self._callback_error)) from self._callback_error
        return events

    def _handle(self, events: list[Event]) -> None:
        try:
            self._step(events)
        except BaseException:
            # The coordinator may know things that the journal or the result files lack.
            self._parts.snapshots.disable("an error interrupted the handling of events")
            raise

    def _step(self, events: list[Event]) -> None:
        parts = self._parts
        commands: list[Command] = []
        saved: SearchSaved | None = None
        try:
            with (
                self._slow.watch("Scheduler and stopper", len(events)),
                parts.observers.coordinator_lock,
            ):
                for event in events:
                    if isinstance(event, SearchSaved):
                        saved = self._usable_state(event) or saved
                    else:
                        commands += parts.coordinator.handle(event)
        finally:
            # If a scheduler or stopper raises, the events handled before still have to be written.
            recorded = self._journal(commands)
        if saved is not None:
            self._save_search(saved)
        self._write_errors(recorded)
        self._write_policies(recorded)
        parts.observers.tell(self._carry_out(commands), parts.coordinator)
        if parts.coordinator.stopping and not self._is_stopping:
            self._is_stopping = True
            parts.snapshots.take_next_at_once()
        parts.snapshots.take_or_write()

    def _journal(self, commands: list[Command]) -> list[Event]:
        """Append the events of `Record` commands to the journal, and return these events."""
        recorded = [c.event for c in commands if isinstance(c, Record)]
        records = [encode_event(event, self._parts.pickles) for event in recorded]
        self._parts.journal.append(records)
        self._parts.snapshots.on_journaled(commands, records)
        if any(event is self._request for event in recorded):
            self._request = None
            self._request_is_over.set()
        return recorded

    def _usable_state(self, event: SearchSaved) -> SearchSaved | None:
        """Return the saved search state if the journal has all its trials, else None.

        A state that includes suggestions which are no trials yet is useless: after a resume the
        search would not make them again.
        """
        if event.suggested != len(self._parts.coordinator.table):
            return None
        if event.suggested:
            return event
        # A replay needs the initial state as soon as the journal has a trial: write it first.
        self._save_search(event)
        return None

    def _save_search(self, event: SearchSaved) -> None:
        self._parts.search_states.save(SearchState(event.suggested, event.told, event.state))
        self._parts.snapshots.on_search_saved(event)

    def save_search(self) -> None:
        """Write the search state that the search thread emitted when it was closed."""
        for event in self._parts.inbox.drain():
            if isinstance(event, SearchSaved) and (state := self._usable_state(event)) is not None:
                self._save_search(state)

    def _write_errors(self, events: list[Event]) -> None:
        for event in events:
            # An end with unfinished uploads is recorded again with its fate: write the error then.
            if isinstance(event, AttemptEnded) and event.error is not None and event.fate:
                trial = self._parts.coordinator.table[event.trial_id]
                self._parts.directory.write_error(trial.relative_logdir, event.error)

    def _write_policies(self, events: list[Event]) -> None:
        if not self._parts.log_policies:
            return
        table = self._parts.coordinator.table
        for event in events:
            if not isinstance(event, TrialRedirected) or event.checkpoint is None:
                continue
            trial, source = table[event.trial_id], table[event.source_id]
            row = (
                original_tag(trial.experiment_tag),
                original_tag(source.experiment_tag),
                int(trial.last_result.get("training_iteration") or 0),
                event.checkpoint.progress.iteration,
                source.config,
                event.config,
            )
            self._parts.directory.add_policy(event.trial_id, event.source_id, row)

    def _carry_out(self, commands: list[Command]) -> list[Notify]:
        """Carry out commands, and return the notices among them, which go to the observers."""
        parts = self._parts
        notices: list[Notify] = []
        decisions: list[Decide] = []
        kills: list[Kill] = []
        launches: list[Launch] = []
        for command in commands:
            if isinstance(command, Notify):
                notices.append(command)
            elif isinstance(command, Decide):
                decisions.append(command)
            elif isinstance(command, (AdjustSearch, AskSearch, TellSearch)):
                parts.feed.put(command)
            elif isinstance(command, Launch):
                launches.append(command)
            elif isinstance(command, Kill):
                kills.append(command)
            elif isinstance(command, DeleteCheckpoint):
                parts.storage.delete_checkpoint(command.path)
            elif isinstance(command, Warn):
                _logger.warning("%s", command.message)
            elif isinstance(command, Abort) and self._error is None:
                self._error = command.error
        if decisions:
            for decision in decisions:
                if decision.action is Action.STOP:
                    parts.launcher.note_end(decision)
            parts.executor.decide(decisions)
        self._kill(kills)
        for launch in launches:
            self._launch(launch)
        return notices

    def _kill(self, kills: list[Kill]) -> None:
        for kill in kills:
            self._parts.launcher.note_end(kill)
        if kills:
            self._parts.executor.kill(kills)

    def _launch(self, launch: Launch) -> None:
        trial = self._parts.coordinator.table[launch.trial_id]
        self._parts.directory.make_trial_dir(trial.relative_logdir)
        place = TrialPlace(trial.relative_logdir, trial.experiment_tag)
        self._parts.launcher.launch(launch, place)

    def _explain_waiting(self, now: float) -> None:
        """Warn why no trial runs, once none has run for `warn_pending_s` seconds."""
        reason = self._parts.coordinator.waiting_for()
        if not reason:
            self._pending_since = None
            return
        if self._pending_since is None:
            self._pending_since = now
        elif now - self._pending_since >= self._warn_pending_s:
            _logger.warning("Nothing is running: %s.%s", reason, self._resource_advice())
            self._pending_since = now + _REPEAT_WARNING_S - self._warn_pending_s

    def _resource_advice(self) -> str:
        waiting = (t for t in self._parts.coordinator.get_trials() if t.status == Trial.PENDING)
        trial = next(waiting, None)
        if self._resource_help is None or trial is None:
            return ""
        text = self._resource_help(trial.config)
        return f" {text}" if text else ""

    def _end_attempts(self, error: Exception) -> None:
        """Kill all running attempts after an error in the engine itself."""
        parts = self._parts
        kills = [
            Kill(live.trial.trial_id, live.trial.attempt, live.slot.node, in_words(error))
            for live in parts.coordinator.table.running_trials()
            if live.slot is not None
        ]
        self._kill(kills)
