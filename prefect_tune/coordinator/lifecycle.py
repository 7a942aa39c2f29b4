"""The transitions of a trial: launch, decision, pause, retry, redirection, end."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from prefect_tune.coordinator.commands import Decide, Launch, Notice, TellSearch
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
from prefect_tune.coordinator.shared_state import SharedState
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
        shared: The state of the coordinator.
        retention: Drops checkpoints that are not retained.
    """

    def __init__(self, shared: SharedState, retention: CheckpointRetention) -> None:
        self._shared = shared
        self._retention = retention

    # -- running ----------------------------------------------------------------------------------

    def launch(self, live: LiveTrial, slot: Slot) -> None:
        """Start the next attempt of a waiting trial in a reserved slot."""
        shared, trial = self._shared, live.trial
        trial.attempt += 1
        shared.table.set_status(live, RUNNING)
        trial.error = None
        if trial.start_time is None:
            trial.start_time = shared.now
        live.slot = slot
        live.since = shared.now
        live.node = slot.node
        live.start = live.book.start()
        live.last_seq = 0
        live.stop_reason = ""
        suffix = live.book.suffix(trial.attempt)
        live.book.launched(owes=live.closing is not None)
        shared.table.running += 1
        shared.recorder.record(AttemptLaunched(shared.now, trial.trial_id, trial.attempt))
        shared.notify(Notice.TRIAL_START, trial)
        if live.start is not None:
            shared.notify(Notice.TRIAL_RESTORE, trial)
        shared.emit(
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
        shared, trial = self._shared, live.trial
        if live.closing is not None:
            return RunUntil((("training_iteration", live.closing),))
        return shared.scheduler.run_until(trial) | shared.stopper.run_until(trial.trial_id)

    def decide(self, live: LiveTrial, seq: int, action: Action) -> None:
        """Send a decision to the running attempt of a trial; `Decide` explains `seq`."""
        trial, slot = live.trial, live.slot
        if slot is None:
            return
        goes_on = action in (Action.CONTINUE, Action.SAVE)
        until = self._run_until(live) if goes_on else NEVER
        why = live.stop_reason if action is Action.STOP else ""
        self._shared.emit(Decide(trial.trial_id, trial.attempt, slot.node, seq, action, until, why))

    def free(self, live: LiveTrial) -> None:
        """Release the slot of an attempt that has ended."""
        if live.slot is not None:
            shared = self._shared
            shared.placer.release(live.slot)
            live.slot = None
            live.ran = live.time_run(shared.now)
            live.since = None
            shared.table.running -= 1
            shared.choose = True

    # -- waiting ----------------------------------------------------------------------------------

    def pause(self, live: LiveTrial) -> None:
        """Set a trial to PAUSED after its attempt has ended."""
        self._shared.table.set_status(live, PAUSED)
        self._shared.suggestions.retry()
        self._prepare_next_attempt(live)

    def wait(self, live: LiveTrial) -> None:
        """Set a trial to PENDING after its attempt has ended; it keeps its place in the queue."""
        self._shared.table.set_status(live, PENDING)
        self._prepare_next_attempt(live)

    def retry(self, live: LiveTrial) -> None:
        """Put a trial whose attempt has failed at the end of the queue, for another attempt."""
        shared = self._shared
        if not live.completed:
            shared.scheduler.on_trial_error(shared.view, live.trial)
        self.wait(live)
        shared.table.requeue(live)
        self.add(live)

    def add(self, live: LiveTrial) -> None:
        """Add a waiting trial to the scheduler, unless the scheduler was told of its end."""
        if not live.completed:
            self._shared.scheduler.on_trial_add(self._shared.view, live.trial)

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
        self._shared.choose = True
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
        shared, flat = self._shared, flatten(live.trial.last_result)
        shared.scheduler.on_trial_complete(shared.view, live.trial, flat)
        self._tell_complete(live.trial, flat or None)

    def _tell_complete(
        self, trial: Trial, flat: dict[str, Any] | None, error: bool = False
    ) -> None:
        self._shared.emit(TellSearch(trial.trial_id, flat, complete=True, error=error))
        self._shared.suggestions.retry()

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
            self._shared.scheduler.on_trial_error(self._shared.view, live.trial)
            self._tell_complete(live.trial, None, error=True)
        self._retire(live, ERROR, Notice.TRIAL_ERROR)

    def end_waiting_for_good(self, live: LiveTrial) -> None:
        """End a trial that waits for a slot, and record its end.

        The record is needed because a replay with another scheduler may not end the trial.
        """
        shared, trial = self._shared, live.trial
        if live.closing is not None:
            problem = "it was ended before its last checkpoint was written again"
            trial.error = trial.error or AttemptError(UNSAVED, problem)
            self._record_end(trial, Fate.FAILED)
            self.give_up(live)
            return
        shared.scheduler.on_trial_remove(shared.view, trial)
        self._tell_complete(trial, None)
        self._record_end(trial, Fate.TERMINATED)
        self._retire(live, TERMINATED, Notice.TRIAL_COMPLETE)

    def end_until_resume(self, live: LiveTrial) -> None:
        """End a trial that waits for another attempt because the experiment is stopped.

        The end is not recorded and the search is not told: after a resume, the trial waits again.
        """
        self._shared.scheduler.on_trial_remove(self._shared.view, live.trial)
        self._retire(live, TERMINATED, Notice.TRIAL_COMPLETE)

    def _record_end(self, trial: Trial, fate: Fate) -> None:
        now, error = self._shared.now, None if fate is Fate.TERMINATED else trial.error
        event = AttemptEnded(now, trial.trial_id, trial.attempt, Outcome.STOPPED, error, fate)
        self._shared.recorder.record_behind(event)

    def _retire(self, live: LiveTrial, status: str, notice: Notice) -> None:
        shared = self._shared
        shared.table.set_status(live, status)
        shared.notify(notice, live.trial)
        shared.delays.pop(live.trial.trial_id, None)
        live.start = None
        self._retention.update(live)
        shared.table.retire(live)
