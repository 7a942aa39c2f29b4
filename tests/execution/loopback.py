"""A node's file handlers without a network between."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from distributed.protocol import Serialize

from prefect_tune.checkpoint.manifest import write_manifest
from prefect_tune.execution.files.confined_directory import ConfinedDirectory
from prefect_tune.execution.files.node_files import NodeClient, NodeFiles, file_handlers
from prefect_tune.experiment.checkpoints import Progress


@dataclass
class Node:
    """Stands in for a scheduler and one worker.

    Attributes:
        trouble: Called with the number of a call and its operation, before and after it.
    """

    directory: Path
    trouble: Callable[[int, str, bool], None] = lambda number, operation, done: None
    answers: list[tuple[bool, str, str, bool]] = field(default_factory=list)
    calls: list[dict[str, Any]] = field(default_factory=list)
    open: bool = True

    def __post_init__(self) -> None:
        files = NodeFiles(ConfinedDirectory(self.directory), self.on_answer)
        self._handlers = file_handlers(lambda _: files if self.open else None)

    def on_answer(self, is_upload: bool, path: str, problem: str, damaged: bool) -> None:
        self.answers.append((is_upload, path, problem, damaged))

    async def proxy(self, worker: str, msg: dict[str, Any]) -> Any:
        self.calls.append(msg)
        number, operation = len(self.calls), msg["op"]
        self.trouble(number, operation, False)
        arguments = {k: _plain(v) for k, v in msg.items() if k != "op"}
        reply = self._handlers[operation](**arguments)
        reply = reply if isinstance(reply, dict) else await reply
        self.trouble(number, operation, True)
        return {k: _plain(v) for k, v in reply.items()}

    def there(self) -> NodeClient:
        return NodeClient(self, "tcp://node:1", "experiment")


def _plain(value: Any) -> Any:
    return value.data if isinstance(value, Serialize) else value


def make_checkpoint(directory: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    write_manifest(directory, Progress(3))
    return directory


def content(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }
