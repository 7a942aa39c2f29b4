"""`Tuner.restore`: the arguments come from the directory."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

import prefect_tune as tune
from prefect_tune.error import InvalidArgument
from prefect_tune.storage.journal import JOURNAL_FILE


def train(config: dict[str, Any]) -> dict[str, float]:
    return {"score": config["x"]}


def tuner(path: Path, **run: Any) -> tune.Tuner:
    return tune.Tuner(
        train,
        param_space={"x": tune.grid_search([1, 2, 3])},
        tune_config=tune.TuneConfig(metric="score", mode="max"),
        run_config=tune.RunConfig(
            name="t", storage_path=str(path), orchestrate=False, verbose=0, **run
        ),
    )


@pytest.fixture(autouse=True)
def cluster() -> Any:
    tune.init(num_cpus=2)
    yield
    tune.shutdown()


def test_an_interrupted_experiment_goes_on_where_it_is_now(tmp_path):
    assert not tune.Tuner.can_restore(tmp_path / "t")
    first = tuner(tmp_path).fit()
    journal = tmp_path / "t" / JOURNAL_FILE
    lines = journal.read_bytes().splitlines(keepends=True)
    ends = [i for i, line in enumerate(lines) if b'"AttemptEnded"' in line]
    journal.write_bytes(b"".join(lines[: ends[0] + 1]))
    moved = tmp_path / "elsewhere"
    (tmp_path / "t").rename(moved)
    assert tune.Tuner.can_restore(moved)
    results = tune.Tuner.restore(str(moved), train).fit()
    assert sorted(r.config["x"] for r in results) == [1, 2, 3]
    assert results.get_best_result().config == {"x": 3} == first.get_best_result().config
    assert not (tmp_path / "t").exists()


def test_what_cannot_be_restored(tmp_path):
    with pytest.raises(InvalidArgument, match="no experiment of a Tuner"):
        tune.Tuner.restore(str(tmp_path / "nothing"), train)
    with pytest.raises(InvalidArgument, match=r"`resume_errored`.*not supported yet"):
        tune.Tuner.restore(str(tmp_path / "nothing"), train, resume_errored=True)


def test_arguments_that_cannot_be_pickled_are_warned_about(tmp_path, caplog):
    class Holds(tune.Callback):
        def __init__(self) -> None:
            self.lock = threading.Lock()

    results = tuner(tmp_path, callbacks=[Holds()]).fit()
    assert len(results) == 3
    assert "Tuner.restore will not work" in caplog.text
    assert not tune.Tuner.can_restore(tmp_path / "t")
