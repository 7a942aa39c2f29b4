from __future__ import annotations

import math
from collections import Counter
from typing import Any

import pytest

from prefect_tune.error import InvalidArgument
from prefect_tune.experiment.decision import EVERY_RESULT
from prefect_tune.stopper import NonFiniteStopper
from prefect_tune.testing.simulation import Simulation


def diverging(index: int, step: int) -> dict[str, Any] | None:
    """Trial 1 becomes NaN at step 4, 2 infinite, 3 minus infinity, 0 stays as it is."""
    worst = [1.0, math.nan, math.inf, -math.inf][index]
    return None if step > 8 else {"loss": worst if step >= 4 else 1.0, "note": "fine"}


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_stops_at_what_is_not_finite(bad: float) -> None:
    stopper = NonFiniteStopper("val/loss")
    assert not stopper("t", {"val/loss": 1e300, "other": bad})
    assert stopper("t", {"val/loss": bad})
    assert not stopper.stop_all()


def test_watches_everything_if_nothing_is_named() -> None:
    stopper = NonFiniteStopper()
    assert not stopper("t", {"a": 1, "b": "nan", "c": None, "d": True, "config/x": math.inf})
    assert stopper("t", {"a": 1, "b": math.nan})


def test_patience_counts_results_in_a_row_of_each_trial() -> None:
    stopper = NonFiniteStopper("loss", patience=2)
    votes = [stopper("t", {"loss": value}) for value in (math.nan, 1, math.nan, math.nan)]
    assert votes == [False, False, False, True]
    assert not stopper("other", {"loss": math.nan})
    assert not stopper("other", {})


@pytest.mark.parametrize("stopper", [NonFiniteStopper("loss"), NonFiniteStopper()])
def test_trials_stop_at_the_very_result(stopper: NonFiniteStopper) -> None:
    simulation = Simulation(diverging, num_trials=4, stopper=stopper).run()
    seen = Counter(trial_id for trial_id, _, _ in simulation.decisions)
    assert [seen[trial_id] for trial_id in sorted(seen)] == [8, 4, 4, 4]


def test_named_metrics_make_no_trial_wait_while_all_is_well() -> None:
    stopper = NonFiniteStopper("loss")
    assert not stopper.run_until("t").reached({"loss": 1e300})
    for bad in (math.nan, math.inf, -math.inf, None):
        assert stopper.run_until("t").reached({"loss": bad})
    assert NonFiniteStopper().run_until("t") == EVERY_RESULT


@pytest.mark.parametrize("options", [{"patience": 0}, {"patience": 1.5}])
def test_bad_patience(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument, match="`patience`"):
        NonFiniteStopper(**options)


def test_bad_metric() -> None:
    with pytest.raises(InvalidArgument, match="`metrics`"):
        NonFiniteStopper(3)  # type: ignore[arg-type]
