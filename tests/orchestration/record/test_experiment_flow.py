"""What the flow run of a sweep says of it at its end."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from prefect import get_client

import prefect_tune as tune
from prefect_tune import control


def train(config: dict[str, Any]) -> None:
    tune.report({"score": config["x"]})
    Path(config["fifo"]).read_text()  # until the sweep has been told to end


class _Extend(tune.Callback):
    """Adds samples to the sweep at its first result, and has it end."""

    def __init__(self, directory: Path, fifo: Path) -> None:
        self.directory: Path | None = directory
        self.fifo = fifo

    def on_trial_result(self, *args: Any, **info: Any) -> None:
        directory, self.directory = self.directory, None
        if directory is not None:
            control.pause(directory)
            control.add_samples(directory, 2)
            control.stop(directory)
            self.fifo.write_text("")


@pytest.mark.usefixtures("prefect_api")
def test_a_sweep_that_was_stopped_says_how_much_of_it_was_done(tmp_path: Path) -> None:
    os.mkfifo(fifo := tmp_path / "fifo")
    analysis = tune.run(
        train,
        name="stopped",
        config={"x": tune.uniform(0, 1), "fifo": str(fifo)},
        num_samples=3,
        metric="score",
        mode="max",
        storage_path=tmp_path,
        max_concurrent_trials=1,
        callbacks=[_Extend(tmp_path / "stopped", fifo)],
        verbose=0,
    )
    done = sum(trial.status == "TERMINATED" for trial in analysis.trials)
    with get_client(sync_client=True) as client:
        state = client.read_flow_run(analysis.flow_run_id).state  # type: ignore[arg-type]
    assert state is not None
    assert done < 5
    assert str(state.message).startswith(f"{done} of 5 trials done (")
    assert "; best score=" in str(state.message)
