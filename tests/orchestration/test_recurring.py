"""Sweeps that recur; without a server."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect.client.schemas.objects import FlowRun
from prefect.states import Running, Scheduled

from prefect_tune.error import InvalidArgument
from prefect_tune.orchestration import recurring
from prefect_tune.orchestration.record.sweep_result import SweepResult
from prefect_tune.orchestration.recurring import (
    RecurringSpec,
    Series,
    SeriesEntry,
    fingerprint_of,
    judge,
    why_to_skip,
)
from prefect_tune.orchestration.spec.experiment import WarmStartExperiment

NOW = datetime.datetime.now(datetime.UTC)


def spec(**changes: Any) -> RecurringSpec:
    return RecurringSpec.parse(
        {"trainable": "a:b", "metric": "acc", "mode": "max", "name": "nightly-{date}", **changes}
    )


def entry(value: float, **more: Any) -> SeriesEntry:
    return SeriesEntry(experiment="e", directory="/d", value=value, when="then", **more)


def found(value: float, **more: Any) -> SweepResult:
    return SweepResult(experiment="new", directory="/new", best_trial="t", best_value=value, **more)


def flow_run(number: int, due: int, state: Any = None, began: int | None = None) -> FlowRun:
    return FlowRun(
        id=UUID(int=number),
        name=f"run-{number}",
        flow_id=UUID(int=9),
        auto_scheduled=True,
        expected_start_time=NOW + datetime.timedelta(minutes=due),
        start_time=None if began is None else NOW + datetime.timedelta(minutes=began),
        state=state or Running(),
        state_type=(state or Running()).type,
        run_count=1,
    )


def test_the_first_sweep_makes_the_first_champion() -> None:
    series, verdict = judge(spec(), Series(), found(0.5, checkpoint="/c", best_config={"x": 1}))
    assert series.champion is not None
    assert (series.champion.value, series.champion.checkpoint) == (0.5, "/c")
    assert series.champion.config == {"x": 1}
    assert "first champion" in verdict


@pytest.mark.parametrize(
    ("mode", "value", "margin", "promoted"),
    [
        ("max", 0.6, 0.0, True),
        ("max", 0.6, 0.2, False),
        ("max", 0.5, 0.0, False),
        ("min", 0.4, 0.05, True),
        ("min", 0.6, 0.0, False),
    ],
)
def test_a_challenger_has_to_be_better_by_the_margin(
    mode: str, value: float, margin: float, promoted: bool
) -> None:
    before = Series(champion=entry(0.5), runs=[entry(0.5)])
    series, _ = judge(spec(mode=mode, promotion={"margin": margin}), before, found(value))
    assert series.champion is not None
    assert series.champion.value == (value if promoted else 0.5)
    assert series.runs[-1].promoted is promoted
    assert len(series.runs) == 2


def test_both_are_judged_by_the_same_data() -> None:
    scores = {"/old": 0.2, "/new": 0.3}
    before = Series(champion=entry(0.9, checkpoint="/old", config={"x": 1}))
    series, verdict = judge(
        spec(), before, found(0.8, checkpoint="/new"), lambda checkpoint, _: scores[checkpoint]
    )
    assert series.champion is not None
    assert series.champion.value == 0.3
    assert verdict == "acc=0.3 replaces the champion's 0.2"


def test_a_run_of_unchanged_data_is_skipped() -> None:
    run, series = flow_run(1, 0), Series(fingerprint="a", runs=[entry(1)])
    assert "data" in why_to_skip(spec(), series, run, [], "a")
    assert not why_to_skip(spec(), series, run, [], "b")
    run.run_count = 2
    assert not why_to_skip(spec(), series, run, [], "a"), "it goes on with what it has begun"


def test_of_runs_that_were_missed_only_the_latest_begins() -> None:
    missed = [flow_run(n, due=-60 * (10 - n), state=Scheduled()) for n in range(10)]
    begun = [
        not why_to_skip(spec(), Series(), run, [o for o in missed if o is not run], "")
        for run in missed
    ]
    assert begun == [False] * 9 + [True]
    assert not why_to_skip(spec(), Series(), missed[-1], [flow_run(20, due=60)], "")


def test_one_of_two_that_overlap_begins() -> None:
    first, second = flow_run(1, -1, began=-1), flow_run(2, -1, began=0)
    assert "run-1 still runs" in why_to_skip(spec(), Series(), second, [first], "")
    assert not why_to_skip(spec(), Series(), first, [second], "")
    assert not why_to_skip(spec(overlap="allow"), Series(), second, [first], "")
    twins = flow_run(3, -1, began=0), flow_run(4, -1, began=0)
    skipped = [bool(why_to_skip(spec(), Series(), a, [b], "")) for a, b in (twins, twins[::-1])]
    assert sorted(skipped) == [False, True]


def test_the_fingerprint_follows_files_and_functions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "data" / "a.csv"
    file.parent.mkdir()
    file.write_text("1")
    before = [fingerprint_of(str(path)) for path in (file, file.parent)]
    assert before == [fingerprint_of(str(path)) for path in (file, file.parent)]
    file.write_text("12")
    after = [fingerprint_of(str(path)) for path in (file, file.parent)]
    assert before[0] != after[0]
    assert before[1] != after[1]
    assert fingerprint_of("platform:python_version")
    assert fingerprint_of(None) == ""
    with pytest.raises(InvalidArgument, match="there is nothing in"):
        fingerprint_of(str(tmp_path / "none"))


def test_the_next_sweep_begins_with_the_best_of_the_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(recurring, "is_resumable", lambda place: place.path != "/gone")
    runs = [entry(n).model_copy(update={"directory": f"/d{n}"}) for n in range(4)]
    runs.append(entry(4).model_copy(update={"directory": "/gone"}))
    following = spec(learning={"runs": 3, "best": 2}).next_sweep(Series(runs=runs))
    assert following.continue_from == WarmStartExperiment(experiments=["/d2", "/d3"], best=2)
    assert spec().next_sweep(Series()).continue_from == spec().continue_from


def test_the_variable_has_room_for_a_long_series() -> None:
    long = Series(
        champion=entry(1, config={f"p{n}": "x" * 40 for n in range(100)}),
        runs=[entry(n) for n in range(500)],
    )
    kept = long.dump()
    assert len(json.dumps(kept)) <= 5000
    assert Series.model_validate(kept).runs[-1].value == 499
    assert Series.model_validate(kept).champion is not None


def test_series_are_named_by_what_is_the_same_each_time() -> None:
    assert spec().series == "prefect_tune_nightly"
    assert spec(name="{date}").series == "prefect_tune_sweep"
