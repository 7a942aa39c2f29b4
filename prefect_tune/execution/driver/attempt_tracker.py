"""`AttemptTracker`: turns the reports of nodes into events of attempts."""

from __future__ import annotations

import logging
import pickle
import socket
import time
from collections.abc import Callable, Collection
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Any

from prefect_tune.coordinator.commands import Launch
from prefect_tune.coordinator.events import (
    AttemptEnded,
    AttemptStarted,
    CheckpointBegun,
    CheckpointFailed,
    CheckpointSaved,
    Outcome,
    ResultReported,
)
from prefect_tune.execution.base import Emit, TakeOutput
from prefect_tune.execution.protocol import reports
from prefect_tune.experiment.attempt import AttemptError, AttemptKey
from prefect_tune.resources import Resources
from prefect_tune.trainable.output import TrialLog, TrialOutput
from prefect_tune.trainable.runtime.config_changes import complete
from prefect_tune.trainable.runtime.result_codec import decode_report

_logger = logging.getLogger(__name__)
#: Handles one report of the node with this address.
Handler = Callable[[str, Any], None]
Explain = Callable[[str, AttemptError, bool], tuple[Outcome, AttemptError]]


@dataclass(slots=True, eq=False)
class _Live:
    """Attempt that has been launched and has not ended."""

    launch: Launch
    constants: dict[str, Any]
    last_seq: int = 0
    ended: Future[AttemptEnded] = field(default_factory=Future)
    tasks: list[Any] = field(default_factory=list)
    launched: float = field(default_factory=time.monotonic)
    started: bool = False


@dataclass(slots=True)
class _Uploading:
    """Attempt that has ended before all its checkpoints were in storage."""

    node: str
    paths: set[str]


class AttemptTracker:
    """Attempts of an experiment that have not ended, or whose checkpoints are still uploading.

    `add` and `add_task` may be called from any thread, everything else from one only.

    Args:
        experiment_id: Id of the experiment, for results.
        emit: Handles the events.
        output: Handles the output of attempts; None drops it.
        explain: Given the node and error of an attempt, and whether any has reported a result,
            returns how it has ended.

    Attributes:
        handlers: What handles each kind of report. One that belongs to no live attempt of its node
            is stale, and dropped.
    """

    def __init__(
        self,
        experiment_id: str,
        emit: Emit,
        output: TakeOutput | None = None,
        explain: Explain | None = None,
    ) -> None:
        self._experiment_id = experiment_id
        self._hostname = socket.gethostname()
        self._emit = emit
        self._output = output
        self._explain = explain
        self._have_reported = False
        self._live: dict[AttemptKey, _Live] = {}
        self._uploading: dict[AttemptKey, _Uploading] = {}
        self.handlers: dict[type[Any], Handler] = {
            reports.ProcessStarted: self._on_started,
            reports.ResultBatch: self._on_results,
            reports.CheckpointAnnounced: self._on_announced,
            reports.CheckpointUploaded: self._on_checkpoint,
            reports.UploadFailed: self._on_checkpoint,
            reports.ProcessEnded: self._on_ended,
            TrialOutput: self._on_output,
            TrialLog: self._on_log,
        }

    def add(self, launch: Launch, experiment_tag: str) -> Future[AttemptEnded]:
        """Add a launched attempt, and return a future of its end."""
        constants = {
            "trial_id": launch.trial_id,
            "experiment_id": self._experiment_id,
            "experiment_tag": experiment_tag,
            "config": launch.config,
        }
        live = self._live[launch.key] = _Live(launch, constants)
        # The future must not be cancelled: an attempt ends when its process has ended.
        live.ended.set_running_or_notify_cancel()
        return live.ended

    def add_task(self, key: AttemptKey, task: Any) -> None:
        """Keep a Dask future of an attempt until its end, because Dask drops tasks without one."""
        live = self._live.get(key)
        if live is not None:
            live.tasks.append(task)

    def is_live(self, key: AttemptKey) -> bool:
        """Return True if an attempt was launched and has not ended."""
        return key in self._live

    def requests(self) -> list[Resources]:
        """Return the resources of each attempt."""
        return [live.launch.resources for live in list(self._live.values())]

    def with_bundles_on(self, node: str) -> list[Launch]:
        """Return the attempts that run on other nodes and have bundles on this one."""
        launches = [live.launch for live in list(self._live.values())]
        return [launch for launch in launches if node in launch.nodes[1:]]

    def unstarted(self, seconds: float) -> list[tuple[Launch, float]]:
        """Return attempts that have waited so long for their start, with their waiting time."""
        now = time.monotonic()
        return [
            (live.launch, now - live.launched)
            for live in list(self._live.values())
            if not live.started and now - live.launched >= seconds
        ]

    def lose_node(self, node: str, reason: str) -> None:
        """End the attempts of a lost node, and fail its uploads."""
        message = f"the worker at {node} is lost: {reason}"
        for key, live in list(self._live.items()):
            if live.launch.node == node:
                self.end(key, Outcome.LOST, AttemptError("lost", message))
        for key, uploading in list(self._uploading.items()):
            if uploading.node == node:
                del self._uploading[key]
                for path in sorted(uploading.paths):
                    self._emit(CheckpointFailed(time.time(), *key, path, message, lost=True))

    def lose_all(self, reason: str) -> None:
        """End all attempts as lost, because the cluster cannot be reached."""
        busy = {live.launch.node for live in list(self._live.values())}
        for node in busy.union(entry.node for entry in list(self._uploading.values())):
            self.lose_node(node, reason)

    def end(
        self,
        key: AttemptKey,
        outcome: Outcome,
        error: AttemptError | None,
        uploading: Collection[str] = (),
    ) -> None:
        """Emit the end of an attempt, unless it has ended before.

        Args:
            key: The attempt.
            outcome: How the attempt ended.
            error: Why the attempt failed.
            uploading: Checkpoints of the attempt whose upload the node will report later.
        """
        live = self._live.pop(key, None)
        if live is None:
            return
        if uploading:
            self._uploading[key] = _Uploading(live.launch.node, set(uploading))
        event = AttemptEnded(time.time(), *key, outcome, error, uploading=len(uploading))
        # Waiters on this attempt learn of its end before the trial's next attempt is launched.
        live.ended.set_result(event)
        self._emit(event)

    def _find(self, node: str, key: AttemptKey) -> _Live | None:
        live = self._live.get(key)
        if live is not None and live.launch.node == node:
            return live
        _logger.debug("A stale report of %s attempt %d was dropped.", *key)
        return None

    def _on_started(self, node: str, report: reports.ProcessStarted) -> None:
        live = self._find(node, report.key)
        if live is not None:
            live.started = True
            pid, hostname, node_ip = report.pid, report.hostname, report.node_ip
            live.constants.update(pid=pid, hostname=hostname, node_ip=node_ip)
            self._emit(AttemptStarted(time.time(), *report.key, node, pid, hostname, node_ip))

    def _on_results(self, node: str, report: reports.ResultBatch) -> None:
        live = self._find(node, report.key)
        if live is None:
            return
        first_seq = report.first_seq
        if first_seq != live.last_seq + 1:  # cannot happen; if it does, it must not go unseen
            message = f"result {live.last_seq + 1} is missing: the next that came is {first_seq}"
            self.end(report.key, Outcome.FAILED, AttemptError("lost", message))
            return
        live.last_seq += len(report.results)
        self._have_reported = True
        lines, results = zip(*map(decode_report, report.results), strict=True)
        for result in results:
            complete(result, live.constants)
        self._emit(
            ResultReported(time.time(), *report.key, first_seq, results, report.awaiting, lines)
        )

    def _on_announced(self, node: str, report: reports.CheckpointAnnounced) -> None:
        if self._find(node, report.key) is not None:
            self._emit(CheckpointBegun(time.time(), *report.key, report.iteration))

    def _on_checkpoint(
        self, node: str, report: reports.CheckpointUploaded | reports.UploadFailed
    ) -> None:
        if not self._expects(node, report):
            return
        if isinstance(report, reports.UploadFailed):
            self._emit(CheckpointFailed(time.time(), *report.key, report.path, report.reason))
            return
        _, result = decode_report(report.line)
        result.pop("config", None)  # checkpoints have none of the attempt's constants
        self._emit(CheckpointSaved(time.time(), *report.key, report.path, result))

    def _expects(
        self, node: str, report: reports.CheckpointUploaded | reports.UploadFailed
    ) -> bool:
        """Return True for a checkpoint of a live attempt, or one still uploading after its end."""
        uploading = self._uploading.get(report.key)
        if report.key in self._live or uploading is None or uploading.node != node:
            return self._find(node, report.key) is not None
        if report.path not in uploading.paths:
            return False
        uploading.paths.remove(report.path)
        if not uploading.paths:
            del self._uploading[report.key]
        return True

    def _on_ended(self, node: str, report: reports.ProcessEnded) -> None:
        if self._find(node, report.key) is not None:
            error = None if report.error is None else pickle.loads(report.error)
            outcome = Outcome(report.outcome)
            if outcome is Outcome.FAILED and error is not None and self._explain is not None:
                outcome, error = self._explain(node, error, self._have_reported)
            self.end(report.key, outcome, error, report.uploading)

    def _on_output(self, node: str, output: TrialOutput) -> None:
        if self._output is not None:
            live = self._live.get(AttemptKey(output.trial_id, output.attempt))
            place = {} if live is None else live.constants
            is_here = place.get("hostname", self._hostname) == self._hostname
            self._output(output if is_here else replace(output, node_ip=place["node_ip"]))

    def _on_log(self, node: str, log: TrialLog) -> None:
        if self._find(node, AttemptKey(log.trial_id, log.attempt)) is not None and self._output:
            self._output(log)
