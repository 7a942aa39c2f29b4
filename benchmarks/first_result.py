"""Time from the start of a fresh process to the first report in a callback."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from typing import Any

import prefect_tune as tune
from benchmarks.measure import Bench, Row, compare
from benchmarks.prefect_server import running_server
from benchmarks.subject import Values, seconds_since_start


def noop(config: dict[str, Any]) -> None:
    tune.report({"score": 1.0})


class _First(tune.Callback):
    def __init__(self) -> None:
        self.after_s: float | None = None

    def on_trial_result(self, *args: Any, **info: Any) -> None:
        if self.after_s is None:
            self.after_s = seconds_since_start()


def measure(*, orchestrate: bool) -> Values:
    """Run one trial on the default cluster, as a script without any `init` does."""
    first = _First()
    tune.run(
        noop,
        storage_path=tempfile.mkdtemp(),
        callbacks=[first],
        verbose=0,
        orchestrate=orchestrate,
    )
    if first.after_s is None:
        raise RuntimeError("the sweep ended without a result")
    return {"first_result_s": first.after_s, "whole_run_s": seconds_since_start()}


def rows(bench: Bench) -> Iterator[Row]:
    slots = os.cpu_count() or 1
    figure = ("first_result_s", "s")
    plain = bench.ours("first_result", orchestrate=False)
    peers = [
        bench.peer("ray_tune", "first_result", label="Ray Tune", slots=slots),
        bench.peer("syne_tune", "first_result", label="Syne Tune", slots=slots),
        bench.peer("optuna_inprocess", "first_result", label="Optuna in process"),
    ]
    yield from compare("first result, no Prefect", *figure, plain, peers)
    with running_server() as api:
        server = {"PREFECT_API_URL": api}
        recorded = bench.ours("first_result", environment=server, orchestrate=True)
        dask = bench.peer(
            "prefect_dask", "first_result", label="prefect-dask", environment=server, slots=slots
        )
    yield from compare("first result, running Prefect server", *figure, recorded, [dask])
    embedded = bench.ours("first_result", orchestrate=True)
    yield from compare("first result, embedded Prefect server", *figure, embedded, [])
