"""The attempts that run, as the driver knows them: turns what nodes say into events."""

from __future__ import annotations

import logging
import pickle
import time
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

from prefect_tune.coordinator.commands import Launch
from prefect_tune.coordinator.events import AttemptEnded, AttemptStarted, Outcome, ResultReported
from prefect_tune.execution.base import Emit
from prefect_tune.execution.reports import ENDED, RESULTS, STARTED, Entry
from prefect_tune.experiment.attempt_error import AttemptError
from prefect_tune.trainable.result_codec import decode_line

_logger = logging.getLogger(__name__)


class _Live:
    """One attempt that has been launched and has not ended."""

    __slots__ = ("constants", "ended", "last_seq", "launched", "node", "started", "task")

    def __init__(self, node: str, constants: dict[str, Any]) -> None:
        self.node = node
        self.constants = constants
        self.last_seq = 0
        self.ended: Future[AttemptEnded] = Future()
        self.task: Any = None
        self.launched = time.monotonic()
        self.started = False


class LiveAttempts:
    """All attempts of an experiment that have not ended.

    `add` and `hold` may be called from any thread, everything else from one only.

    Args:
        experiment_id: Shown in every result.
        emit: Takes the events.
    """

    def __init__(self, experiment_id: str, emit: Emit) -> None:
        self._experiment_id = experiment_id
        self._emit = emit
        self._live: dict[tuple[str, int], _Live] = {}

    def add(self, launch: Launch, experiment_tag: str) -> Future[AttemptEnded]:
        """Expect reports of this attempt; returns the future of its end."""
        live = _Live(
            launch.node,
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
            if live is None or live.node != node:
                _logger.debug("A stale report of %s attempt %d was dropped.", trial_id, attempt)
            elif kind == RESULTS:
                self._on_results(live, trial_id, attempt, *entry[3:])
            elif kind == STARTED:
                self._on_started(live, trial_id, attempt, *entry[3:])
            elif kind == ENDED:
                outcome, pickled = entry[3:]
                error = None if pickled is None else pickle.loads(pickled)
                self.end(trial_id, attempt, Outcome(outcome), error)

    def waiting(self, seconds: float) -> int:
        """How many attempts were launched at least so long ago and have not started."""
        since = time.monotonic() - seconds
        return sum(not live.started and live.launched <= since for live in self._snapshot())

    def lose_node(self, node: str, reason: str) -> None:
        """End the attempts of a node that is gone."""
        for (trial_id, attempt), live in list(self._live.items()):
            if live.node == node:
                message = f"the worker at {node} is lost: {reason}"
                self.end(trial_id, attempt, Outcome.LOST, AttemptError("lost", message))

    def lose_all(self, reason: str) -> None:
        """End every attempt: nobody will hear of them again."""
        for node in {live.node for live in self._snapshot()}:
            self.lose_node(node, reason)

    def end(
        self, trial_id: str, attempt: int, outcome: Outcome, error: AttemptError | None
    ) -> None:
        """Emit the end of an attempt, unless it has ended before."""
        live = self._live.pop((trial_id, attempt), None)
        if live is None:
            return
        event = AttemptEnded(time.time(), trial_id, attempt, outcome, error)
        self._emit(event)
        live.ended.set_result(event)

    def _snapshot(self) -> list[_Live]:
        return list(self._live.values())

    def _on_started(
        self, live: _Live, trial_id: str, attempt: int, pid: int, hostname: str, node_ip: str
    ) -> None:
        live.started = True
        live.constants.update(hostname=hostname, node_ip=node_ip, pid=pid)
        self._emit(
            AttemptStarted(time.time(), trial_id, attempt, live.node, pid, hostname, node_ip)
        )

    def _on_results(
        self,
        live: _Live,
        trial_id: str,
        attempt: int,
        first_seq: int,
        lines: Sequence[bytes],
        awaiting: bool,
    ) -> None:
        if first_seq != live.last_seq + 1:  # cannot happen; if it does, it must not go unseen
            message = f"result {live.last_seq + 1} is missing: the next that came is {first_seq}"
            self.end(trial_id, attempt, Outcome.FAILED, AttemptError("lost", message))
            return
        live.last_seq += len(lines)
        constants = live.constants
        results = []
        for line in lines:
            result = decode_line(line)
            result.update(constants)
            results.append(result)
        self._emit(
            ResultReported(
                time.time(), trial_id, attempt, first_seq, tuple(results), awaiting, tuple(lines)
            )
        )
