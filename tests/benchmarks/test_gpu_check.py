from pathlib import Path

import pytest

from benchmarks import gpu_check
from prefect_tune.execution.cluster.gpus import Device


def test_without_a_gpu_nothing_is_checked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gpu_check, "visible_devices", tuple)
    assert gpu_check.main() == 0
    assert capsys.readouterr().out == (
        "gpu-check: this process may use no GPU, so nothing was checked.\n"
    )


def test_each_check_has_a_row_and_a_failure_counts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> str:
        raise AssertionError("two trials had 0 at once")

    def skip() -> str:
        raise gpu_check.Skipped("no PyTorch")

    monkeypatch.setattr(gpu_check, "_SETTINGS", {})
    monkeypatch.setattr(gpu_check, "visible_devices", lambda: (Device("0", "0"),))
    monkeypatch.setattr(gpu_check, "CHECKS", {"good": lambda: "seen", "none": skip})
    assert gpu_check.main() == 0
    monkeypatch.setattr(gpu_check, "CHECKS", {"bad": fail, **gpu_check.CHECKS})
    assert gpu_check.main() == 1
    rows = [line.split(maxsplit=3) for line in capsys.readouterr().out.splitlines()]
    assert [(row[0], row[1], row[3]) for row in rows[-3:]] == [
        ("bad", "FAILED", "AssertionError: two trials had 0 at once"),
        ("good", "ok", "seen"),
        ("none", "skipped", "no PyTorch"),
    ]


def test_it_is_reached_by_make() -> None:
    assert "benchmarks.gpu_check" in (Path(__file__).parents[2] / "Makefile").read_text()
