"""The transitions of a trial: launch, decision, pause, retry, redirection, end."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from prefect_tune.coordinator.commands import Decide, Launch, Notice, TellSearch
from prefect_tune.coordinator.core import Core
from prefect_tune.coordinator.events import (
    AttemptEnded,
    AttemptLaunched,
    Fate,
    Outcome,
    TrialRedirected,
    TrialSuggested,
)
from prefect_tune.coordinator.failure_policy import UNSAVED
from prefect_tune.coordinator.node_slots import Slot
from prefect_tune.coordinator.options import CoordinatorOptions
from prefect_tune.coordinator.retention import CheckpointRetention
from prefect_tune.coordinator.table import LiveTrial
from prefect_tune.experiment.attempt import AttemptError
from prefect_tune.experiment.checkpoints import NO_PROGRESS
from prefect_tune.experiment.decision import NEVER, Action, RunUntil
from prefect_tune.experiment.trial import (
    ERROR,
    PAUSED,
    PENDING,
    RUNNING,
    TERMINATED,
    Trial,
)
from prefect_tune.nested import flatten


def new_trial(event: TrialSuggested, options: CoordinatorOptions) -> Trial:
    """Make the `Trial` of a suggestion."""
    return Trial(
        event.trial_id,
        event.config,
        trainable_name=options.trainable_name,
        evaluated_params=event.resolved,
        experiment_tag=event.experiment_tag,
        resources=event.resources,
        relative_logdir=event.relative_logdir,
        local_experiment_dir=options.local_experiment_dir,
        custom_name=event.custom_name,
        terms=options.terms,
    )


class Lifecycle:
    """Carries out the transitions of trials from one status to another.

    Args:
        core: The state of the coordinator.
        retention: Drops checkpoints that are not retained.
    """

    def __init__(self, core: Core, retention: CheckpointRetention) -> None:
        self._core = core
        self._retention = retention

    # -- running ----------------------------------------------------------------------------------

    def launch(self, live: LiveTrial, slot: Slot) -> None:
        """Start the next attempt of a waiting trial in a reserved slot."""
        core, trial = self._core, live.trial
        trial.attempt += 1
        core.table.set_status(live, RUNNING)
        trial.error = None
        if trial.start_time is None:
            trial.start_time = core.now
        live.slot = slot
        live.since = core.now
        live.node = slot.node
        live.start = live.book.start()
        live.last_seq = 0
        live.stop_reason = ""
        suffix = live.book.suffix(trial.attempt)
        live.book.launched(owes=live.closing is not None)
        core.table.running += 1
        core.recorder.record(AttemptLaunched(core.now, trial.trial_id, trial.attempt))
        core.notify(Notice.TRIAL_START, trial)
        if live.start is not None:
            core.notify(Notice.TRIAL_RESTORE, trial)
        core.emit(
            Launch(
                trial_id=trial.trial_id,
                attempt=trial.attempt,
                name=str(trial),
                config=trial.config,
                node=slot.node,
                resources=trial.resources,
                devices=slot.devices,
                others=slot.others,
                run_until=self._run_until(live),
                checkpoint=None if live.start is None else live.start.path,
                progress=NO_PROGRESS if live.start is None else live.start.progress,
                checkpoint_suffix=suffix,
            )
        )

    def _run_until(self, live: LiveTrial) -> RunUntil:
        core, trial = self._core, live.trial
        if live.closing is not None:
            return RunUntil((("training_iteration", live.closing),))
        return core.scheduler.run_until(trial) | core.stopper.run_until(trial.trial_id)

    def decide(self, live: LiveTrial, seq: int, action: Action) -> None:
        """Send a decision to the running attempt of a trial; `Decide` explains `seq`."""
        trial, slot = live.trial, live.slot
        if slot is None:
            return
        goes_on = action in (Action.CONTINUE, Action.SAVE)
        until = self._run_until(live) if goes_on else NEVER
        why = live.stop_reason if action is Action.STOP else ""
        self._core.emit(Decide(trial.trial_id, trial.attempt, slot.node, seq, action, until, why))

    def free(self, live: LiveTrial) -> None:
        """Release the slot of an attempt that has ended."""
        if live.slot is not None:
            core = self._core
            core.placer.release(live.slot)
            live.slot = None
            live.ran = live.time_run(core.now)
            live.since = None
            core.table.running -= 1
            core.choose = True

    # -- waiting ----------------------------------------------------------------------------------

    def pause(self, live: LiveTrial) -> None:
        """Set a trial to PAUSED after its attempt has ended."""
        self._core.table.set_status(live, PAUSED)
        self._core.turns.retry()
        self._prepare_next_attempt(live)

    def wait(self, live: LiveTrial) -> None:
        """Set a trial to PENDING after its attempt has ended; it keeps its place in the queue."""
        self._core.table.set_status(live, PENDING)
        self._prepare_next_attempt(live)

    def retry(self, live: LiveTrial) -> None:
        """Put a trial whose attempt has failed at the end of the queue, for another attempt."""
        core = self._core
        if not live.completed:
            core.scheduler.on_trial_error(core.view, live.trial)
        self.wait(live)
        core.table.requeue(live)
        self.add(live)

    def add(self, live: LiveTrial) -> None:
        """Add a waiting trial to the scheduler, unless the scheduler was told of its end."""
        if not live.completed:
            self._core.scheduler.on_trial_add(self._core.view, live.trial)

    def redirect(self, live: LiveTrial, event: TrialRedirected) -> None:
        """Change how a trial goes on once its running attempt has ended."""
        known = live.redirect
        if known is not None:
            # Earlier changes during the same attempt stay in effect.
            event = replace(
                event,
                source_id=event.source_id or known.source_id,
                checkpoint=event.checkpoint or known.checkpoint,
                config=event.config or known.config,
                resources=event.resources or known.resources,
                experiment_tag=event.experiment_tag or known.experiment_tag,
            )
        live.redirect = event
        if event.checkpoint is not None:
            live.borrowed[event.checkpoint.path] = event.source_id
        if live.trial.status != RUNNING:
            self._prepare_next_attempt(live)
        else:
            self._retention.update(live)

    def _prepare_next_attempt(self, live: LiveTrial) -> None:
        """Apply a redirection and release the start checkpoint, now that no attempt runs."""
        self._core.choose = True
        live.trial.location = ""
        live.start = None
        event = live.redirect
        if event is not None:
            live.redirect = None
            if event.checkpoint is not None:
                live.book.adopted = event.checkpoint
            if event.config is not None:
                live.trial.config = event.config
            if event.resources is not None:
                live.trial.resources = event.resources
            live.trial.experiment_tag = event.experiment_tag or live.trial.experiment_tag
        self._retention.update(live)

    # -- ends -------------------------------------------------------------------------------------

    def complete(self, live: LiveTrial) -> None:
        """Tell scheduler and search, once, that a trial's last result is its final one."""
        if live.completed:
            return
        live.completed = True
        core, flat = self._core, flatten(live.trial.last_result)
        core.scheduler.on_trial_complete(core.view, live.trial, flat)
        self._tell_complete(live.trial, flat or None)

    def _tell_complete(
        self, trial: Trial, flat: dict[str, Any] | None, error: bool = False
    ) -> None:
        self._core.emit(TellSearch(trial.trial_id, flat, complete=True, error=error))
        self._core.turns.retry()

    def await_last_checkpoint(self, live: LiveTrial) -> None:
        """End a trial except for its last checkpoint, which another attempt has to write.

        That attempt goes on from the newest checkpoint up to the trial's last result; its reports
        are repetitions and are ignored.
        """
        live.closing = int(live.trial.last_result.get("training_iteration") or 0)
        self.complete(live)

    def terminate(self, live: LiveTrial) -> None:
        """Set a trial to TERMINATED, and tell scheduler, search and observers."""
        trial = live.trial
        # Scheduler, search and users see the final result again as done; it is not logged twice.
        if trial.last_result.get("done") is not True:
            trial.last_result = {**trial.last_result, "done": True}
        self.complete(live)
        self._retire(live, TERMINATED, Notice.TRIAL_COMPLETE)

    def give_up(self, live: LiveTrial) -> None:
        """Set a trial that has failed for good to ERROR, and tell scheduler, search, observers."""
        if not live.completed:
            self._core.scheduler.on_trial_error(self._core.view, live.trial)
            self._tell_complete(live.trial, None, error=True)
        self._retire(live, ERROR, Notice.TRIAL_ERROR)

    def end_waiting_for_good(self, live: LiveTrial) -> None:
        """End a trial that waits for a slot, and record its end.

        The record is needed because a replay with another scheduler may not end the trial.
        """
        core, trial = self._core, live.trial
        if live.closing is not None:
            problem = "it was ended before its last checkpoint was written again"
            trial.error = trial.error or AttemptError(UNSAVED, problem)
            self._record_end(trial, Fate.FAILED)
            self.give_up(live)
            return
        core.scheduler.on_trial_remove(core.view, trial)
        self._tell_complete(trial, None)
        self._record_end(trial, Fate.TERMINATED)
        self._retire(live, TERMINATED, Notice.TRIAL_COMPLETE)

    def end_until_resume(self, live: LiveTrial) -> None:
        """End a trial that waits for another attempt because the experiment is stopped.

        The end is not recorded and the search is not told: after a resume, the trial waits again.
        """
        self._core.scheduler.on_trial_remove(self._core.view, live.trial)
        self._retire(live, TERMINATED, Notice.TRIAL_COMPLETE)

    def _record_end(self, trial: Trial, fate: Fate) -> None:
        now, error = self._core.now, None if fate is Fate.TERMINATED else trial.error
        event = AttemptEnded(now, trial.trial_id, trial.attempt, Outcome.STOPPED, error, fate)
        self._core.recorder.record_behind(event)

    def _retire(self, live: LiveTrial, status: str, notice: Notice) -> None:
        core = self._core
        core.table.set_status(live, status)
        core.notify(notice, live.trial)
        core.delays.pop(live.trial.trial_id, None)
        live.start = None
        self._retention.update(live)
        core.table.retire(live)
