"""The workers of distributed training, as threads that connect to their group."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from prefect_tune.error import TrialWorkerFailed, TuneError
from prefect_tune.trainable.distributed import group as group_module
from prefect_tune.trainable.distributed.group import WorkerGroup
from prefect_tune.trainable.distributed.rendezvous import Invitation, WorkerConnection, WorkerInfo
from prefect_tune.trainable.runtime.attempt import TrialTerminated
from prefect_tune.trainable.trial_workers import WorkerCall

Worker = Callable[[Invitation], Any]


def worker(rank: int, size: int) -> WorkerInfo:
    return WorkerInfo(rank, size, rank, size, 0, "127.0.0.1", rank)


class Call(WorkerCall):
    """A worker that is a thread."""

    def __init__(self, worker: Worker, invitation: Invitation) -> None:
        super().__init__()
        self._worker, self._invitation = worker, invitation
        self._end = lambda: self.set_exception(TrialWorkerFailed("it was ended"))
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        try:
            result = self._worker(self._invitation)
            self.done() or self.set_result(result)
        except Exception as error:
            self.done() or self.set_exception(error)


def make_group(
    *workers: Worker, checkpoint: Path | None = None, timeout_s: float = 30
) -> WorkerGroup:
    infos = [worker(rank, len(workers) + 1) for rank in range(len(workers) + 1)]

    def start(invitation: Invitation) -> Call:
        return Call(workers[invitation.worker.rank - 1], invitation)

    return WorkerGroup(infos, start, checkpoint and str(checkpoint), timeout_s)


def connect(invitation: Invitation) -> WorkerConnection:
    return invitation.accept(None)


def exchanges(invitation: Invitation) -> Any:
    """Gives its rank twice and waits for what all have given."""
    line = connect(invitation)
    answers = []
    for value in (invitation.worker.rank, -invitation.worker.rank):
        line.send({"value": value})
        answers.append(line.receive())
    return answers


def fails_later(invitation: Invitation) -> None:
    line = connect(invitation)
    line.send({"value": None})
    line.receive()
    raise ValueError("bad batch")


@pytest.fixture
def ending() -> Iterator[None]:
    """SIGTERM ends a training function, as in the process of a trial."""

    def end(*_: object) -> None:
        raise TrialTerminated

    before = signal.signal(signal.SIGTERM, end)
    yield
    signal.signal(signal.SIGTERM, before)


def test_every_worker_gets_the_values_of_all_by_rank() -> None:
    with make_group(exchanges, exchanges) as group:
        assert group.exchange(0) == [0, 1, 2]
        assert group.exchange(-10) == [-10, -1, -2]
        group.wait()
        for call in group._calls.values():
            assert call.result() == [{"values": [0, 1, 2]}, {"values": [-10, -1, -2]}]


def test_the_files_of_a_checkpoint_get_to_a_worker_that_does_not_see_them(tmp_path: Path) -> None:
    checkpoint, there = tmp_path / "here", tmp_path / "there"
    (checkpoint / "deep").mkdir(parents=True)
    (checkpoint / "deep" / "weights").write_bytes(bytes(range(256)) * 400)

    def fetches(invitation: Invitation) -> dict[str, Any] | None:
        line = invitation.accept(str(there))
        line.send({"value": "after the files"})
        return line.receive()

    with make_group(fetches, checkpoint=checkpoint) as group:
        assert group.exchange(None) == [None, "after the files"]
        group.wait()
    assert (there / "deep" / "weights").read_bytes() == bytes(range(256)) * 400


def test_somebody_who_finds_the_port_is_not_taken_for_a_worker() -> None:
    refused = threading.Event()

    def comes_after_a_stranger(invitation: Invitation) -> Any:
        with socket.create_connection(invitation.address) as stranger:
            WorkerConnection(stranger).send({"token": "guessed", "rank": 1, "fetch": False})
            if WorkerConnection(stranger).receive() is None:
                refused.set()
        return exchanges(invitation)

    with make_group(comes_after_a_stranger) as group:
        assert refused.is_set()
        assert group.exchange(0) == [0, 1]


@pytest.mark.usefixtures("ending")
def test_the_failure_of_a_worker_ends_a_training_function_that_waits() -> None:

    def train() -> None:
        with make_group(fails_later) as group, group.training():
            group.exchange(None)
            signal.pause()

    with pytest.raises(TuneError, match=r"worker 1 of 2 .*127\.0\.0\.1.* ValueError: bad batch"):
        train()


@pytest.mark.usefixtures("ending")
def test_an_error_that_follows_from_the_loss_of_a_worker_is_told_as_that() -> None:
    lost = threading.Event()

    def dies(invitation: Invitation) -> None:
        connect(invitation).close()
        lost.wait()
        raise TrialWorkerFailed("killed by SIGKILL")

    def train() -> None:
        with make_group(dies) as group, group.training():
            threading.Timer(0.2, lost.set).start()
            raise RuntimeError("connection closed by peer")

    with pytest.raises(TuneError, match=r"worker 1 of 2 .* has failed: killed by SIGKILL"):
        train()


def test_an_error_of_the_first_worker_is_its_own() -> None:
    over = threading.Event()

    def waits(invitation: Invitation) -> None:
        line = connect(invitation)
        assert line.receive() is None, "the first one has ended the connection"
        over.set()

    with (
        pytest.raises(ZeroDivisionError),
        make_group(waits) as group,
        group.training(),
    ):
        1 / 0  # noqa: B018
    assert over.wait(30)


def test_a_training_function_that_does_not_end_is_ended_by_force(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    forced = threading.Event()
    monkeypatch.setattr(group_module, "_END_S", 0.1)
    monkeypatch.setattr(group_module.os, "_exit", lambda status: forced.set())
    before = signal.signal(signal.SIGTERM, lambda *_: None)  # as inside of native code
    try:
        with contextlib.suppress(TuneError), make_group(fails_later) as group, group.training():
            group.exchange(None)
            assert forced.wait(30)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert "ValueError: bad batch. Worker 0 hangs" in capsys.readouterr().err


def test_who_does_not_connect_is_named() -> None:
    never = threading.Event()
    with (
        pytest.raises(TuneError, match=r"waited 0\.3 s in vain for worker 2 of 3 to connect"),
        make_group(lambda i: (connect(i), never.wait()), lambda i: never.wait(), timeout_s=0.3),
    ):
        pass
    never.set()


def test_who_does_not_return_is_named() -> None:
    never = threading.Event()
    with (
        pytest.raises(TuneError, match=r"waited 0\.5 s in vain for worker 1 of 2 to return"),
        make_group(lambda i: (connect(i), never.wait()), timeout_s=0.5) as group,
    ):
        group.wait()
    never.set()


def test_a_worker_that_cannot_reach_the_first_one_says_from_where_to_where() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nobody listens
        port = taken.getsockname()[1]
        invitation = Invitation(worker(1, 2), ("127.0.0.1", port), "", timeout_s=5)
        with pytest.raises(
            TuneError, match=rf"worker 1 of 2 .*127\.0\.0\.1.* port {port}.*firewall"
        ):
            connect(invitation)
