"""What a sweep tells in its flow run's log and by events; without a server."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from prefect.assets import Asset

from prefect_tune.experiment.trial import ERROR, RUNNING, TERMINATED, Trial
from prefect_tune.orchestration.control.current_flow import FlowIdentity
from prefect_tune.orchestration.record import sweep_news
from prefect_tune.orchestration.record.conclusion import Conclusion, Ending
from prefect_tune.orchestration.record.sweep_news import SweepNews, savings
from prefect_tune.orchestration.record.sweep_result import SweepResult, api_value
from prefect_tune.reporters.progress import SweepProgress

FLOW = FlowIdentity("inner", "outer", 1, "nightly")


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
    sent: list[Any] = []

    def emit(event: str, *, resource: Any, payload: Any, follows: Any) -> None:
        sent.append((event.removeprefix("prefect-tune."), resource, payload))

    monkeypatch.setattr(sweep_news, "emit_event", emit)
    return sent


def trial(number: int, status: str = RUNNING, **result: Any) -> Trial:
    made = Trial(f"t_{number}", config={"x": number}, evaluated_params={"x": number})
    made.status = status
    made.last_result = {"training_iteration": 1, **result}
    return made


@pytest.fixture
def news() -> SweepNews:
    progress = SweepProgress("acc", "max", 4)

    def result() -> SweepResult:
        counts = progress.counts()
        return SweepResult(experiment="nightly", directory="s3://b/nightly", counts=counts)

    return SweepNews(FLOW, logging.getLogger("news"), progress, result)


def test_it_tells_of_the_start_each_improvement_failures_and_the_end(
    news: SweepNews, events: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "news")
    first, second = trial(1, acc=0.5), trial(2, acc=0.1 + 0.2)
    news.started("4 trials of train", [])
    news.report([first, second], at_once=True)
    news.report([first, second], at_once=True)
    first.last_result = {"acc": 0.45, "training_iteration": 1}  # no improvement, still the best
    news.report([first, second], at_once=True)
    second.status, second.last_result = ERROR, {"acc": 0.3}
    first.last_result = {"acc": 0.75, "training_iteration": 2}
    news.report([first, second], at_once=True)
    news.ended(Conclusion(Ending.FAILED, "2 of 4 trials failed"))
    assert [event for event, _, _ in events] == [
        "sweep.started",
        "sweep.improved",
        "trial.failed",
        "sweep.improved",
        "sweep.ended",
        "sweep.failed",
    ]
    _, resource, payload = events[-1]
    assert resource["prefect.resource.id"] == "prefect.flow-run.outer"
    assert resource["prefect-tune.experiment"] == "nightly"
    assert resource["prefect-tune.status"] == payload["status"] == "failed"
    assert events[3][2]["previous"] == 0.5
    assert events[2][2]["config"] == {"x": 2}
    lines = [record.getMessage() for record in caplog.records]
    assert lines[0] == "Sweep nightly: 4 trials of train. Results go to s3://b/nightly."
    assert lines[1] == "acc=0.5 is the best so far, with x=1."
    assert lines[2].startswith("Trial trainable_t_2 has failed")
    assert lines[3] == "acc=0.75 is the best so far, with x=1."
    assert lines[4].startswith("Sweep nightly failed after 0 s: 2 of 4 trials failed.")


def test_a_trial_that_improves_all_the_time_does_not_fill_the_log(
    news: SweepNews, events: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "news")
    news.started("4 trials of train", [])
    better, other = trial(1), trial(2)
    for step in range(1, 31):
        better.last_result = {"acc": step / 100, "training_iteration": step}
        news.report([better, other], at_once=True)
    other.last_result = {"acc": 0.5}
    news.report([better, other], at_once=True)
    assert [event for event, _, _ in events].count("sweep.improved") == 31
    lines = [record.getMessage() for record in caplog.records if "best so far" in record.msg]
    assert len(lines) == 11
    assert lines[-1] == "acc=0.5 is the best so far, with x=2."


@pytest.mark.parametrize(
    ("checkpoint", "key"),
    [
        ("s3://b/e/t_1/checkpoint_000003", "s3://b/e/t_1/checkpoint_000003"),
        ("/home/me/my results/t_1,x=1/c[0]%", "file:///home/me/my_results/t_1,x=1/c_0__"),
    ],
)
def test_the_best_checkpoint_is_an_asset(
    news: SweepNews, events: list[Any], checkpoint: str, key: str
) -> None:
    found = {"metric": "acc", "best_value": 0.75, "best_config": {"x": 1}, "checkpoint": checkpoint}
    news._result = lambda: SweepResult(experiment="nightly", directory="s3://b/e", **found)
    news.ended(Conclusion(Ending.INTERRUPTED, "cancelled"))
    assert [event for event, _, _ in events] == ["sweep.ended"]
    news.ended(Conclusion(Ending.COMPLETED, "done"))
    event, resource, payload = events[-1]
    assert event == "prefect.asset.materialization.succeeded"
    assert resource["prefect.resource.id"] == Asset(key=key).key
    assert payload.items() >= {**found, "experiment": "nightly"}.items()


def test_an_experiment_that_goes_on_tells_nothing_twice(news: SweepNews, events: list[Any]) -> None:
    known = [trial(1, TERMINATED, acc=0.5), trial(2, ERROR)]
    news.started("4 trials of train", known)
    news.report(known, at_once=True)
    assert [event for event, _, _ in events] == ["sweep.started"]


def test_the_end_explains_a_best_value_that_was_better_before(
    news: SweepNews, events: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "news")
    first, second = trial(1, acc=0.5), trial(2, acc=0.4)
    for value, text in ((0.9, "done."), (0.2, "t_1 had acc=0.9 in between).")):
        first.last_result["acc"] = value
        news.report([first, second], at_once=True)
        news.ended(Conclusion(Ending.COMPLETED, "done"))
        assert caplog.messages[-1].endswith(text)


def test_it_looks_at_the_trials_once_in_a_while_only(news: SweepNews, events: list[Any]) -> None:
    news.report([])
    news.report([trial(1, acc=1.0)])
    assert not events


def test_outside_of_flow_runs_no_event_is_sent(events: list[Any]) -> None:
    result = SweepResult(experiment="e", directory="d")
    news = SweepNews(None, logging.getLogger("news"), SweepProgress("a", "max"), lambda: result)
    news.started("", [])
    news.ended(Conclusion(Ending.COMPLETED, "done"))
    assert not events


def test_a_sweep_lasts_as_long_as_it_ran_and_not_as_its_record(
    events: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "news")
    progress, result = SweepProgress("acc", "max", 1), SweepResult(experiment="e", directory="/e")
    news = SweepNews(FLOW, logging.getLogger("news"), progress, lambda: result, began=100.0)
    news.ended(Conclusion(Ending.COMPLETED, "done"), at=107.0)
    assert events[-1][2]["seconds"] == 7.0
    assert "completed after 7 s" in caplog.text


def test_savings_are_told_if_trials_ended_early() -> None:
    full = trial(1, TERMINATED, training_iteration=10)
    early = trial(2, TERMINATED, training_iteration=2)
    assert savings([full, early]).startswith(" 40% of the iterations")
    assert savings([full, full]) == savings([]) == ""


def test_results_become_plain() -> None:
    odd = {"a": float("nan"), "b": (1, {"c": object}), 3: 2**70, "t": True, "n": None}
    plain = api_value(odd)
    assert plain["a"] == "nan"
    assert plain["b"][0] == 1
    assert isinstance(plain["b"][1]["c"], str)
    assert plain["3"] == str(2**70)
    assert (plain["t"], plain["n"]) == (True, None)
