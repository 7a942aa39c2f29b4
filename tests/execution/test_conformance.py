"""The executors under the conformance suite that is shipped for their authors."""

from __future__ import annotations

import pytest

from prefect_tune.coordinator.events import Node
from prefect_tune.execution.cluster.api import connect
from prefect_tune.execution.driver.dask_executor import DaskExecutor
from prefect_tune.resources import Resources
from tests.execution.executor_conformance import ExecutorConformance

from ..simulation.full_executor import FullExecutor
from .experiments import make_env


class TestSimulatedExecutor(ExecutorConformance):
    def make_executor(self, trainable):
        node = Node("node-1", Resources.of(CPU=2))
        self.simulated = FullExecutor(trainable, [node])
        return self.simulated

    def make_env(self, trainable):
        return make_env(trainable, "/nowhere")

    def next_event(self):
        while self.events.empty():
            assert self.simulated.step(), "nothing is going to happen"
        return self.events.get()


class TestDaskExecutor(ExecutorConformance):
    isolation = "process"

    @pytest.fixture(autouse=True)
    def _directory(self, tmp_path):
        self.directory = tmp_path

    def make_executor(self, trainable):
        return DaskExecutor(connect())

    def make_env(self, trainable):
        return make_env(trainable, self.directory, isolation=self.isolation, stop_grace_s=0.5)

    def next_event(self):
        return self.events.get(timeout=30)


class TestDaskExecutorWithThreads(TestDaskExecutor):
    isolation = "thread"
