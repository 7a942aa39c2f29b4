"""The main function of workers of distributed training, except for the first one."""

from __future__ import annotations

import contextlib
import os
import queue
import shutil
import tempfile
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, cast

from typing_extensions import override

from prefect_tune.checkpoint.checkpoint import Checkpoint
from prefect_tune.error import TuneError
from prefect_tune.trainable.distributed.rendezvous import (
    Invitation,
    WorkerConnection,
    set_current_worker,
)
from prefect_tune.trainable.function import run_function
from prefect_tune.trainable.runner import seed_random_state
from prefect_tune.trainable.runtime.attempt import AttemptContext, CallEnded, Channel
from prefect_tune.trainable.runtime.attempt_session import Session, activate
from prefect_tune.trainable.runtime.checkpoint_drafts import valid_step
from prefect_tune.trainable.runtime.metrics import as_metrics
from prefect_tune.trainable.trial_workers import loaded_trainable


def run_worker(invitation: Invitation, context: AttemptContext) -> None:
    """Run the trial's trainable in this process, which is a worker.

    Args:
        invitation: Address of the first worker, and the rank of this one.
        context: The attempt.
    """
    worker = invitation.worker
    with tempfile.TemporaryDirectory(prefix="prefect_tune_worker_") as scratch:
        fetched = None
        if context.checkpoint is not None and not os.path.isdir(context.checkpoint):
            fetched = os.path.join(scratch, "checkpoint")
            context = replace(context, checkpoint=fetched)
        connection = invitation.accept(fetched)
        answers: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        threading.Thread(target=_listen, args=(connection, answers, scratch), daemon=True).start()

        def exchange(value: Any) -> list[Any]:
            connection.send({"value": value})
            try:
                values: list[Any] = answers.get(timeout=invitation.timeout_s)["values"]
            except queue.Empty:
                raise TuneError(
                    f"{worker} waited {invitation.timeout_s:g} s in vain for the others."
                ) from None
            return values

        set_current_worker(worker, exchange)
        seed_random_state(context, worker.rank)
        session = _WorkerSession(context, scratch)
        activate(session, whole_process=True)
        try:
            run_function(loaded_trainable(), session)
        except SystemExit as exit:
            if exit.code:
                raise


def _listen(
    connection: WorkerConnection, answers: queue.SimpleQueue[dict[str, Any]], scratch: str
) -> None:
    while (message := connection.receive()) is not None:
        answers.put(message)
    # The trial has ended, in whatever way, and nobody waits for this process any more.
    shutil.rmtree(scratch, ignore_errors=True)
    os._exit(0)


class _WorkerSession(Session):
    """Session of a worker that reports nothing, because the first worker reports for all.

    Args:
        context: The attempt.
        scratch: Directory for checkpoints, which are dropped.
    """

    def __init__(self, context: AttemptContext, scratch: str) -> None:
        # Nothing below sends anything to the agent of the node.
        super().__init__(context, cast(Channel, None))
        self._scratch = scratch

    @override
    def report(self, metrics: Mapping[str, Any], checkpoint: Checkpoint | None = None) -> None:
        as_metrics(metrics)

    @override
    @contextlib.contextmanager
    def checkpoint_dir(self, step: Any) -> Iterator[str]:
        valid_step(step)
        with tempfile.TemporaryDirectory(dir=self._scratch) as directory:
            yield directory

    @override
    def make_checkpoint_dir(self, step: Any = None) -> str:
        return tempfile.mkdtemp(dir=self._scratch)

    @override
    def save_checkpoint(self, checkpoint: Any) -> None:
        pass

    @override
    def finish(self) -> None:
        pass

    @override
    def start_call(self, bundle: int, call: bytes, ended: CallEnded) -> int:
        raise TuneError("Of the workers of distributed training, only the first starts functions.")

    @override
    def should_checkpoint(self) -> bool:
        """Return False, because only the first worker writes checkpoints."""
        return False
