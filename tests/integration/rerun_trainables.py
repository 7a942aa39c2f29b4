"""Trainables of flows that are executed more than once; trials that load them need no Prefect.

Trials of 0 and 1 end at once, the others wait until their directory's file ``go`` is there. Each
writes a line into ``ran-<x>`` when it starts, so that what ran again can be counted.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import prefect_tune as tune


def train(config: dict[str, Any]) -> None:
    root = Path(config["root"])
    with open(root / f"ran-{config['x']}", "a") as file:
        file.write("once\n")
    tune.report({"score": config["x"]})
    if config["x"] < 2:
        return
    (root / "waiting").touch()
    while not (root / "go").exists():
        time.sleep(0.02)
        tune.report({"score": config["x"]})


def times_run(root: Path, x: int) -> int:
    """How many attempts of the trial of `x` there have been."""
    return len((root / f"ran-{x}").read_text().splitlines())


def failing_once(config: dict[str, Any]) -> dict[str, float]:
    """Fails the first time, if `x` is above 1."""
    train({**config, "x": config["x"]})
    if config["x"] > 1 and times_run(Path(config["root"]), config["x"]) == 1:
        raise ValueError("too early")
    return {"score": config["x"]}


def shifted(config: dict[str, Any]) -> dict[str, float]:
    return {"loss": config["x"] + config["shift"]}
