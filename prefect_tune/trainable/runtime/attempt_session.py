"""`Session`: sends an attempt's reports and checkpoints to its node's agent and obeys decisions."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

from prefect_tune.checkpoint.checkpoint import Checkpoint
from prefect_tune.error import InvalidArgument, StorageError
from prefect_tune.experiment.checkpoints import Progress
from prefect_tune.experiment.decision import Action, RunUntil
from prefect_tune.trainable.runtime.attempt import (
    AttemptContext,
    CallEnded,
    Channel,
    Decision,
    TrialEnding,
    TrialPaused,
    TrialStopped,
    TrialTerminated,
)
from prefect_tune.trainable.runtime.checkpoint_drafts import Draft, Drafts, valid_step
from prefect_tune.trainable.runtime.config_changes import ConfigChanges
from prefect_tune.trainable.runtime.metrics import AutoMetrics, lookup
from prefect_tune.trainable.runtime.result_codec import decode_line, encode_report, encode_result

# A trial process has one session, which all its threads share. Trials that run as threads of one
# process have one session each, in a context variable.
_process_session: Session | None = None
_thread_session: ContextVar[Session | None] = ContextVar("prefect_tune_session", default=None)


class Session:
    """Connection of one attempt to the coordinator, by way of the agent of its node.

    Args:
        context: Context of the attempt.
        channel: Sends reports to the agent and receives decisions.
        warmup_time: Seconds from the start of the process until now.
    """

    def __init__(self, context: AttemptContext, channel: Channel, warmup_time: float = 0.0) -> None:
        self.context = context
        self.auto_metrics = AutoMetrics(context.launch.progress, warmup_time=warmup_time)
        self._config = ConfigChanges(context.launch.config)
        self._channel = channel
        self._run_until = context.launch.run_until
        self._awaits_decisions = _awaits_decisions(context.launch.run_until)
        self._seq = 0
        self._line = b""
        self._awaiting = False
        self._drafts = Drafts(context)
        self._saved_seq = -1
        self._announced: int | None = None
        #: Exception that has to end this attempt; None while it may continue.
        self.ending: type[TrialEnding] | None = None
        #: True if the decision about the newest result requests a checkpoint.
        self.is_save_wanted = False
        self._sending = False
        self._agent_lost = False
        self._style: str | None = None
        # Re-entrant: `terminate` is called from a signal handler, maybe in the middle of a report.
        self._lock = threading.RLock()

    @property
    def has_saved(self) -> bool:
        """True if the newest result has a checkpoint."""
        return self._saved_seq == self._seq

    def use_style(self, style: str) -> None:
        """Note which of two reporting styles user code uses, which exclude each other.

        Raises:
            InvalidArgument: If user code has used the other style before.
        """
        if self._style not in (None, style):
            raise InvalidArgument(
                "metrics",
                f"this trial has called {self._style}, and now {style}.",
                "Report in one style only.",
            )
        self._style = style

    def report(self, metrics: Mapping[str, Any], checkpoint: Checkpoint | None = None) -> None:
        """Send one result, and wait for the decision about it if the coordinator may decide.

        Args:
            metrics: The user's metrics.
            checkpoint: Checkpoint of this result; copied, so that its directory may be reused.

        Raises:
            TrialEnding: If the attempt ends with this report.
            InvalidArgument: If `metrics` is not a dict or contains itself, or `checkpoint` is not a
                checkpoint or its directory does not exist.
            StorageError: If the checkpoint cannot be read or written.
        """
        if not isinstance(metrics, Mapping):
            raise InvalidArgument(
                "metrics",
                f"a report is a dict of metrics, not {type(metrics).__name__} ({metrics!r:.80}).",
                "Call report({'name': value}) or report(name=value).",
            )
        with self._lock:
            if self.ending is not None:
                raise self.ending
            draft = None if checkpoint is None else self._copy(checkpoint)
            try:
                self.send(self.auto_metrics.complete(metrics), self.context.launch.config, metrics)
            except Exception:
                if draft is not None:
                    self._drafts.discard(draft)
                raise
            self.await_decision()

    def send(
        self,
        result: dict[str, Any],
        config: Any,
        reported: Mapping[str, Any] | None = None,
        saves: bool = False,
    ) -> None:
        """Send a full result, and the checkpoints that were written for it.

        Args:
            result: All metrics, including the automatic ones. A `config` in it is not sent.
            config: The current configuration; only changed entries are sent.
            reported: The user's own metrics in the result, if known.
            saves: True if a call of `save` follows.

        Raises:
            TrialEnding: If the attempt has ended already.
            InvalidArgument: If the result contains itself.
            StorageError: If a checkpoint cannot be written.
        """
        with self._lock:
            if self.ending is not None:
                raise self.ending
            changed = self._config.entries(config)
            if changed:
                result["config"] = changed
            else:
                result.pop("config", None)
            known_nulls = (result.get("timesteps_total", 0) is None) + (
                result.get("episodes_total", 0) is None
            )
            try:
                line, report = encode_report(result, known_nulls, reported)
            except ValueError as error:
                raise InvalidArgument("metrics", f"cannot be sent: {error}.") from error
            awaiting = self._awaits_decisions and self._needs_decision(result)
            # An attempt that reports `done` must not continue before it is ended.
            self._awaiting = awaiting or bool(result["done"])
            self._sending = True
            try:
                named = [(draft, self._seal(draft, line)) for draft in self._drafts.complete]
                if named or saves:
                    self._announce(Progress.of(result).iteration)
                self._seq += 1
                self._line = line
                self._channel.send_result(self._seq, report, self._awaiting)
                for draft, name in named:
                    self._hand_over(draft, name)
            except OSError:
                self._mark_agent_lost()
            finally:
                self._sending = False

    def await_decision(self) -> None:
        """Wait for the decision about the newest result, if it needs one.

        Raises:
            TrialEnding: If the attempt ends here.
        """
        self.is_save_wanted = False
        with self._lock:
            if self._awaiting:
                self._wait_for_decision()
            elif self.ending is None:
                self._read_decisions()
            if self._channel.is_leaving and self.has_saved:
                self.ending = self.ending or TrialPaused
            if self.ending is not None:
                raise self.ending

    def should_checkpoint(self) -> bool:
        """Return True if the attempt has to checkpoint now, because its worker is about to end."""
        with self._lock:
            if self.ending is None:
                self._read_decisions()
            return self._channel.is_leaving

    def leave(self) -> NoReturn:
        """End the attempt at its newest result, so that it goes on elsewhere.

        Raises:
            TrialEnding: Always.
        """
        with self._lock:
            self.ending = self.ending or TrialPaused
            raise self.ending

    def save(self, write: Callable[[str], object]) -> None:
        """Write a checkpoint for the newest result.

        Args:
            write: Writes the checkpoint into the directory that is its argument.

        Raises:
            StorageError: If it cannot be put in place.
            Exception: If `write` raises.
        """
        with self._lock:
            self._wait_for_room()
            if self._agent_lost:
                return
            self._announce_newest()
            draft = self._drafts.open()
            try:
                write(str(draft.directory))
                self._attach(draft)
            except BaseException:
                self._drafts.discard(draft)
                raise

    @contextlib.contextmanager
    def checkpoint_dir(self, step: Any) -> Iterator[str]:
        """Provide a directory for a checkpoint of the next report.

        Raises:
            TrialEnding: If the attempt ends here.
            InvalidArgument: If `step` is no integer, or negative.
            StorageError: If the directory cannot be made.
        """
        with self._next_draft(valid_step(step)) as draft:
            yield str(draft.directory)

    def make_checkpoint_dir(self, step: Any = None) -> str:
        """Create a directory for a checkpoint, to be given to `save_checkpoint` later.

        Raises:
            TrialEnding: If the attempt ends here.
            InvalidArgument: If `step` is no integer, or negative.
            StorageError: If the directory cannot be made.
        """
        return str(self._open_draft(None if step is None else valid_step(step)).directory)

    def save_checkpoint(self, checkpoint: Any) -> None:
        """Attach a directory from `make_checkpoint_dir` to the next report.

        Args:
            checkpoint: The directory, or a path in it.

        Raises:
            InvalidArgument: If `checkpoint` is no such directory.
        """
        given = isinstance(checkpoint, (str, os.PathLike))
        draft = self._drafts.find(Path(checkpoint)) if given else None
        if draft is None:
            raise InvalidArgument(
                "checkpoint",
                f"{checkpoint!r:.200} is not a directory that `make_checkpoint_dir` has made.",
                "Write the checkpoint into such a directory and give that.",
            )
        self._drafts.register(draft)

    def finish(self) -> None:
        """Attach checkpoints that user code wrote after its last report to that report.

        Raises:
            StorageError: If a checkpoint cannot be put in place.
        """
        with self._lock:
            for draft in tuple(self._drafts.complete):
                self._attach(draft)

    def terminate(self) -> None:
        """End the attempt from a signal handler, after the frame that is being sent.

        Raises:
            TrialTerminated: At the first call; a second signal leaves the user's clean-up alone.
        """
        if self.ending is not None:
            return
        self.ending = TrialTerminated
        # If another thread is reading decisions, the reason of the end is not worth the wait.
        if self._lock.acquire(blocking=False):
            self.ending = None
            try:
                self._read_decisions()
            finally:
                self.ending = self.ending or TrialTerminated
                self._lock.release()
        if not self._sending:
            raise self.ending

    def start_call(self, bundle: int, call: bytes, ended: CallEnded) -> int:
        """Start a function in a bundle; see `Channel.start_call`.

        Raises:
            TrialEnding: If the attempt has ended already.
        """
        with self._lock:
            if self.ending is not None:
                raise self.ending
            with self._sending_frame():
                return self._channel.start_call(bundle, call, ended)
        raise self.ending or TrialStopped  # the agent is gone

    def end_call(self, bundle: int, number: int) -> None:
        """End such a function; may be called in any thread."""
        with contextlib.suppress(OSError):  # the agent is gone, and so is the function
            self._channel.end_call(bundle, number)

    def close(self) -> None:
        """Refuse reports of threads that user code left running; remove unreported checkpoints."""
        with self._lock:
            self.ending = self.ending or TrialStopped
            self._drafts.discard_all()

    def remove_leftovers(self) -> None:
        """Remove unfinished checkpoints of earlier attempts of this trial."""
        self._drafts.remove_leftovers()

    def _copy(self, checkpoint: Checkpoint) -> Draft:
        if not isinstance(checkpoint, Checkpoint):
            raise InvalidArgument(
                "checkpoint",
                f"got {type(checkpoint).__name__} ({checkpoint!r:.80}).",
                "Give Checkpoint.from_directory(path) or Checkpoint.from_dict(data).",
            )
        with self._next_draft() as draft:
            try:
                checkpoint.to_directory(draft.directory)
            except OSError as error:
                raise StorageError(f"A checkpoint cannot be written: {error}") from error
        return draft

    @contextlib.contextmanager
    def _next_draft(self, step: int | None = None) -> Iterator[Draft]:
        """Provide a draft, which belongs to the next report; discard it if the block raises."""
        draft = self._open_draft(step)
        try:
            yield draft
        except BaseException:
            self._drafts.discard(draft)
            raise
        self._drafts.register(draft)

    def _open_draft(self, step: int | None) -> Draft:
        with self._lock:
            if self.ending is None:
                self._wait_for_room()
            if self.ending is not None:
                raise self.ending
            return self._drafts.open(step)

    def _wait_for_room(self) -> None:
        """Wait while too many checkpoints are being uploaded."""
        try:
            self._channel.wait_uploaded(max(self.context.checkpoint_rules.max_pending - 1, 0))
        except OSError:
            self._mark_agent_lost()

    def _seal(self, draft: Draft, line: bytes) -> str:
        """Complete a checkpoint of the result in a line, and return its name."""
        return self._drafts.seal(draft, Progress.of(decode_line(line)))

    def _announce(self, iteration: int) -> None:
        if iteration != self._announced:
            self._announced = iteration
            self._channel.announce_checkpoint(iteration)

    def _announce_newest(self) -> None:
        """Announce that a checkpoint of the newest result is being written."""
        if not self._line:
            # A checkpoint of an attempt without reports belongs to the trial's last result.
            progress = asdict(self.context.launch.progress)
            progress["training_iteration"] = progress.pop("iteration")
            self._line = encode_result(progress)
        with self._sending_frame():
            self._announce(Progress.of(decode_line(self._line)).iteration)

    def _attach(self, draft: Draft) -> None:
        """Hand over a checkpoint of the newest result, which is already sent."""
        self._announce_newest()
        name = self._seal(draft, self._line)
        with self._sending_frame():
            self._hand_over(draft, name)

    @contextlib.contextmanager
    def _sending_frame(self) -> Iterator[None]:
        """Delay a SIGTERM until the frame that is sent in this context is complete."""
        self._sending = True
        try:
            yield
        except OSError:
            self._mark_agent_lost()
        finally:
            self._sending = False

    def _hand_over(self, draft: Draft, name: str) -> None:
        self._drafts.publish(draft, name)
        self._saved_seq = self._seq
        self._channel.send_checkpoint(self._seq, name, self._line)

    def _mark_agent_lost(self) -> None:
        # The agent is gone, so no report can be delivered any more.
        self._agent_lost = True
        self.ending = TrialStopped

    def _wait_for_decision(self) -> None:
        try:
            while self.ending is None:
                decision = self._channel.wait_decision()
                self._apply(decision)
                if decision.seq == self._seq:
                    return
        except OSError:
            self._mark_agent_lost()

    def _read_decisions(self) -> None:
        try:
            while (decision := self._channel.poll_decision()) is not None:
                self._apply(decision)
        except OSError:
            self._mark_agent_lost()

    def _apply(self, decision: Decision) -> None:
        if decision.action is Action.STOP:
            self.ending = TrialStopped
        elif decision.action is Action.PAUSE:
            self.ending = TrialPaused
        else:
            self.is_save_wanted = decision.action is Action.SAVE
            self._run_until = decision.run_until
            self._awaits_decisions = _awaits_decisions(decision.run_until)

    def _needs_decision(self, result: dict[str, Any]) -> bool:
        """Return True if a result reaches a threshold at which the coordinator may decide."""
        watched = {metric: lookup(result, metric) for metric, _ in self._run_until.thresholds}
        return self._run_until.reached(watched)


def _awaits_decisions(run_until: RunUntil) -> bool:
    return run_until.every_result or bool(run_until.thresholds)


def activate(session: Session | None, whole_process: bool) -> None:
    """Set the current session of the process or of this thread; None removes it."""
    global _process_session
    if whole_process:
        _process_session = session
    else:
        _thread_session.set(session)


def _reset_in_child() -> None:
    # A process that user code forks shares the socket; its reports would corrupt the trial's.
    activate(None, whole_process=True)
    activate(None, whole_process=False)


os.register_at_fork(after_in_child=_reset_in_child)


def current_session() -> Session | None:
    """Return the session of the trial that the caller runs in; None outside a trial."""
    return _thread_session.get() or _process_session
