"""What trials print: files, console, task-run logs."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from pathlib import Path
from typing import Any

import pytest

import prefect_tune as tune


def talk(config: dict[str, Any]) -> dict[str, Any]:
    print(f"hello {config['x']}")
    print(f"trouble {config['x']}", file=sys.stderr)
    os.write(1, b"native\n")
    logging.getLogger("prefect_tune").info("logged")
    return {"score": config["x"]}


def sweep(tmp_path: Path, **arguments: Any) -> list[Path]:
    """Run it and return the trials' directories."""
    analysis = tune.run(
        talk,
        config={"x": tune.grid_search([1, 2])},
        storage_path=str(tmp_path),
        orchestrate=False,
        **arguments,
    )
    return [Path(trial.logdir) for trial in analysis.trials]


def test_files_by_default_and_lines_on_the_console(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    first, second = sweep(tmp_path)
    assert (first / "stdout").read_text() == "hello 1\nnative\n"
    assert "trouble 2" in (second / "stderr").read_text()
    told = capfd.readouterr()
    for line in ("hello 1", "hello 2", "native"):
        assert f") {line}\n" in told.out
    assert "(talk pid=" in told.out
    assert ") trouble 1\n" in told.err


@pytest.mark.parametrize("how", ["verbose", "setting", "argument"])
def test_silence(
    how: str,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if how == "setting":
        monkeypatch.setenv("PREFECT_TUNE_LOG_TO_DRIVER", "0")
        sweep(tmp_path)
    elif how == "verbose":
        sweep(tmp_path, verbose=0)
    else:
        tune.Tuner(
            talk,
            param_space={"x": 1},
            run_config=tune.RunConfig(
                storage_path=str(tmp_path), orchestrate=False, log_to_driver=False
            ),
        ).fit()
    told = capfd.readouterr()
    assert "hello" not in told.out
    assert "trouble" not in told.err


def test_chosen_files(tmp_path: Path) -> None:
    for directory in sweep(tmp_path, name="one", log_to_file="log.txt"):
        text = (directory / "log.txt").read_text()
        assert "hello" in text
        assert "trouble" in text
        assert "INFO prefect_tune: logged" in text
        assert not (directory / "stdout").exists()
    for directory in sweep(tmp_path, name="two", log_to_file=("out/o.txt", "e.txt")):
        assert "hello" in (directory / "out" / "o.txt").read_text()
        assert "trouble" in (directory / "e.txt").read_text()


def test_an_absolute_path_is_shared(tmp_path: Path) -> None:
    shared = tmp_path / "logs" / "all.txt"
    sweep(tmp_path, log_to_file=str(shared))
    text = shared.read_text()
    for line in ("hello 1", "hello 2", "trouble 1", "trouble 2"):
        assert line in text


def silent(config: dict[str, Any]) -> dict[str, Any]:
    return {"score": 1}


@pytest.mark.parametrize("asked", [False, True])
def test_files_that_were_asked_for_are_there_even_if_empty(asked: bool, tmp_path: Path) -> None:
    analysis = tune.run(
        silent, storage_path=str(tmp_path), orchestrate=False, log_to_file=asked, verbose=0
    )
    directory = Path(analysis.trials[0].logdir)
    assert (directory / "stdout").exists() is asked
    assert (directory / "stderr").exists() is asked


def test_task_run_logs(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_TUNE_TASK_RUN_LOGS", "1")
    monkeypatch.setenv("PREFECT_TUNE_LOG_TO_DRIVER", "0")
    analysis = tune.run(talk, config={"x": tune.grid_search([1, 2])}, storage_path=str(tmp_path))
    assert "hello" not in capfd.readouterr().out
    assert analysis.flow_run_id is not None
    logs = asyncio.run(_logs_of_task_runs(analysis.flow_run_id))
    assert len(logs) == 2
    for trial, text in logs.items():
        number = int(trial[-1]) + 1
        assert f"hello {number}" in text
        assert f"trouble {number}" in text
        assert f"hello {3 - number}" not in text


def talk_badly(config: dict[str, Any]) -> dict[str, Any]:
    if config["x"] == 2:
        raise ValueError("two is too many")
    return {"score": 1}


def test_the_log_of_a_task_run_says_why_it_has_failed(tmp_path: Path) -> None:
    analysis = tune.run(
        talk_badly,
        config={"x": tune.grid_search([1, 2])},
        storage_path=str(tmp_path),
        raise_on_failed_trial=False,
        verbose=0,
    )
    assert analysis.flow_run_id is not None
    logs = asyncio.run(_logs_of_task_runs(analysis.flow_run_id))
    assert sorted(map(bool, logs.values())) == [False, True]
    (text,) = filter(None, logs.values())
    assert text.startswith("Failed: ValueError: two is too many")
    assert "in talk_badly" in text


async def _logs_of_task_runs(flow_run_id: str) -> dict[str, str]:
    """The logs of the trials' task runs, by name; waits for Prefect, which writes them later."""
    from prefect import get_client
    from prefect.client.schemas.filters import FlowRunFilter, LogFilter, LogFilterTaskRunId
    from prefect.logging.handlers import APILogHandler

    await APILogHandler.aflush()
    logs: dict[str, str] = {}
    async with get_client() as client:
        flow_runs = FlowRunFilter(id={"any_": [flow_run_id]})
        for run in await client.read_task_runs(flow_run_filter=flow_runs):
            if not run.name.startswith("talk_"):
                continue
            wanted = LogFilter(task_run_id=LogFilterTaskRunId(any_=[run.id]))
            lines = await client.read_logs(wanted)
            logs[run.name] = "\n".join(log.message for log in lines)
    return logs
