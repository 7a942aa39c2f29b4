"""Experiments on a real in-process Dask cluster, driven by hand."""

from __future__ import annotations

import itertools
import queue
from pathlib import Path
from typing import Any

from prefect_tune.coordinator.commands import Decide, Kill, Launch
from prefect_tune.coordinator.events import AttemptEnded, AttemptStarted, Event, ResultReported
from prefect_tune.execution.base import Backpressure, ExperimentEnv, TrialPlace
from prefect_tune.execution.driver.dask_executor import DaskExecutor
from prefect_tune.experiment.decision import NEVER, Action, RunUntil
from prefect_tune.resources import Resources
from prefect_tune.storage.experiment_dir import MARKER_FILE
from prefect_tune.trainable.shipping.packing import pack_trainable

_numbers = itertools.count(1)


def make_env(trainable: Any, directory: Path | str, **options: Any) -> ExperimentEnv:
    experiment_id = f"experiment-{next(_numbers)}"
    if Path(directory).is_dir():
        (Path(directory) / MARKER_FILE).write_text(experiment_id)
    return ExperimentEnv(
        experiment_id=experiment_id,
        experiment_name="test",
        trainable=pack_trainable(trainable),
        experiment_dir=str(directory),
        **options,
    )


class Experiment:
    """An open experiment; a context manager, which waits for a node unless told otherwise."""

    def __init__(self, executor: DaskExecutor, env: ExperimentEnv, wait: bool = True) -> None:
        self.executor = executor
        self.driver: Backpressure | None = None
        self.wait = wait
        self.env = env
        self.events: queue.SimpleQueue[Event | Exception] = queue.SimpleQueue()
        self.seen: list[Event] = []

    def __enter__(self) -> Experiment:
        try:
            self.executor.open(self.env, self.events.put, self.events.put, driver=self.driver)
            while self.wait and not self.executor.capacity():
                self.next_event()
        except BaseException:
            self.executor.close()
            raise
        return self

    def __exit__(self, *_: Any) -> None:
        self.executor.close()

    @property
    def node(self) -> str:
        return self.executor.capacity()[0].address

    def launch(
        self,
        trial_id: str,
        config: dict[str, Any] | None = None,
        resources: Resources | None = None,
        run_until: RunUntil = NEVER,
        **options: Any,
    ) -> Any:
        return self.executor.launch(
            Launch(
                trial_id=trial_id,
                attempt=options.pop("attempt", 1),
                name=options.pop("name", f"trial_{trial_id}"),
                config=config or {},
                node=options.pop("node", None) or self.node,
                resources=resources or Resources.of(CPU=0.1),
                run_until=run_until,
                **options,
            ),
            TrialPlace(f"trial_{trial_id}"),
        )

    def decide(self, trial_id: str, seq: int, action: Action, until: RunUntil = NEVER) -> None:
        self.executor.decide([Decide(trial_id, 1, self.node, seq, action, until)])

    def kill(self, trial_id: str) -> None:
        self.executor.kill([Kill(trial_id, 1, self.node, "a test")])

    def next_event(self) -> Event:
        event = self.events.get(timeout=120)
        if isinstance(event, Exception):
            raise event
        self.seen.append(event)
        return event

    def next_event_of(self, kind: type[Event]) -> Any:
        while not isinstance(event := self.next_event(), kind):
            pass
        return event

    def until(self, kind: type[Event], trial_id: str) -> Any:
        while True:
            event = self.next_event()
            if isinstance(event, kind) and getattr(event, "trial_id", None) == trial_id:
                return event

    def until_ended(self, trial_id: str) -> AttemptEnded:
        return self.until(AttemptEnded, trial_id)

    def until_started(self, trial_id: str) -> AttemptStarted:
        return self.until(AttemptStarted, trial_id)

    def until_reported(self, trial_id: str) -> ResultReported:
        return self.until(ResultReported, trial_id)

    def results(self, trial_id: str) -> list[dict[str, Any]]:
        return [
            result
            for event in self.seen
            if isinstance(event, ResultReported) and event.trial_id == trial_id
            for result in event.results
        ]

    def run(self, trial_id: str, config: dict[str, Any] | None = None, **options: Any) -> Any:
        """Launch one trial and wait for its end; returns its results and that."""
        self.launch(trial_id, config, **options)
        end = self.until_ended(trial_id)
        return self.results(trial_id), end
