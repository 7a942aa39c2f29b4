"""Flows that are executed more than once; served by `python -m tests.integration.rerun_flows`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from threading import Event
from typing import Any

from prefect import flow, task

import prefect_tune as tune
from prefect_tune.flows import tune_experiment
from tests.integration.rerun_trainables import failing_once, shifted, train


def sweep(root: str, storage: str | None = None, **options: Any) -> tune.ExperimentAnalysis:
    """Four trials one after the other, without a name."""
    return tune.run(
        train,
        config={"x": tune.grid_search([0, 1, 2, 3]), "root": root},
        metric="score",
        mode="max",
        storage_path=storage or root,
        max_concurrent_trials=1,
        verbose=0,
        **options,
    )


@flow
def pipeline(root: str, storage: str | None = None) -> list[int]:
    """Two equal sweeps; the second one finds `go`."""
    Path(root, "pid").write_text(str(os.getpid()))
    return [len(sweep(root, storage).trials), len(sweep(root, storage).trials)]


class Bomb(tune.Callback):
    """Raises at the end of the second trial, the first time."""

    def __init__(self, root: str) -> None:
        self._fuse = Path(root, "fuse")
        self._ended = 0

    def on_trial_complete(self, **info: Any) -> None:
        self._ended += 1
        if self._ended == 2 and not self._fuse.exists():
            self._fuse.touch()
            raise RuntimeError("bomb")


@flow(retries=1)
def raising(root: str) -> list[int]:
    """One sweep raises half way, and what comes after another one raises too."""
    Path(root, "go").touch()
    first = sweep(root, name="first", callbacks=[Bomb(root)])
    return [len(first.trials)]


@flow(retries=1)
def raising_later(root: str) -> list[int]:
    """Raises when its sweep is over."""
    Path(root, "go").touch()
    analysis = sweep(root)
    fuse = Path(root, "fuse")
    if not fuse.exists():
        fuse.touch()
        raise RuntimeError("bomb")
    return [len(analysis.trials)]


@flow(retries=1)
def failing(root: str) -> list[str]:
    """Failed trials fail it."""
    Path(root, "go").touch()
    space = {"x": tune.grid_search([0, 1, 2, 3]), "root": root}
    analysis = tune.run(failing_once, config=space, storage_path=root, verbose=0)
    return [trial.status for trial in analysis.trials]


@flow(retries=1)
def anew(root: str) -> list[int]:
    """Says that it wants a new experiment each time."""
    Path(root, "go").touch()
    sweep(root, resume=False)
    fuse = Path(root, "fuse")
    if not fuse.exists():
        fuse.touch()
        raise RuntimeError("bomb")
    return []


def sweep_shifted(root: str, shift: int) -> list[int]:
    """The shifts of the trials that a sweep of one shift gives."""
    analysis = tune.run(
        shifted,
        config={"x": tune.uniform(0, 1), "shift": shift},
        num_samples=2,
        metric="loss",
        mode="min",
        storage_path=root,
        verbose=0,
    )
    return [trial.config["shift"] for trial in analysis.trials]


_ended = {0: Event(), 100: Event()}


@task
def shifted_task(root: str, shift: int) -> list[int]:
    """Comes first if its shift is 0; when it is retried, if it is not."""
    first = 100 if Path(root, "fuse").exists() else 0
    if shift != first:
        _ended[first].wait(60)
    try:
        return sweep_shifted(root, shift)
    finally:
        _ended[shift].set()


@flow(retries=1)
def reordered(root: str) -> list[list[int]]:
    """Sweeps in tasks that run in the other order when it is retried."""
    for event in _ended.values():
        event.clear()
    found = [future.result() for future in [shifted_task.submit(root, s) for s in (0, 100)]]
    fuse = Path(root, "fuse")
    if not fuse.exists():
        fuse.touch()
        raise RuntimeError("bomb")
    return found


@flow
def shifted_flow(root: str, shift: int) -> list[int]:
    return sweep_shifted(root, shift)


@flow(retries=1)
def skipping(root: str) -> list[int]:
    """The first of its subflows is left out when it is retried."""
    fuse = Path(root, "fuse")
    if not fuse.exists():
        shifted_flow(root, 0)
    found = shifted_flow(root, 100)
    if not fuse.exists():
        fuse.touch()
        raise RuntimeError("bomb")
    return found


@task(retries=1)
def uploading(root: str) -> int:
    """A task that fails once when its sweep is over."""
    found = len(sweep(root).trials)
    fuse = Path(root, "fuse")
    if not fuse.exists():
        fuse.touch()
        raise RuntimeError("bomb")
    return found


@flow
def uploads(root: str) -> int:
    Path(root, "go").touch()
    return uploading(root)


if __name__ == "__main__":
    from prefect import serve

    serve(
        pipeline.to_deployment(name=sys.argv[1]),
        tune_experiment.to_deployment(name=sys.argv[1]),
    )
