"""Texts for a Prefect server: those of users made acceptable, and names of runs.

They are needed before Prefect is imported.
"""

from __future__ import annotations

import json
import os
import posixpath
import re
import time
from typing import Any
from uuid import UUID

from prefect_tune.coordinator.commands import Launch
from prefect_tune.text import in_words

#: Lone surrogates, which UTF-8 cannot express, and NUL, which PostgreSQL does not store.
_NO_TEXT = re.compile("[\x00\ud800-\udfff]")
_HEAD = 1_000
_LONGEST_VALUE = 1_000
#: Characters that the message of a state may have.
LONGEST_MESSAGE = 8_000


def showable(text: str, longest: int | None = None) -> str:
    """Escape characters that a server refuses, with the state or artifact that has the text.

    Args:
        text: Any text.
        longest: Characters to keep; a longer text loses its middle. None keeps all.
    """
    if longest is not None and len(text) > longest:
        head = min(_HEAD, longest // 2)
        text = f"{text[:head]}\n...\n{text[head - longest :]}"
    return _NO_TEXT.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def show_value(value: Any) -> str:
    """Return any object of the user as a text of limited length."""
    return showable(in_words(value), _LONGEST_VALUE)


def flow_name(trainable: str) -> str:
    """Return the name of the flow of a trainable's sweeps."""
    return f"tune-{trainable}"


def new_task_run_id() -> UUID:
    """Make an id for a task run; ids sort by their time, as Prefect's own do (UUID version 7)."""
    milliseconds, rest = divmod(time.time_ns(), 1_000_000)
    random = int.from_bytes(os.urandom(8)) >> 2
    return UUID(int=milliseconds << 80 | 7 << 76 | (rest * 4096 // 10**6) << 64 | 2 << 62 | random)


def task_run_name(launch: Launch) -> str:
    """Return the name of an attempt in the UI.

    It has the trial's name, the number of an attempt after the first, and the checkpoint that the
    attempt starts from.
    """
    name = showable(launch.name)
    if launch.attempt > 1:
        name = f"{name} attempt {launch.attempt}"
    if launch.checkpoint is None:
        return name
    return f"{name} from {posixpath.basename(launch.checkpoint.rstrip('/'))}"


def task_run_text(launch: Launch, task_run_id: UUID) -> str:
    """Return the task run of an attempt as JSON, for its trial; without the flow run."""
    run = {"id": str(task_run_id), "name": task_run_name(launch), "task_key": "trial"}
    return json.dumps({**run, "dynamic_key": str(task_run_id), "run_count": 1})
