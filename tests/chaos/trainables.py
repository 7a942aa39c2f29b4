"""What the trials of a run do: count, save what they have counted to, check what they get back.

Each process that runs a trial has a token of its own, and each of its results a number, so every
result of a run can be told from every other, whatever happens to the attempts around it.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import prefect_tune as tune

from .scenario import CLASS, CLASS_DICT, FUNCTION, PLAIN, STEP_DIR

STATE, PAYLOAD = "state.json", "deep/payload.bin"


def payload(trial_id: str, iteration: int) -> bytes:
    """What a checkpoint has to hold, from 30 kB to 300 kB."""
    seed = hashlib.sha256(f"{trial_id} {iteration}".encode()).digest()
    return seed * (1000 * (1 + seed[0] % 10))


def write_state(directory: Path, trial_id: str, iteration: int) -> None:
    """Write a checkpoint's files."""
    (directory / PAYLOAD).parent.mkdir(parents=True)
    (directory / PAYLOAD).write_bytes(payload(trial_id, iteration))
    state = {"trial_id": trial_id, "iteration": iteration}
    (directory / STATE).write_text(json.dumps(state))


def read_state(directory: Path) -> tuple[dict[str, Any], bytes]:
    """The files of a checkpoint."""
    return json.loads((directory / STATE).read_text()), (directory / PAYLOAD).read_bytes()


def fault_of(state: dict[str, Any], data: bytes, trial_id: str | None = None) -> str:
    """What is wrong with a checkpoint's content; "" if nothing is.

    Args:
        state: What it holds.
        data: Its payload.
        trial_id: Who must have written it; None if anybody may have.
    """
    if state["trial_id"] != trial_id is not None:
        return f"it is of trial {state['trial_id']}"
    if data != payload(state["trial_id"], state["iteration"]):
        return f"its payload is not that of iteration {state['iteration']}"
    return ""


class Diary:
    """What a trial process knows, in a file that does not depend on what is being tested."""

    def __init__(self, config: dict[str, Any], trial_id: str) -> None:
        self.token = uuid.uuid4().hex[:12]
        self._config = config
        self._trial_id = trial_id
        self._n = 0

    def begin(self, state: dict[str, Any] | None = None, data: bytes = b"") -> int:
        """Note that an attempt begins, and what it got back; returns the iteration of that."""
        entry = {
            "trial_id": self._trial_id,
            "token": self.token,
            "pid": os.getpid(),
            "restored": None if state is None else state["iteration"],
            "source": None if state is None else state["trial_id"],
            "wrong": "" if state is None else fault_of(state, data),
        }
        path = Path(self._config["diary"], f"{self._trial_id}-{self.token}.json")
        path.write_text(json.dumps(entry))
        return entry["restored"] or 0

    def result(self, iteration: int) -> dict[str, Any]:
        """The next result, after having worked for it."""
        time.sleep(self._config["step_s"])
        self._n += 1
        score = iteration - 100 * (self._config["x"] - 0.5) ** 2
        return {"token": self.token, "n": self._n, "iteration": iteration, "score": score}


def plain(config: dict[str, Any]) -> None:
    """A function that begins anew each time."""
    diary = Diary(config, str(tune.get_trial_id()))
    diary.begin()
    for iteration in range(1, config["steps"] + 1):
        tune.report(diary.result(iteration))


def function(config: dict[str, Any]) -> None:
    """Checkpoints that belong to reports."""
    trial_id = str(tune.get_trial_id())
    diary = Diary(config, trial_id)
    checkpoint = tune.get_checkpoint()
    if checkpoint is None:
        start = diary.begin()
    else:
        with checkpoint.as_directory() as directory:
            start = diary.begin(*read_state(Path(directory)))
    for iteration in range(start + 1, config["steps"] + 1):
        result = diary.result(iteration)
        if iteration % config["every"]:
            tune.report(result)
            continue
        draft = Path(f"draft-{diary.token}-{iteration}")
        write_state(draft, trial_id, iteration)
        tune.report(result, checkpoint=tune.Checkpoint.from_directory(draft))


def step_dir(config: dict[str, Any], checkpoint_dir: str | None = None) -> None:
    """Checkpoints by `checkpoint_dir`."""
    trial_id = str(tune.get_trial_id())
    diary = Diary(config, trial_id)
    start = diary.begin(*(() if checkpoint_dir is None else read_state(Path(checkpoint_dir))))
    for iteration in range(start + 1, config["steps"] + 1):
        result = diary.result(iteration)
        if not iteration % config["every"]:
            with tune.checkpoint_dir(step=iteration) as directory:
                write_state(Path(directory), trial_id, iteration)
        tune.report(result)


class Counting(tune.Trainable):
    """A class that saves files."""

    def setup(self, config: dict[str, Any]) -> None:
        self.diary = Diary(config, self.trial_id)
        self.count = 0
        self.begun = False

    def step(self) -> dict[str, Any]:
        if not self.begun:
            self.take()
        self.count += 1
        result = self.diary.result(self.count)
        return {**result, "done": self.count >= self.config["steps"]}

    def save_checkpoint(self, checkpoint_dir: str) -> Any:
        write_state(Path(checkpoint_dir), self.trial_id, self.count)
        return checkpoint_dir

    def load_checkpoint(self, checkpoint: Any) -> None:
        self.take(*read_state(Path(checkpoint)))

    def take(self, *content: Any) -> None:
        self.begun = True
        self.count = self.diary.begin(*content)


class CountingInDict(Counting):
    """The same with a dict."""

    def save_checkpoint(self, checkpoint_dir: str) -> Any:
        state = {"trial_id": self.trial_id, "iteration": self.count}
        return {"state": state, "payload": payload(self.trial_id, self.count)}

    def load_checkpoint(self, checkpoint: Any) -> None:
        self.take(checkpoint["state"], checkpoint["payload"])


@functools.cache
def trainables() -> dict[str, Callable[..., Any]]:
    """All of them by their names in scenarios."""
    return {
        PLAIN: plain,
        FUNCTION: function,
        STEP_DIR: step_dir,
        CLASS: Counting,
        CLASS_DICT: CountingInDict,
    }
