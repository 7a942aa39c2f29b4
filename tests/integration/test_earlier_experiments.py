"""Experiments that were written before the package had today's modules.

Both were interrupted: two of their four trials have ended, the third has three results.
"""

from __future__ import annotations

import json
import logging
import pickletools
import shutil
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import prefect_tune as tune
from prefect_tune.cli.main import main
from prefect_tune.engine.resume.snapshot import SnapshotBody, load_state
from prefect_tune.experiment.trial import Trial
from prefect_tune.schedulers import ASHAScheduler

DATA = Path(__file__).parents[1] / "data" / "earlier"
STEPS = 6


def count(config: dict[str, Any]) -> None:
    for step in range(1, STEPS + 1):
        tune.report({"score": step * config["slope"]})


class Counter(tune.Trainable):
    def setup(self, config: dict[str, Any]) -> None:
        self.slope = config["slope"]
        self.sum = 0.0

    def step(self) -> dict[str, Any]:
        self.sum += self.slope
        return {"score": self.sum, "done": self.iteration + 1 >= STEPS}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        Path(checkpoint_dir, "sum.json").write_text(json.dumps(self.sum))

    def load_checkpoint(self, checkpoint: Any) -> None:
        self.sum = json.loads(Path(checkpoint, "sum.json").read_text())


@pytest.fixture(params=["function", "class"])
def experiment(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    directory = tmp_path / request.param
    shutil.copytree(DATA / request.param, directory)
    return directory


def go_on(experiment: Path) -> tune.ExperimentAnalysis:
    is_class = experiment.name == "class"
    arguments: dict[str, Any] = (
        {
            "scheduler": ASHAScheduler(max_t=6, grace_period=6, time_attr="training_iteration"),
            "checkpoint_freq": 2,
            "keep_checkpoints_num": 1,
        }
        if is_class
        else {
            "scheduler": ASHAScheduler(max_t=6, grace_period=2),
            "stop": {"training_iteration": 6},
        }
    )
    return tune.run(
        Counter if is_class else count,
        name=experiment.name,
        local_dir=str(experiment.parent),
        metric="score",
        mode="max",
        config={"slope": tune.grid_search([1, 2, 3, 4])},
        verbose=0,
        max_concurrent_trials=2,
        resume=True,
        orchestrate=False,
        **arguments,
    )


def test_it_loads(experiment: Path) -> None:
    analysis = tune.ExperimentAnalysis(str(experiment), default_metric="score", default_mode="max")

    last = {trial.config["slope"]: trial.last_result for trial in analysis.trials}
    assert sorted(last) == [1, 2, 3, 4]
    assert (last[1]["score"], last[2]["score"]) == (6, 12)
    assert last[3]["score"] >= 9
    assert analysis.trials[0].status == analysis.trials[1].status == "TERMINATED"
    if experiment.name == "class":
        assert [len(trial.checkpoints) for trial in analysis.trials[:3]] == [1, 1, 1]


def test_it_is_shown(experiment: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list-trials", str(experiment)]) == 0
    shown = capsys.readouterr().out
    assert shown.count("TERMINATED") == 2
    assert main(["show", str(experiment)]) == 0
    assert experiment.name in capsys.readouterr().out


@pytest.mark.parametrize("trusted", ["0", "1"])
def test_it_goes_on(
    experiment: Path,
    trusted: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    cluster: None,
) -> None:
    # Its pickles are not signed; without them the journal alone has to do.
    monkeypatch.setenv("PREFECT_TUNE_TRUST_PICKLES", trusted)
    with caplog.at_level(logging.INFO, "prefect_tune"):
        analysis = go_on(experiment)

    assert [trial.status for trial in analysis.trials] == ["TERMINATED"] * 4
    assert [trial.last_result["score"] for trial in analysis.trials] == [6, 12, 18, 24]
    if trusted == "1":
        # Nothing else is in its way: the classes that it names are found.
        assert "it has format 1, not 2" in caplog.text
    if experiment.name == "class":
        # From the checkpoints, not from the beginning.
        resumed = json_results(analysis.trials[2].logdir)
        assert [result["training_iteration"] for result in resumed].count(1) == 1


def json_results(directory: str) -> list[dict[str, Any]]:
    lines = Path(directory, "result.json").read_text().splitlines()
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize("file", sorted(DATA.rglob("snapshot*.pkl")), ids=str)
def test_every_class_that_its_pickles_name_is_found(file: Path) -> None:
    named = list(globals_of(file))
    assert any(module.startswith("prefect_tune.") for module, _ in named)
    for module, name in named:
        __import__(module)
        assert hasattr(sys.modules[module], name)


@pytest.mark.parametrize("directory", ["function", "class"])
def test_the_state_in_a_snapshot_can_be_loaded(directory: str) -> None:
    data = (DATA / directory / "snapshot.pkl").read_bytes()
    anything: defaultdict[str, Any] = defaultdict(lambda: Trial("t", {}))

    body = load_state(data[data.index(b"\x80\x05") :], anything, anything)

    assert type(body) is SnapshotBody


def globals_of(file: Path) -> Iterator[tuple[str, str]]:
    data = file.read_bytes()
    texts: list[str] = []
    begin = 0
    while (begin := data.find(b"\x80\x05\x95", begin)) >= 0:
        for code, argument, _ in pickletools.genops(data[begin:]):
            if isinstance(argument, str):
                texts.append(argument)
            elif code.name == "STACK_GLOBAL" and "." in texts[-2]:
                yield texts[-2], texts[-1]
        begin += 3
