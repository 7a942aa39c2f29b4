"""Callbacks that raise, at every hook of a sweep that comes by all of them."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest

import prefect_tune as tune
from prefect_tune.callback import HOOKS
from prefect_tune.logger import LoggerCallback


def eventful(config: dict[str, Any]) -> None:
    """Saves a checkpoint, fails, goes on from it; a second one fails for good."""
    for step in (1, 2):
        with tempfile.TemporaryDirectory() as directory:
            Path(directory, "state").write_text("state")
            tune.report({"loss": 1.0}, checkpoint=tune.Checkpoint.from_directory(directory))
        if config["fails"] or (step == 1 and tune.get_checkpoint() is None):
            raise RuntimeError("of the trial")


def bad(kind: type[tune.Callback], *hooks: str) -> tune.Callback:
    """A callback that raises in these hooks."""

    def fail(self: Any, *args: Any, **info: Any) -> None:
        raise ValueError("of the callback")

    made: tune.Callback = type("Bad", (kind,), dict.fromkeys(hooks, fail))()
    return made


def run(sweep: Any, callback: tune.Callback) -> Any:
    return sweep(
        eventful,
        config={"fails": tune.grid_search([False, True])},
        max_failures=1,
        callbacks=[callback],
        raise_on_failed_trial=False,
        name="e",
    )


@pytest.mark.parametrize("kind", [tune.Callback, LoggerCallback])
@pytest.mark.parametrize("hook", sorted(HOOKS))
def test_the_sweep_ends_and_names_callback_and_hook(
    sweep: Any, kind: type[tune.Callback], hook: str
) -> None:
    with pytest.raises(ValueError, match=rf"callback Bad failed in {hook}: ValueError: of"):
        run(sweep, bad(kind, hook))


@pytest.mark.parametrize("kind", [tune.Callback, LoggerCallback])
def test_the_sweep_goes_on_where_failures_are_logged(
    sweep: Any,
    kind: type[tune.Callback],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PREFECT_TUNE_LOG_CALLBACK_ERRORS", "1")
    analysis = run(sweep, bad(kind, *HOOKS))
    assert sorted(trial.status for trial in analysis.trials) == ["ERROR", "TERMINATED"]
    for trial in analysis.trials:
        with open(os.path.join(trial.logdir, "result.json")) as file:
            assert len([json.loads(line) for line in file]) == trial.results_seen
    told = [record.getMessage() for record in caplog.records]
    for hook in HOOKS:
        assert sum(f"callback Bad failed in {hook}: ValueError" in text for text in told) == 1
