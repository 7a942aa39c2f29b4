"""ASHA against its stopping rule written down word by word, without any thought of speed."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefect_tune.experiment.trial import Trial
from prefect_tune.schedulers import ASHAScheduler
from prefect_tune.testing.simulation import SimulatedController


@dataclass
class Rung:
    milestone: float
    recorded: dict[str, float] = field(default_factory=dict)

    def cutoff(self, factor: float) -> float | None:
        if not self.recorded:
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            return float(np.nanpercentile(list(self.recorded.values()), (1 - 1 / factor) * 100))


class ReferenceASHA:
    def __init__(
        self,
        *,
        max_t: float,
        grace_period: float,
        reduction_factor: float,
        brackets: int,
        stop_last_trials: bool,
        mode: str,
        seed: int,
    ) -> None:
        self.max_t = max_t
        self.factor = reduction_factor
        self.stop_last_trials = stop_last_trials
        self.sign = 1.0 if mode == "max" else -1.0
        self.brackets: list[list[Rung]] = []
        for s in range(brackets):
            rungs = int(math.log(max_t / grace_period) / math.log(reduction_factor) - s + 1)
            self.brackets.append(
                [Rung(grace_period * reduction_factor ** (k + s)) for k in range(max(0, rungs))]
            )
        self.random = np.random.RandomState(seed)
        self.bracket_of: dict[str, list[Rung]] = {}

    def add(self, trial_id: str) -> None:
        sizes = np.array([len(bracket) for bracket in self.brackets])
        if len(sizes) == 1:
            chosen = 0
        else:
            weights = np.exp(sizes - sizes.max())
            chosen = self.random.choice(len(sizes), p=weights / weights.sum())
        self.bracket_of[trial_id] = self.brackets[chosen]

    def result(self, trial_id: str, result: dict[str, Any]) -> str:
        if "t" not in result or "score" not in result:
            return "CONTINUE"
        if self.stop_last_trials and result["t"] >= self.max_t:
            return "STOP"
        return self._judge(trial_id, result)

    def complete(self, trial_id: str, result: dict[str, Any]) -> None:
        if "t" in result and "score" in result:
            self._judge(trial_id, result)
        del self.bracket_of[trial_id]

    def _judge(self, trial_id: str, result: dict[str, Any]) -> str:
        if result["score"] is None:
            return "CONTINUE"
        reward = self.sign * result["score"]
        for rung in reversed(self.bracket_of[trial_id]):
            if result["t"] < rung.milestone:
                continue
            if trial_id in rung.recorded:
                if not self.stop_last_trials:
                    return "CONTINUE"
                continue
            cutoff = rung.cutoff(self.factor)
            rung.recorded[trial_id] = reward
            return "STOP" if cutoff is not None and reward < cutoff else "CONTINUE"
        return "CONTINUE"


ages = st.sampled_from([0.5, 1, 1.5, 2, 3, 4, 5, 8, 9, 15, 16, 17, 27, 30, 64, 99, 100, 120])
scores = st.one_of(
    st.sampled_from([0.0, 1.0, 2.0, 3.0, math.nan, math.inf, -math.inf, None, 7]),
    st.floats(-10, 10),
)


@st.composite
def settings_of_asha(draw: st.DrawFn) -> dict[str, Any]:
    grace_period = draw(st.sampled_from([1, 2, 3, 0.5]))
    return {
        "max_t": draw(st.sampled_from([3, 10, 27, 64, 100, 100.5])),
        "grace_period": grace_period,
        "reduction_factor": draw(st.sampled_from([2, 3, 4, 1.5, 10])),
        "brackets": draw(st.integers(1, 4)),
        "stop_last_trials": draw(st.booleans()),
        "mode": draw(st.sampled_from(["min", "max"])),
    }


class Pair:
    """The scheduler and the reference, fed the same; every answer must agree."""

    def __init__(self, settings: dict[str, Any], seed: int) -> None:
        self.ours = ASHAScheduler(time_attr="t", metric="score", random_state=seed, **settings)
        self.reference = ReferenceASHA(seed=seed, **settings)
        self.controller = SimulatedController(slots=1)
        self.trials: dict[str, Trial] = {}

    def add(self, trial_id: str) -> None:
        trial = self.trials.setdefault(trial_id, Trial(trial_id, {}))
        self.ours.on_trial_add(self.controller, trial)
        self.reference.add(trial_id)

    def retry(self, trial_id: str) -> None:
        self.ours.on_trial_error(self.controller, self.trials[trial_id])
        self.add(trial_id)

    def result(self, trial_id: str, result: dict[str, Any]) -> str:
        trial = self.trials[trial_id]
        expected = self.reference.result(trial_id, result)
        assert self.ours.on_trial_result(self.controller, trial, result) == expected
        return expected

    def complete(self, trial_id: str, result: dict[str, Any]) -> None:
        self.ours.on_trial_complete(self.controller, self.trials.pop(trial_id), result)
        self.reference.complete(trial_id, result)

    def check_rungs(self) -> None:
        rungs = [rung for bracket in self.reference.brackets for rung in reversed(bracket)]
        shown = [
            line.removeprefix("Bracket: ").split(" | ")
            for line in self.ours.debug_string().splitlines()[1:]
        ]
        named = [text for line in shown for text in line if text]
        assert len(named) == len(rungs)
        for text, rung in zip(named, rungs, strict=True):
            cutoff = rung.cutoff(self.reference.factor)
            milestone, _, value = text.removeprefix("Iter ").partition(": ")
            assert float(milestone) == pytest.approx(rung.milestone, abs=1e-3)
            if cutoff is None or all(math.isnan(v) for v in rung.recorded.values()):
                assert value == "None"
            else:
                expected = self.reference.sign * cutoff
                assert float(value) == pytest.approx(expected, rel=1e-5, nan_ok=True)


@settings(max_examples=300, deadline=None)
@given(settings_of_asha(), st.integers(0, 99), st.data())
def test_decides_as_the_reference_whatever_happens(
    asha: dict[str, Any], seed: int, data: st.DataObject
) -> None:
    """Times may jump, stand still or go back; values may be missing or not finite."""
    pair = Pair(asha, seed)
    trial_ids = [f"t{n}" for n in range(data.draw(st.integers(1, 6)))]
    for trial_id in trial_ids:
        pair.add(trial_id)
    for _ in range(data.draw(st.integers(0, 40))):
        if not pair.trials:
            break
        trial_id = data.draw(st.sampled_from(sorted(pair.trials)))
        result = {"t": data.draw(ages), "score": data.draw(scores)}
        what = data.draw(st.sampled_from(["report"] * 8 + ["retry", "end", "no t", "no score"]))
        if what == "retry":
            pair.retry(trial_id)
        elif what == "end":
            pair.complete(trial_id, result)
        else:
            result = {key: value for key, value in result.items() if what != f"no {key}"}
            if pair.result(trial_id, result) == "STOP":
                pair.complete(trial_id, result)
    pair.check_rungs()


@settings(max_examples=200, deadline=None)
@given(
    settings_of_asha(),
    st.integers(0, 99),
    st.sampled_from([0.5, 1, 2.5, 7]),
    st.integers(0, 10**6),
)
def test_nothing_happens_before_run_until(
    asha: dict[str, Any], seed: int, stride: float, shape: int
) -> None:
    """At a result before `run_until`, ASHA neither stops the trial nor records anything.

    The thresholds are those the trial got at its last wait, as in a real run.
    """
    pair = Pair(asha, seed)
    noise = np.random.RandomState(shape)
    for trial_id in ("a", "b", "c", "d", "e"):
        pair.add(trial_id)
    until = {trial_id: pair.ours.run_until(trial) for trial_id, trial in pair.trials.items()}
    age = dict.fromkeys(pair.trials, 0.0)
    for _ in range(150):
        if not pair.trials:
            break
        trial_id = sorted(pair.trials)[noise.randint(len(pair.trials))]
        age[trial_id] += stride * noise.randint(1, 4)
        result = {"t": age[trial_id], "score": float(noise.randint(6))}
        waits = until[trial_id].reached(result)
        before = _recorded(pair.reference)
        decision = pair.result(trial_id, result)
        if not waits:
            assert decision == "CONTINUE"
            assert _recorded(pair.reference) == before
        elif decision == "STOP":
            pair.complete(trial_id, result)
        else:
            # No wait in vain: it was for a rung.
            assert _recorded(pair.reference) == before + 1
            until[trial_id] = pair.ours.run_until(pair.trials[trial_id])


def _recorded(reference: ReferenceASHA) -> int:
    return sum(len(rung.recorded) for bracket in reference.brackets for rung in bracket)
