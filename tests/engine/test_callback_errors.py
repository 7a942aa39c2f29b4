"""Experiments whose callbacks raise, where that is only to be logged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from prefect_tune.callback import HOOKS, Callback
from prefect_tune.config import TuneConfig
from prefect_tune.logger import LoggerCallback

from .inline_executor import InlineExecutor, experiment, run

#: The hooks that an experiment without failures and checkpoints comes by.
REACHED = HOOKS - {
    "on_trial_restore",
    "on_trial_save",
    "on_trial_recover",
    "on_trial_error",
    "on_checkpoint",
}


@pytest.mark.parametrize("kind", [Callback, LoggerCallback])
def test_the_experiment_goes_on_and_each_hook_is_named(
    tmp_path: Path,
    kind: type[Callback],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PREFECT_TUNE_LOG_CALLBACK_ERRORS", "1")

    def fail(self: Any, *args: Any, **info: Any) -> None:
        raise ValueError("no room")

    bad = type("Bad", (kind,), dict.fromkeys(HOOKS, fail))()
    one = experiment(tmp_path, InlineExecutor(), TuneConfig(num_samples=2), callbacks=[bad])
    run(one)
    assert {trial.status for trial in one.trials} == {"TERMINATED"}
    for trial in one.trials:
        lines = (tmp_path / "e" / trial.relative_logdir / "result.json").read_text().splitlines()
        assert len(lines) == 3
    told = [record.getMessage() for record in caplog.records]
    for hook in REACHED:
        assert sum(f"Bad failed in {hook}: ValueError: no room" in text for text in told) == 1
