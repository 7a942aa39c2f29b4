"""The attempts that run, as the driver knows them: turns what nodes say into events."""

from __future__ import annotations

import logging
import pickle
import socket
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
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
from prefect_tune.execution.protocol.reports import (
    CHECKPOINT_BEGUN,
    CHECKPOINT_FAILED,
    CHECKPOINT_SAVED,
    ENDED,
    LOGGED,
    OUTPUT,
    RESULTS,
    STARTED,
    Entry,
)
from prefect_tune.experiment.attempt_error import AttemptError
from prefect_tune.resources import Resources
from prefect_tune.trainable.output import TrialLog, TrialOutput
from prefect_tune.trainable.runtime.config_changes import complete
from prefect_tune.trainable.runtime.result_codec import SEPARATOR, decode_line, decode_report

_logger = logging.getLogger(__name__)


class _Live:
    """One attempt that has been launched and has not ended."""

    __slots__ = (
        "constants",
        "ended",
        "last_seq",
        "launched",
        "node",
        "resources",
        "started",
        "task",
    )

    def __init__(self, node: str, resources: Resources, constants: dict[str, Any]) -> None:
        self.node = node
        self.resources = resources
        self.constants = constants
        self.last_seq = 0
        self.ended: Future[AttemptEnded] = Future()
        self.task: Any = None
        self.launched = time.monotonic()
        self.started = False


@dataclass(frozen=True, slots=True)
class Unstarted:
    """An attempt that was launched and whose process does not exist yet."""

    trial_id: str
    attempt: int
    node: str
    resources: Resources
    waited_s: float


@dataclass(slots=True)
class _Uploading:
    """An attempt that has ended before all its checkpoints were in storage."""

    node: str
    paths: set[str]


class LiveAttempts:
    """All attempts of an experiment that have not ended, or whose checkpoints are on their way.

    `add` and `hold` may be called from any thread, everything else from one only.

    Args:
        experiment_id: Shown in every result.
        emit: Takes the events.
        output: Takes what attempts print, if anybody does.
    """

    def __init__(self, experiment_id: str, emit: Emit, output: TakeOutput | None = None) -> None:
        self._experiment_id = experiment_id
        self._hostname = socket.gethostname()
        self._emit = emit
        self._output = output
        self._live: dict[tuple[str, int], _Live] = {}
        self._uploading: dict[tuple[str, int], _Uploading] = {}

    def add(self, launch: Launch, experiment_tag: str) -> Future[AttemptEnded]:
        """Expect reports of this attempt; returns the future of its end."""
        live = _Live(
            launch.node,
            launch.resources,
            {
                "trial_id": launch.trial_id,
                "experiment_id": self._experiment_id,
                "experiment_tag": experiment_tag,
                "config": launch.config,
            },
        )
        self._live[launch.trial_id, launch.attempt] = live
        # Nobody may cancel it: an attempt ends when its process has ended.
        live.ended.set_running_or_notify_cancel()
        return live.ended

    def hold(self, trial_id: str, attempt: int, task: Any) -> None:
        """Keep the Dask future of an attempt until its end: Dask forgets tasks nobody holds."""
        live = self._live.get((trial_id, attempt))
        if live is not None:
            live.task = task

    def is_live(self, trial_id: str, attempt: int) -> bool:
        """True if an attempt was launched and has not ended."""
        return (trial_id, attempt) in self._live

    def deliver(self, node: str, entries: Sequence[Entry]) -> None:
        """Turn a batch of a node into events; what belongs to no live attempt is stale."""
        for entry in entries:
            kind, trial_id, attempt = entry[:3]
            live = self._live.get((trial_id, attempt))
            if kind == OUTPUT:
                self._on_output(live, *entry[1:])
            elif live is None and kind in (CHECKPOINT_SAVED, CHECKPOINT_FAILED):
                self._on_late_checkpoint(node, entry)
            elif live is None or live.node != node:
                _logger.debug("A stale report of %s attempt %d was dropped.", trial_id, attempt)
            elif kind == RESULTS:
                self._on_results(live, trial_id, attempt, *entry[3:])
            elif kind == LOGGED:
                if self._output is not None:
                    self._output(TrialLog(trial_id, attempt, entry[3]))
            elif kind == CHECKPOINT_BEGUN:
                self._emit(CheckpointBegun(time.time(), trial_id, attempt, entry[3]))
            elif kind == STARTED:
                self._on_started(live, trial_id, attempt, *entry[3:])
            elif kind == ENDED:
                self._on_ended(live, trial_id, attempt, *entry[3:])
            else:
                self._on_checkpoint(*entry)

    def requests(self) -> list[Resources]:
        """What each attempt has been given."""
        return [live.resources for live in self._snapshot()]

    def unstarted(self, seconds: float) -> list[Unstarted]:
        """The attempts that were launched at least so long ago and have not started."""
        now = time.monotonic()
        return [
            Unstarted(*key, live.node, live.resources, now - live.launched)
            for key, live in list(self._live.items())
            if not live.started and now - live.launched >= seconds
        ]

    def lose_node(self, node: str, reason: str) -> None:
        """End the attempts of a node that is gone, and what it had under way."""
        message = f"the worker at {node} is lost: {reason}"
        for (trial_id, attempt), live in list(self._live.items()):
            if live.node == node:
                self.end(trial_id, attempt, Outcome.LOST, AttemptError("lost", message))
        for (trial_id, attempt), uploading in list(self._uploading.items()):
            if uploading.node == node:
                del self._uploading[trial_id, attempt]
                for path in sorted(uploading.paths):
                    self._emit(
                        CheckpointFailed(time.time(), trial_id, attempt, path, message, lost=True)
                    )

    def lose_all(self, reason: str) -> None:
        """End every attempt: nobody will hear of them again."""
        busy = [live.node for live in self._snapshot()]
        busy += [uploading.node for uploading in list(self._uploading.values())]
        for node in set(busy):
            self.lose_node(node, reason)

    def end(
        self,
        trial_id: str,
        attempt: int,
        outcome: Outcome,
        error: AttemptError | None,
        uploading: Sequence[str] = (),
    ) -> None:
        """Emit the end of an attempt, unless it has ended before.

        Args:
            trial_id: Its trial.
            attempt: Its number.
            outcome: How it ended.
            error: Why it failed.
            uploading: Its checkpoints of which the node will tell later what became of them.
        """
        live = self._live.pop((trial_id, attempt), None)
        if live is None:
            return
        if uploading:
            self._uploading[trial_id, attempt] = _Uploading(live.node, set(uploading))
        event = AttemptEnded(
            time.time(), trial_id, attempt, outcome, error, uploading=len(uploading)
        )
        self._emit(event)
        live.ended.set_result(event)

    def _snapshot(self) -> list[_Live]:
        return list(self._live.values())

    def _on_output(
        self,
        live: _Live | None,
        trial_id: str,
        attempt: int,
        pid: int,
        stderr: bool,
        lines: Sequence[str],
        left_out: int,
        path: str,
    ) -> None:
        if self._output is None:
            return
        there = {} if live is None else live.constants
        is_here = there.get("hostname", self._hostname) == self._hostname
        node_ip = "" if is_here else there["node_ip"]
        self._output(
            TrialOutput(trial_id, attempt, pid, stderr, tuple(lines), left_out, path, node_ip)
        )

    def _on_started(
        self, live: _Live, trial_id: str, attempt: int, pid: int, hostname: str, node_ip: str
    ) -> None:
        live.started = True
        live.constants.update(hostname=hostname, node_ip=node_ip, pid=pid)
        self._emit(
            AttemptStarted(time.time(), trial_id, attempt, live.node, pid, hostname, node_ip)
        )

    def _on_ended(
        self,
        live: _Live,
        trial_id: str,
        attempt: int,
        outcome: str,
        pickled: bytes | None,
        uploading: Sequence[str],
    ) -> None:
        error = None if pickled is None else pickle.loads(pickled)
        self.end(trial_id, attempt, Outcome(outcome), error, uploading)

    def _on_checkpoint(
        self, kind: str, trial_id: str, attempt: int, path: str, detail: Any
    ) -> None:
        """`detail` is the result that it belongs to, or why it failed."""
        now = time.time()
        if kind == CHECKPOINT_SAVED:
            result = decode_line(detail)
            result.pop("config", None)  # checkpoints have none of the attempt's constants
            self._emit(CheckpointSaved(now, trial_id, attempt, path, result))
        else:
            self._emit(CheckpointFailed(now, trial_id, attempt, path, detail))

    def _on_late_checkpoint(self, node: str, entry: Entry) -> None:
        """What became of a checkpoint whose attempt has ended."""
        trial_id, attempt, path = entry[1:4]
        uploading = self._uploading.get((trial_id, attempt))
        if uploading is None or uploading.node != node or path not in uploading.paths:
            _logger.debug("A stale checkpoint of %s attempt %d: %s", trial_id, attempt, path)
            return
        uploading.paths.remove(path)
        if not uploading.paths:
            del self._uploading[trial_id, attempt]
        self._on_checkpoint(*entry)

    def _on_results(
        self,
        live: _Live,
        trial_id: str,
        attempt: int,
        first_seq: int,
        reports: Sequence[bytes],
        awaiting: bool,
    ) -> None:
        if first_seq != live.last_seq + 1:  # cannot happen; if it does, it must not go unseen
            message = f"result {live.last_seq + 1} is missing: the next that came is {first_seq}"
            self.end(trial_id, attempt, Outcome.FAILED, AttemptError("lost", message))
            return
        live.last_seq += len(reports)
        constants = live.constants
        lines, results = [], []
        for report in reports:
            line = report
            if SEPARATOR in report:
                line, result = decode_report(report)
            else:
                result = decode_line(line)
            complete(result, constants)
            lines.append(line)
            results.append(result)
        self._emit(
            ResultReported(
                time.time(), trial_id, attempt, first_seq, tuple(results), awaiting, tuple(lines)
            )
        )
