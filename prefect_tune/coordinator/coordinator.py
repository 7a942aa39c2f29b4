"""The experiment as a pure state machine.

`Coordinator.handle(event) -> [command]` is all there is: no I/O, no clock, no threads. Whoever
feeds it the same events gets the same commands, so a journal of what it recorded restores an
experiment and a simulated executor tests it. What happens to one result, and in which order,
follows Ray Tune 2.0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prefect_tune.coordinator.commands import (
    Abort,
    AskSearch,
    Command,
    Decide,
    Finish,
    Kill,
    Notice,
    Notify,
    TellSearch,
)
from prefect_tune.coordinator.conversion import launch_of, new_trial
from prefect_tune.coordinator.events import (
    AttemptEnded,
    AttemptLaunched,
    AttemptStarted,
    CapacityChanged,
    Control,
    ControlReceived,
    Event,
    Fate,
    ResultReported,
    Resumed,
    SearchIdle,
    Tick,
    TrialSuggested,
)
from prefect_tune.coordinator.failure import fate_of, original_exception
from prefect_tune.coordinator.flatten import flatten
from prefect_tune.coordinator.judge import Judge
from prefect_tune.coordinator.options import CoordinatorOptions, FailFast
from prefect_tune.coordinator.placement import Placer, Slot, explain_waiting
from prefect_tune.coordinator.recorder import Recorder
from prefect_tune.coordinator.search_turns import SearchTurns
from prefect_tune.coordinator.table import LiveTrial, TrialTable
from prefect_tune.error import TuneError
from prefect_tune.experiment.attempt_error import AttemptError
from prefect_tune.experiment.decision import NEVER, Action, RunUntil
from prefect_tune.experiment.trial import ERROR, PAUSED, PENDING, RUNNING, TERMINATED, Trial
from prefect_tune.schedulers import TrialScheduler
from prefect_tune.stopper import Stopper


class Coordinator:
    """Decides what the trials of one experiment do.

    Args:
        scheduler: Decides about each result and which trial runs next.
        stopper: The user's stopping criteria.
        options: How metrics and failures are treated.
        search_alg: The searcher, shown to schedulers that ask for it.

    Attributes:
        finished: True once the experiment is over.
        stopping: Why the experiment is coming to its end, "" if it is not.
    """

    def __init__(
        self,
        scheduler: TrialScheduler,
        stopper: Stopper,
        options: CoordinatorOptions | None = None,
        search_alg: Any = None,
    ) -> None:
        self._scheduler = scheduler
        self._stopper = stopper
        self._options = CoordinatorOptions() if options is None else options
        self.table = TrialTable()
        self.placer = Placer()
        self.search_alg = search_alg
        self.finished = False
        self.stopping = ""
        self._turns = SearchTurns(self._options.lookahead)
        self._now = 0.0
        self._choose = False
        self._out: list[Command] = []
        self._replaying = False
        self._judge = Judge(self._options.metrics, stopper, scheduler)
        self._recorder = Recorder(lambda record: self._out.append(record))
        self._handlers: dict[type[Event], Callable[[Any], None]] = {
            CapacityChanged: self._on_capacity,
            TrialSuggested: self._on_suggested,
            SearchIdle: self._on_search_idle,
            AttemptLaunched: self._on_launched,
            AttemptStarted: self._on_started,
            ResultReported: self._on_results,
            AttemptEnded: self._on_ended,
            ControlReceived: self._on_control,
            Resumed: self._on_resumed,
            Tick: self._on_tick,
        }

    # -- the state machine ------------------------------------------------------------------------

    def handle(self, event: Event) -> list[Command]:
        """Take one event and return what is to be done, in order."""
        self._now = event.time
        handler = self._handlers.get(type(event))
        if handler is not None and not self.finished:
            handler(event)
            self._advance()
        commands, self._out = self._out, []
        return commands

    def replay(self, on: bool) -> None:
        """Begin or end a replay of recorded events.

        Meanwhile nothing is launched, asked for or ended but what the records say, and results are
        decided as they were then.
        """
        self._replaying = self._recorder.muted = on

    def _advance(self) -> None:
        """Fill free slots, keep the search going, and see whether all is done."""
        if self.finished or self._replaying:
            return
        if not self.stopping:
            if self._choose:
                self._launch_what_fits()
            self._ask_search()
        if self.table.running == 0 and (
            self.stopping or (self._turns.is_over and not self.table.waiting())
        ):
            self._finish()

    def _finish(self) -> None:
        self.finished = True
        self._out.append(Finish(self.stopping))

    # -- search -----------------------------------------------------------------------------------

    def _ask_search(self) -> None:
        wanted = self._turns.ask(self.table.count_pending())
        if wanted > 0:
            self._out.append(AskSearch(wanted))

    def _on_search_idle(self, event: SearchIdle) -> None:
        self._turns.pass_by(event.finished)

    def _on_suggested(self, event: TrialSuggested) -> None:
        self._turns.answered()
        if self.stopping:
            # Without a record: when the experiment is resumed, the search suggests it again.
            return
        self._recorder.record(event)
        trial = new_trial(event, self._options)
        self.table.add(trial)
        self._scheduler.on_trial_add(self, trial)
        self._choose = True

    # -- slots ------------------------------------------------------------------------------------

    def _on_capacity(self, event: CapacityChanged) -> None:
        self.placer.update(event.nodes, self.table.slots())
        self._choose = True

    def _launch_what_fits(self) -> None:
        limit = self._options.max_running
        while limit is None or self.table.running < limit:
            trial = self._scheduler.choose_trial_to_run(self)
            live = None if trial is None else self.table.live(trial.trial_id)
            if live is None or live.trial.status not in (PENDING, PAUSED):
                break
            slot = self.placer.reserve(live.trial.resources)
            if slot is None:
                break
            self._launch(live, slot)
        self._choose = False

    def _launch(self, live: LiveTrial, slot: Slot) -> None:
        trial = live.trial
        live.slot = slot
        resumed = trial.attempt > 0
        trial.attempt += 1
        trial.status = RUNNING
        trial.error = None
        if trial.start_time is None:
            trial.start_time = self._now
        live.last_seq = 0
        live.stop_reason = ""
        self.table.running += 1
        self._recorder.record(AttemptLaunched(self._now, trial.trial_id, trial.attempt))
        self._notify(Notice.TRIAL_RESTORE if resumed else Notice.TRIAL_START, trial)
        self._out.append(launch_of(trial, slot, self._run_until(trial)))

    def _run_until(self, trial: Trial) -> RunUntil:
        return self._scheduler.run_until(trial) | self._stopper.run_until(trial.trial_id)

    def _on_launched(self, event: AttemptLaunched) -> None:
        live = self.table.live(event.trial_id)
        if self._replaying and live is not None and live.slot is None:
            live.trial.attempt = event.attempt - 1
            # On no node: its process is gone.
            self._launch(live, Slot("", live.trial.resources))

    def _on_started(self, event: AttemptStarted) -> None:
        live = self._current(event.trial_id, event.attempt)
        if live is not None:
            self._recorder.record(event)
            live.trial.location = f"{event.node_ip}:{event.pid}"

    def _current(self, trial_id: str, attempt: int) -> LiveTrial | None:
        """The entry of a running attempt; None fences off a stale one."""
        live = self.table.live(trial_id)
        if live is None or live.trial.attempt != attempt or live.slot is None:
            return None
        return live

    # -- results ----------------------------------------------------------------------------------

    def _on_results(self, event: ResultReported) -> None:
        live = self._current(event.trial_id, event.attempt)
        if live is None:
            return
        last = len(event.results) - 1
        taken: list[int] = []
        for index, result in enumerate(event.results):
            seq = event.first_seq + index
            if seq <= live.last_seq:
                continue
            if live.stop_reason and not self._replaying:
                break
            live.last_seq = seq
            line = event.lines[index] if event.lines else None
            awaiting = event.awaiting and index == last
            if not self._on_result(live, result, line, awaiting, event.stop and index == last):
                break
            taken.append(index)
        if taken:
            self._recorder.results(event, taken[0], taken[-1] + 1, live.completed)

    def _on_result(
        self,
        live: LiveTrial,
        result: dict[str, Any],
        line: bytes | None,
        awaiting: bool,
        stopped: bool,
    ) -> bool:
        """Take one result in; False if it cannot be accepted, which ends the experiment."""
        trial = live.trial
        flat = flatten(result)
        try:
            action, reason = self._judge(self, trial, result, flat)
        except TuneError as error:
            if not self._replaying:
                self._abort(error)
                return False
            action, reason = Action.CONTINUE, ""
        if self._replaying:
            action = Action.STOP if stopped else Action.CONTINUE
        if action is Action.STOP:
            # Copies: the journal gets what was reported.
            result, flat = {**result, "done": True}, {**flat, "done": True}
            line = None
            live.stop_reason = reason or "it was stopped"
        elif self._options.search_wants_results:
            self._out.append(TellSearch(trial.trial_id, flat, complete=False))
        self._out.append(Notify(Notice.TRIAL_RESULT, trial.trial_id, result, line))
        trial.update_last_result(result, flat, self._now)
        if action is Action.STOP:
            self._complete(live, flat)
        if awaiting or action is not Action.CONTINUE:
            self._decide(live, live.last_seq if awaiting else 0, action)
        self._see_whether_to_stop()
        return True

    def _decide(self, live: LiveTrial, seq: int, action: Action) -> None:
        trial, slot = live.trial, live.slot
        if slot is None:
            return
        until = self._run_until(trial) if action is Action.CONTINUE else NEVER
        self._out.append(Decide(trial.trial_id, trial.attempt, slot.node, seq, action, until))

    def _complete(self, live: LiveTrial, flat: dict[str, Any]) -> None:
        """Tell scheduler and search, once, that a trial has its final result."""
        if live.completed:
            return
        live.completed = True
        trial = live.trial
        self._scheduler.on_trial_complete(self, trial, flat)
        self._tell_complete(trial, flat or None)

    def _tell_complete(
        self, trial: Trial, flat: dict[str, Any] | None, error: bool = False
    ) -> None:
        self._out.append(TellSearch(trial.trial_id, flat, complete=True, error=error))
        self._turns.retry()

    # -- ends of attempts -------------------------------------------------------------------------

    def _on_ended(self, event: AttemptEnded) -> None:
        live = self._current(event.trial_id, event.attempt)
        if live is None or live.slot is None:
            return
        fate = event.fate or fate_of(live, event.outcome, self._may_retry(live.trial))
        self._recorder.end(event, fate)
        self._free(live)
        trial = live.trial
        match fate:
            case Fate.INTERRUPTED:
                live.interrupted = True
                trial.status = PENDING
            case Fate.PAUSED:
                trial.status = PAUSED
                if self.stopping:
                    self._drop(live)
            case Fate.TERMINATED:
                self._terminate(live)
            case _:
                trial.error = event.error or AttemptError("lost", "it ended without a word")
                self._on_failure(live, fate)

    def _may_retry(self, trial: Trial) -> bool:
        allowed = self._options.max_failures
        return not self.stopping and (allowed < 0 or trial.num_failures < allowed)

    def _free(self, live: LiveTrial) -> None:
        """Give back what a running attempt held."""
        if live.slot is not None:
            self.placer.release(live.slot)
            live.slot = None
            live.trial.location = ""
            self.table.running -= 1
            self._choose = True

    def _terminate(self, live: LiveTrial) -> None:
        trial = live.trial
        # Everyone sees the final result once more as done, but it is not logged twice.
        trial.last_result = {**trial.last_result, "done": True}
        self._complete(live, flatten(trial.last_result))
        trial.status = TERMINATED
        self._notify(Notice.TRIAL_COMPLETE, trial)
        self.table.retire(live)

    def _on_failure(self, live: LiveTrial, fate: Fate) -> None:
        trial, options = live.trial, self._options
        trial.num_failures += 1
        self._scheduler.on_trial_error(self, trial)
        if fate is Fate.RETRIED:
            trial.status = PENDING
            self.table.requeue(live)
            self._scheduler.on_trial_add(self, trial)
            return
        trial.status = ERROR
        self._tell_complete(trial, None, error=True)
        self._notify(Notice.TRIAL_ERROR, trial)
        self.table.retire(live)
        if options.fail_fast is FailFast.RAISE:
            self._abort(original_exception(trial))
        elif options.fail_fast is FailFast.STOP:
            self._stop_everything(f"fail_fast: {trial} failed")

    # -- ending the experiment --------------------------------------------------------------------

    def _stop_everything(self, reason: str) -> None:
        """Stop running trials at their next report and start no new ones."""
        if self.stopping or self._replaying:
            return
        self.stopping = reason
        for live in self.table.lives():
            if live.trial.status == RUNNING:
                if not live.stop_reason:
                    live.stop_reason = reason
                    self._decide(live, 0, Action.STOP)
            else:
                self._drop(live)

    def _drop(self, live: LiveTrial) -> None:
        """Terminate a trial that waits for a slot."""
        trial = live.trial
        self._scheduler.on_trial_remove(self, trial)
        self._tell_complete(trial, None)
        trial.status = TERMINATED
        self._notify(Notice.TRIAL_COMPLETE, trial)
        self.table.retire(live)

    def _interrupt(self, reason: str) -> None:
        """End all attempts soon; their trials stay unfinished, for a later resume."""
        if self._replaying:
            return
        self.stopping = reason
        for live in self.table.running_trials():
            if live.slot is not None:
                live.interrupted = not live.completed
                trial = live.trial
                self._out.append(Kill(trial.trial_id, trial.attempt, live.slot.node, reason))

    def _abort(self, error: Exception) -> None:
        if self._replaying:
            return
        self._interrupt(str(error))
        self._out.append(Abort(error))

    def _see_whether_to_stop(self) -> None:
        if not self.stopping and not self._replaying and self._stopper.stop_all():
            self._stop_everything("the stopper ended the experiment")

    def _on_resumed(self, event: Resumed) -> None:
        """Queue what was running once more; what was told to stop has ended."""
        self._recorder.record(event)
        # An experiment may be extended: the search is asked again even if it had come to its end.
        self._turns = SearchTurns(self._options.lookahead)
        self._stopper.on_resume(event.time)
        for live in self.table.lives():
            if live.slot is None and not live.interrupted:
                continue
            self._free(live)
            live.interrupted = False
            if live.stop_reason:
                self._terminate(live)
            else:
                live.trial.status = PENDING
                self._scheduler.on_trial_add(self, live.trial)
        self._choose = True

    def _on_control(self, event: ControlReceived) -> None:
        self._recorder.record(event)
        if event.action is Control.INTERRUPT:
            self._interrupt(event.reason or "interrupted")
        elif event.action is Control.STOP:
            self._stop_everything(event.reason or "stopped by request")
        elif event.trial_id is not None:
            trial = self.table.get(event.trial_id)
            if trial is not None:
                self.stop_trial(trial)

    def _on_tick(self, event: Tick) -> None:
        self._recorder.tick(event)
        self._stopper.on_time(event.time)
        self._see_whether_to_stop()
        # A search that had nothing to suggest is asked again now and then.
        self._turns.retry()
        self._choose = True

    # -- what schedulers see (ControllerView) -----------------------------------------------------

    def get_trials(self) -> list[Trial]:
        """All trials so far, in order of creation."""
        return self.table.trials()

    def get_live_trials(self) -> list[Trial]:
        """The trials that are not finished, in queue order."""
        return [live.trial for live in self.table.lives()]

    def get_trial(self, trial_id: str) -> Trial | None:
        """The trial with this id."""
        return self.table.get(trial_id)

    def has_resources_for_trial(self, trial: Trial) -> bool:
        """True if an attempt of the trial could be launched now."""
        return self.placer.fits(trial.resources)

    def pause_trial(self, trial: Trial, should_checkpoint: bool = True) -> None:
        """Ask a running trial to give its slot back at its next report."""
        live = self.table.live(trial.trial_id)
        if live is not None and live.trial.status == RUNNING:
            self._decide(live, 0, Action.PAUSE)

    def stop_trial(self, trial: Trial) -> None:
        """End a trial: a running one at its next report, a waiting one at once."""
        live = self.table.live(trial.trial_id)
        if live is None:
            return
        if live.trial.status == RUNNING:
            if not live.stop_reason:
                live.stop_reason = "stopped by request"
                self._decide(live, 0, Action.STOP)
        else:
            self._drop(live)

    # -- what people see --------------------------------------------------------------------------

    def waiting_for(self) -> str:
        """Why nothing runs although trials wait; "" if something runs or nothing waits."""
        if self.table.running or self.stopping:
            return ""
        return explain_waiting(self.table.waiting(), self.placer)

    def _notify(self, notice: Notice, trial: Trial) -> None:
        self._out.append(Notify(notice, trial.trial_id))
