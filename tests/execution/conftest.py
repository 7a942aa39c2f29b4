"""Runs attempts as an agent would, and collects what they send."""

import asyncio
import json
import os
import pickle
import select
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from prefect_tune.coordinator.events import Outcome
from prefect_tune.execution.launch.handle import AttemptHandle
from prefect_tune.execution.launch.spawner import AttemptSpawner
from prefect_tune.execution.protocol.frames import Frame, FrameBuffer, FrameKind, encode_decision
from prefect_tune.execution.protocol.helper_messages import ExitCode
from prefect_tune.experiment.attempt import AttemptError
from prefect_tune.trainable.runtime.attempt import AttemptContext, Decision
from prefect_tune.trainable.runtime.result_codec import decode_report
from prefect_tune.trainable.shipping.large_data import DataParts
from prefect_tune.trainable.shipping.packing import TrainableSource, pack_trainable
from tests.attempts import make_context


@dataclass
class Record:
    """All that one attempt left behind."""

    hello: dict[str, Any] = field(default_factory=dict)
    results: list[dict[str, Any]] = field(default_factory=list)
    awaited: list[int] = field(default_factory=list)
    end: Outcome | AttemptError | None = None
    exit_code: ExitCode = 255  # until it has ended
    stdout: str = ""
    stderr: str = ""
    kinds: list[int] = field(default_factory=list)


def arrived(source: TrainableSource) -> TrainableSource:
    """A trainable as a node has it."""
    if not isinstance(source.data, DataParts):
        return source
    file = pickle.loads(pickle.dumps(source.data)).create()
    file.write(0, source.data.read(0, source.data.size))
    return replace(source, data=file)


#: Called with each result; what it returns is sent to the trial.
OnResult = Callable[[AttemptHandle, Frame], Decision | None]


class Agent:
    """Starts attempts of one trainable and follows them to their end."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def context(self, trial_id: str = "t_00000", **changes: Any) -> AttemptContext:
        trial_dir = self.directory / trial_id
        trial_dir.mkdir(exist_ok=True)
        return make_context(trial_dir, trial_id=trial_id, name=f"train_{trial_id}", **changes)

    def run(
        self,
        trainable: Callable[..., Any],
        *contexts: AttemptContext,
        start_method: str = "fork",
        isolation: str = "process",
        on_result: OnResult | None = None,
    ) -> list[Record]:
        """Run attempts side by side."""

        async def run() -> list[Record]:
            spawner = AttemptSpawner()
            try:
                await spawner.load(arrived(pack_trainable(trainable)), start_method, isolation)
                return await asyncio.gather(
                    *(self.follow(spawner, context, isolation, on_result) for context in contexts)
                )
            finally:
                spawner.close()

        return asyncio.run(run())

    def run_one(self, trainable: Callable[..., Any], **options: Any) -> Record:
        context = options.pop("context", None) or self.context()
        (record,) = self.run(trainable, context, **options)
        return record

    async def follow(
        self,
        spawner: AttemptSpawner,
        context: AttemptContext,
        isolation: str = "process",
        on_result: OnResult | None = None,
    ) -> Record:
        stdout, stderr = (Path(context.trial_dir) / name for name in ("stdout", "stderr"))
        handle = await spawner.spawn(context, stdout, stderr, isolation)
        record, buffer, loop = Record(), FrameBuffer(), asyncio.get_running_loop()
        with handle.sock:
            while data := await _receive(handle):
                for frame in buffer.feed(data):
                    decision = self._take(record, handle, frame, on_result)
                    if decision is not None:
                        await loop.sock_sendall(handle.sock, encode_decision(decision))
            record.exit_code = await handle.wait()
        if isolation == "process":
            record.stdout, record.stderr = stdout.read_text(), handle.stderr_tail()
        return record

    def _take(
        self, record: Record, handle: AttemptHandle, frame: Frame, on_result: OnResult | None
    ) -> Decision | None:
        record.kinds.append(frame.kind)
        if frame.kind == FrameKind.HELLO:
            record.hello = json.loads(frame.payload)
        elif frame.kind == FrameKind.ENDED:
            record.end = Outcome(json.loads(frame.payload)["outcome"])
        elif frame.kind == FrameKind.FAILED:
            record.end = pickle.loads(frame.payload)
        else:
            record.results.append(decode_report(frame.payload)[1])
            if frame.kind == FrameKind.RESULT_AWAITING:
                record.awaited.append(frame.seq)
            return on_result(handle, frame) if on_result else None
        return None


async def _receive(handle: AttemptHandle) -> bytes:
    try:
        return await asyncio.get_running_loop().sock_recv(handle.sock, 1 << 16)
    except ConnectionResetError:  # ended with decisions unread
        return b""


@pytest.fixture
def ends() -> Callable[[int], bool]:
    """Waits for a process that is not our child to end; False if it does not."""

    def ends(pid: int) -> bool:
        try:
            process = os.pidfd_open(pid)
        except ProcessLookupError:
            return True
        try:
            return bool(select.select([process], [], [], 20)[0])
        finally:
            os.close(process)

    return ends


@pytest.fixture
def agent(tmp_path: Path) -> Agent:
    return Agent(tmp_path)
