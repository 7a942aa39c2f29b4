"""Lines about single results."""

from __future__ import annotations

from typing import Any

import pytest

from prefect_tune.experiment.attempt import AttemptError
from prefect_tune.experiment.trial import ERROR, TERMINATED, Trial
from prefect_tune.reporters import TrialProgressCallback, make_result_printer

from .clock import set_clock


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    set_clock(monkeypatch, clock)
    return clock


def make_trial(number: int = 0) -> Trial:
    trial = Trial(
        f"t{number}", {"lr": 1}, trainable_name="f", evaluated_params={"lr": 1}, relative_logdir="d"
    )
    trial.last_result = {"loss": 0.5, "nested": {"a": 1}, "training_iteration": 1, "pid": 7}
    return trial


def report(callback: TrialProgressCallback, trial: Trial) -> None:
    callback.on_trial_result(1, [trial], trial, dict(trial.last_result))


@pytest.mark.parametrize("verbose", [None, 0, 1])
def test_only_if_asked_for(verbose: Any) -> None:
    assert make_result_printer(verbose) is None


def test_brief(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    callback = make_result_printer(2, "loss")
    assert callback is not None
    trial = make_trial()
    report(callback, trial)
    [line] = capsys.readouterr().out.splitlines()
    assert line == "Trial f_t0 reported loss=0.5, nested/a=1 with parameters={'lr': 1}."
    callback.on_trial_complete(2, [trial], trial)
    assert capsys.readouterr().out.endswith("This trial completed.\n")


def test_full(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    report(TrialProgressCallback(), make_trial())
    text = capsys.readouterr().out
    assert text.startswith("Result for f_t0:\n")
    for line in ("loss: 0.5", "nested/a: 1", "pid: 7"):
        assert f"  {line}\n" in text


def test_chosen_metrics(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    for verbose in (2, 3):
        report(TrialProgressCallback(progress_metrics=["pid"], verbose=verbose), make_trial())
    text = capsys.readouterr().out
    assert text.count("pid") == 2
    assert "loss" not in text


def test_failures(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    trial = make_trial()
    trial.status, trial.error = ERROR, AttemptError("ValueError", "bad lr")
    TrialProgressCallback().on_trial_error(1, [trial], trial)
    text = capsys.readouterr().out
    assert "f_t0 failed (ValueError: bad lr)" in text
    assert "d/error.txt" in text


def test_a_trial_is_heard_every_five_seconds(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    callback, trial = TrialProgressCallback(verbose=2), make_trial()
    for _ in range(100):
        clock.now += 0.1
        report(callback, trial)
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_many_trials_do_not_flood(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    callback = TrialProgressCallback(verbose=2)
    for number in range(36_000):  # an hour
        clock.now += 0.1
        trial = make_trial(number)
        trial.status = TERMINATED
        report(callback, trial)
        callback.on_trial_complete(2, [trial], trial)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) < 20_000
    assert any("more lines about results" in line for line in lines)


def test_long_values_and_many_parameters_do_not_fill_the_screen(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    trial = make_trial()
    trial.evaluated_params = {"text": "x" * 3000 + "\n", **{f"p{n}": n / 3 for n in range(30)}}
    trial.status, trial.error = ERROR, AttemptError("ValueError", "no")
    callback = TrialProgressCallback(verbose=2)
    report(callback, trial)
    callback.on_trial_error(1, [trial], trial)
    for line in capsys.readouterr().out.splitlines():
        assert "'p1': 0.3333" in line
        assert "... 21 more}" in line
        assert len(line) < 400
