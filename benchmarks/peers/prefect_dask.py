"""The stock prefect-dask task runner's side of the benchmarks: one no-op task per trial.

The caller names a running Prefect server in PREFECT_API_URL: without one, each Dask worker process
would start a server of its own.
"""
# prefect-dask is not installed where this is type-checked.
# mypy: disable-error-code="import-not-found,import-untyped,misc,attr-defined"

from __future__ import annotations

from typing import Any

from benchmarks.subject import Values, overhead_values, seconds_since_start, serve


def trial_overhead(*, trials: int, slots: int) -> Values:
    from prefect import flow

    noop = _noop_task()
    marks: list[float] = []

    @flow(task_runner=_runner(slots), persist_result=False)
    def sweep() -> None:
        noop.map([0.0] * slots).result()
        marks.append(seconds_since_start())
        noop.map([float(x) for x in range(trials)]).result()
        marks.append(seconds_since_start())

    sweep()
    return overhead_values(marks[0], marks[1] - marks[0], trials)


def first_result(*, slots: int) -> Values:
    from prefect import flow

    noop = _noop_task()
    after_s: list[float] = []

    @flow(task_runner=_runner(slots), persist_result=False)
    def sweep() -> None:
        noop.submit(0.0).result()
        after_s.append(seconds_since_start())

    sweep()
    return {"first_result_s": after_s[0], "whole_run_s": seconds_since_start()}


def _noop_task() -> Any:
    from prefect import task

    @task(persist_result=False)
    def noop(x: float) -> float:
        return x

    return noop


def _runner(slots: int) -> Any:
    from prefect_dask import DaskTaskRunner

    return DaskTaskRunner(
        cluster_kwargs={
            "n_workers": slots,
            "threads_per_worker": 1,
            "host": "127.0.0.1",
            "dashboard_address": None,
        }
    )


WORKLOADS = {workload.__name__: workload for workload in (trial_overhead, first_result)}

if __name__ == "__main__":
    serve(WORKLOADS, requires=("prefect-dask", "prefect", "distributed"))
