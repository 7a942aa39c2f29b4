"""`prefect-tune init` and `prefect-tune run`."""

from __future__ import annotations

from pathlib import Path

import pytest

from prefect_tune.cli.main import main


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a trainable of the user's."""
    (tmp_path / "mine.py").write_text("def train(config):\n    return {'loss': config['x'] ** 2}\n")
    (tmp_path / "sweep.yaml").write_text(
        "trainable: mine:train\nmetric: loss\nmode: min\n"
        "space: [{name: x, domain: {numbers: [3, -1], try_all: true}}]\n"
        "budget: {trials: 1}\nstorage: results\nname: one\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_a_file_is_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "sweep.yaml", "--no-prefect", "--set", "name=two"]) == 0
    assert capsys.readouterr().out.endswith("Best loss: 1\n  x: -1\n")
    assert [path.name for path in (folder / "results").iterdir()] == ["two"]


def test_wrong_files_and_values_are_refused(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "none.yaml", "--no-prefect"]) == 1
    assert "`none.yaml` cannot be read" in capsys.readouterr().err
    assert main(["run", "sweep.yaml", "--set", "budget.trial=3"]) == 1
    assert "`budget.trial`: there is no such field" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["run", "sweep.yaml", "--set", "budget"])
    assert "give FIELD=VALUE" in capsys.readouterr().err


def test_an_example_is_written_and_nothing_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["init"]) == 0
    assert "prefect-tune run sweep.yaml" in capsys.readouterr().out
    text = Path("sweep.yaml").read_text()
    with pytest.raises(SystemExit):
        main(["init"])
    assert "sweep.yaml exists" in capsys.readouterr().err
    assert Path("sweep.yaml").read_text() == text


def test_a_plan_is_printed_and_nothing_run(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["sweep.yaml", "--seconds-per-step", "1800", "--cpus", "1", "--price-per-hour", "3"]
    assert main(["plan", *given, "--steps", "4"]) == 0
    lines = dict(line.split("  ", 1) for line in capsys.readouterr().out.splitlines())
    assert {name: value.strip() for name, value in lines.items()} == {
        "trials": "2",
        "at the same time": "1",
        "steps of a whole trial": "4",
        "steps in all": "8",
        "hours": "4",
        "CPU hours": "4",
        "cost": "12",
        "basis": "exact",
    }
    assert not (folder / "results").exists()
    assert main(["plan", *given]) == 1
    assert "`steps`" in capsys.readouterr().err
