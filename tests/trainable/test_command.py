"""Programs as trainables."""

from __future__ import annotations

import json
import os
import re
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

import prefect_tune as tune
from prefect_tune.error import InvalidArgument, TuneError
from prefect_tune.trainable.runtime.attempt import TrialStopped

PYTHON = sys.executable


@pytest.fixture
def reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[dict[str, Any]]:
    results: list[dict[str, Any]] = []
    monkeypatch.setattr("prefect_tune.trainable.command.report", results.append)
    monkeypatch.setattr("prefect_tune.trainable.command.get_trial_dir", lambda: str(tmp_path))
    monkeypatch.setattr("prefect_tune.trainable.command.get_trial_id", lambda: "t1")
    return results


@pytest.fixture
def script(tmp_path: Path) -> Callable[[str], str]:
    def write(code: str) -> str:
        path = tmp_path / "train me.py"
        path.write_text(textwrap.dedent(code))
        return f"{PYTHON} '{path}'"

    return write


def test_each_printed_json_object_is_a_result(
    reported: list[dict[str, Any]], script: Callable[[str], str], capsys: pytest.CaptureFixture[str]
) -> None:
    program = script(
        """
        import json, sys
        print("begins")
        print(json.dumps({"lr": float(sys.argv[1]), "name": sys.argv[2]}))
        print(json.dumps({"config": json.loads(sys.argv[3]), "trial": sys.argv[4]}))
        """
    )
    train = tune.command(f"{program} {{opt[lr]}} {{name}} {{config}} {{trial_id}}")
    assert train.__name__ == "train_me"
    config = {"opt": {"lr": 0.5}, "name": "a b; rm -rf /"}
    cloudpickle.loads(cloudpickle.dumps(train))
    train(config)
    assert reported == [
        {"lr": 0.5, "name": "a b; rm -rf /"},
        {"config": config, "trial": "t1"},
    ]
    assert capsys.readouterr().out.startswith("begins\n{")


def test_a_pattern_finds_results(
    reported: list[dict[str, Any]], script: Callable[[str], str]
) -> None:
    program = script("print('epoch 1: loss=0.25'); print('no'); print('epoch 2: loss=nan')")
    tune.command(program, metrics=r"epoch (?P<epoch>\d+): loss=(?P<loss>\S+)")({})
    assert reported[0] == {"epoch": 1, "loss": 0.25}
    assert reported[1]["epoch"] == 2
    assert reported[1]["loss"] != reported[1]["loss"]


def test_results_are_read_from_a_file(
    reported: list[dict[str, Any]], script: Callable[[str], str], tmp_path: Path
) -> None:
    program = script(
        """
        import json, sys
        with open(sys.argv[1] + "/metrics.jsonl", "w") as file:
            for epoch in range(3):
                print(json.dumps({"epoch": epoch}), file=file, flush=True)
            file.write(json.dumps({"epoch": 3}))
        """
    )
    tune.command(program + " {trial_dir}", metrics=Path("metrics.jsonl"))({})
    assert reported == [{"epoch": epoch} for epoch in range(4)]


def test_a_trial_that_is_stopped_ends_its_program(
    monkeypatch: pytest.MonkeyPatch, reported: list[Any], script: Callable[[str], str]
) -> None:
    pids: list[int] = []

    def stop(result: dict[str, int]) -> None:
        pids.append(result["pid"])
        raise TrialStopped

    monkeypatch.setattr("prefect_tune.trainable.command.report", stop)
    program = script(
        """
        import json, os, time
        print(json.dumps({"pid": os.getpid()}), flush=True)
        time.sleep(600)
        """
    )
    with pytest.raises(TrialStopped):
        tune.command(program)({})
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)


@pytest.mark.parametrize(
    ("code", "metrics", "message"),
    [
        ("raise SystemExit(3)", "jsonl", "exit code 3"),
        ("print('loss 1')", "jsonl", "no line that it printed is a JSON object"),
        ("print('loss 1')", r"loss=(?P<loss>\S+)", "no line that it printed has"),
        ("pass", Path("no.jsonl"), r"no\.jsonl has no line"),
    ],
)
def test_a_program_that_fails_or_reports_nothing_is_an_error(
    reported: list[Any], script: Callable[[str], str], code: str, metrics: Any, message: str
) -> None:
    with pytest.raises(TuneError, match=message):
        tune.command(script(code), metrics=metrics)({})


def test_a_script_that_is_not_there_any_more_is_named(
    reported: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNE_ORIG_WORKING_DIR", str(tmp_path / "elsewhere"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").touch()
    program = tune.command("python train.py --lr {lr}")
    with pytest.raises(FileNotFoundError, match=r"No such file or directory: 'train\.py'"):
        program({"lr": 1})


def test_what_cannot_work_is_refused_at_once(reported: list[Any]) -> None:
    for program in ("", "echo '", "echo {lr"):
        with pytest.raises(InvalidArgument, match="program"):
            tune.command(program)
    for metrics in ("loss=(.*)", "(?P<a>", None, re.compile("a")):
        with pytest.raises(InvalidArgument, match="metrics"):
            tune.command("echo", metrics=metrics)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match=r"KeyError: 'lr'.*The configuration has rate"):
        tune.command("echo {lr}")({"rate": 1})


def test_it_is_tuned_like_a_function(tmp_path: Path) -> None:
    code = "import json; print(json.dumps(dict(score={x} * 2)))"
    analysis = tune.run(
        tune.command([PYTHON, "-c", code]),
        config={"x": tune.grid_search([1, 3])},
        metric="score",
        mode="max",
        storage_path=str(tmp_path),
        orchestrate=False,
        verbose=0,
    )
    assert json.dumps(analysis.best_config) == '{"x": 3}'
    assert analysis.best_result["score"] == 6
