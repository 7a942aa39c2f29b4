import io
from dataclasses import replace
from types import SimpleNamespace

import pytest
from rich.console import Console

from prefect_tune.cli.quickstart.summary import Effort, Outcome, print_summary

OUTCOME = Outcome(
    trial_name="train_digits_ab12",
    config={"hidden_units": 64, "learning_rate": 0.00123456789},
    best_epochs=40,
    validation_accuracy=0.9861,
    test_accuracy=0.975,
    test_images=360,
    trials_wanted=40,
    effort=Effort(40, 600, 1600, 31, 0),
    experiment_path="/a/very/long/path/" + "x" * 100,
    plot_path="/somewhere/quickstart.png",
    flow_run_id="0000-1111",
    flow_run_url=None,
)


def text_of(outcome):
    out = io.StringIO()
    print_summary(outcome, Console(file=out, width=80))
    return out.getvalue()


def trial(epochs, status="TERMINATED"):
    last_result = {"training_iteration": epochs} if epochs else {}
    return SimpleNamespace(status=status, last_result=last_result)


def test_effort_counts_epochs_of_all_trials():
    effort = Effort.of([trial(40), trial(3), trial(9), trial(40)], epochs_each=40)
    assert effort == Effort(4, epochs=92, epochs_without_stopping=160, stopped_early=2, failed=0)
    assert effort.saved == pytest.approx(1 - 92 / 160)


def test_a_failed_trial_was_not_stopped_early():
    effort = Effort.of([trial(40), trial(3), trial(7, "ERROR"), trial(0, "ERROR")], 40)
    assert effort == Effort(4, epochs=50, epochs_without_stopping=160, stopped_early=1, failed=2)


def test_what_an_interruption_left_over_was_not_stopped_early():
    effort = Effort.of([trial(40), trial(3), trial(7, "PENDING"), trial(0, "PENDING")], 40)
    assert effort == Effort(2, epochs=43, epochs_without_stopping=80, stopped_early=1, failed=0)


def test_an_interruption_is_told():
    assert "interrupted" not in text_of(OUTCOME)
    assert "3 of 40 trials" in text_of(replace(OUTCOME, effort=Effort(3, 50, 120, 1, 0)))


def test_effort_without_trials_divides_by_nothing():
    assert 0 <= Effort.of([], 40).saved <= 1


def test_nothing_is_saved_where_no_trial_has_ended():
    assert "saved" not in text_of(replace(OUTCOME, effort=Effort(0, 0, 0, 0, 0)))


def test_the_numbers_are_told():
    text = text_of(OUTCOME)
    assert "98.6%" in text
    assert "351 of 360 unseen digits" in text
    assert "62%  600 epochs instead of 1,600, 31 trials stopped" in text
    assert "0.001235" in text
    assert "failed" not in text


def test_failures_are_told():
    assert "1 trial  see error.txt" in text_of(replace(OUTCOME, effort=Effort(40, 9, 80, 0, 1)))


def test_long_paths_stay_in_one_piece():
    assert OUTCOME.experiment_path in text_of(OUTCOME)


def test_a_pipe_gets_plain_text():
    assert "\x1b" not in text_of(OUTCOME)


def test_a_flow_run_of_an_ended_server_is_found_with_a_new_server():
    text = text_of(OUTCOME)
    assert "prefect server start" in text
    assert "http://127.0.0.1:4200/runs/flow-run/0000-1111" in text


def test_commands_can_be_typed_as_they_are(monkeypatch, tmp_path):
    (tmp_path / "bin").mkdir()
    for name in ("prefect", "prefect-tune"):
        (tmp_path / "bin" / name).touch(mode=0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.executable", str(tmp_path / "bin" / "python"))
    monkeypatch.setenv("PATH", "/nowhere")
    text = text_of(OUTCOME)
    assert f"bin/prefect-tune report {OUTCOME.experiment_path}" in text
    assert "bin/prefect server start" in text
    assert "after pip install tensorboard" in text
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    (tmp_path / "bin" / "tensorboard").touch(mode=0o755)
    text = text_of(OUTCOME)
    assert "  prefect-tune report" in text
    assert "  prefect server start" in text
    assert "pip install" not in text


def test_a_flow_run_of_a_lasting_server_is_a_link():
    text = text_of(replace(OUTCOME, flow_run_url="https://prefect.lan/runs/flow-run/0000-1111"))
    assert "https://prefect.lan/runs/flow-run/0000-1111" in text
    assert "server start" not in text


def test_without_prefect_nothing_is_said_about_it():
    assert "refect " not in text_of(replace(OUTCOME, flow_run_id=None))


def test_without_a_picture_none_is_named():
    assert "picture" not in text_of(replace(OUTCOME, plot_path=None))
