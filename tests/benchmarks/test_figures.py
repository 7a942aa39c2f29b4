from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks import regret, scheduler_cost, subject
from benchmarks.journal import shipping_lags
from benchmarks.problems import network
from benchmarks.subject import FirstStart, waiting_values, write_file
from prefect_tune.schedulers import SCHEDULERS
from prefect_tune.simulation.surrogates import SURROGATES


def test_the_lag_of_a_write_ends_when_all_of_it_is_in_storage() -> None:
    appended = [(1.0, 10), (2.0, 30), (2.5, 40)]
    shipped = [(1.5, 10), (3.0, 35), (6.0, 40)]
    assert shipping_lags(appended, shipped) == [0.5, 1.0, 3.5]


def test_a_journal_that_never_arrived_has_no_lag() -> None:
    with pytest.raises(RuntimeError, match="35 of 40 bytes"):
        shipping_lags([(1.0, 40)], [(2.0, 35)])


def _trials(finished: int) -> list[Any]:
    statuses = ["TERMINATED"] * finished + ["PENDING"]
    return [SimpleNamespace(status=status) for status in statuses]


def test_only_the_first_start_of_a_resumed_sweep_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(subject.STARTED_VARIABLE, "0")
    first = FirstStart()
    assert first.seen(_trials(3))
    assert not first.seen(_trials(3))
    assert first.values(finished=3)["to_start_s"] >= 0


def test_a_sweep_that_began_anew_is_no_resumption(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(subject.STARTED_VARIABLE, "0")
    first = FirstStart()
    first.seen(_trials(0))
    with pytest.raises(RuntimeError, match="only 0 of 3 trials"):
        first.values(finished=3)


def test_a_sweep_without_a_new_trial_has_no_figure() -> None:
    with pytest.raises(RuntimeError, match="without a new trial"):
        FirstStart().values(finished=0)


def test_a_wait_that_was_not_told_is_missed() -> None:
    assert waiting_values([0.001, 0.003, 0.002], 3) == {"waited_ms": 2.0, "longest_ms": 3.0}
    with pytest.raises(RuntimeError, match="2 waits were told, 3"):
        waiting_values([0.001, 0.003], 3)


def test_files_have_the_size_they_are_said_to_have(tmp_path: Any) -> None:
    write_file(tmp_path / "model", 2)
    assert (tmp_path / "model").stat().st_size == 2_000_000


def test_the_model_that_was_written_down_again_is_the_stock_model() -> None:
    config = {"lr": 0.003, "units": 64, "dropout": 0.5}
    metrics, seconds = SURROGATES["network"](config, 7)
    assert network(config, 7) == (metrics["loss"], seconds)


@pytest.mark.parametrize("way", ["random", "HyperBand", "PBT"])
def test_a_sweep_in_simulated_time_comes_closer_to_the_optimum(way: str) -> None:
    found = list(regret.measure(way=way, seeds=1).values())
    assert found == sorted(found, reverse=True)
    assert found[-1] < found[0]


@pytest.mark.parametrize("name", SCHEDULERS.names)
def test_each_registered_scheduler_has_a_cost(name: str) -> None:
    assert scheduler_cost.measure(scheduler=name, results=1)["median_us"] > 0
