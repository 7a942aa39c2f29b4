"""A trainable that hands checkpoints over by hand, and what one sees of it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from prefect_tune.checkpoint.manifest import publish, write_manifest
from prefect_tune.experiment.checkpoints import Progress
from prefect_tune.trainable.runtime.attempt_session import current_session


def write_checkpoint(directory: str, iteration: int, size: int = 3, suffix: str = "") -> str:
    """Write and commit a checkpoint in a trial directory; returns its name."""
    name = f"checkpoint_{iteration:06d}{suffix}"
    temporary = Path(directory, f".{name}.tmp-test")
    (temporary / "layers").mkdir(parents=True)
    (temporary / "layers" / "weights.bin").write_bytes(os.urandom(size))
    (temporary / "step.json").write_text(json.dumps(iteration))
    write_manifest(temporary, Progress(iteration))
    publish(temporary, Path(directory, name))
    return name


def hand_over(iteration: int, size: int = 3, suffix: str = "") -> None:
    """Report a result and hand over a checkpoint that belongs to it."""
    session = current_session()
    assert session is not None
    session.report({"x": iteration})
    name = write_checkpoint(session.context.trial_dir, iteration, size, suffix)
    channel = session._channel
    channel.send_checkpoint(iteration, name, b'{"x":%d}' % iteration)
    channel.wait_uploaded(1)


def restored_step() -> int | None:
    """What the checkpoint says that the attempt goes on from."""
    session = current_session()
    assert session is not None
    directory = session.context.checkpoint
    return None if directory is None else json.loads(Path(directory, "step.json").read_text())


def train(config: dict[str, Any]) -> None:
    """Hand over ``config["n"]`` checkpoints, going on from the one given."""
    start = restored_step() or 0
    for iteration in range(start + 1, start + 1 + config["n"]):
        hand_over(iteration, config.get("size", 3))
