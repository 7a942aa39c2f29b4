"""Conformance tests for search algorithms.

Derive a test class that says how to make the searcher::

    class TestMySearcher(SearcherConformance):
        def make(self):
            return MySearcher(seed=0)
"""

from __future__ import annotations

from typing import Any

import pytest

from prefect_tune.error import InvalidArgument
from prefect_tune.search import (
    FINISHED,
    BasicVariantGenerator,
    Searcher,
    SearcherSource,
    Suggestion,
    TrialSource,
    make_source,
)
from prefect_tune.space import choice, grid_search, loguniform, randint, sample_from, uniform


class SearcherConformance:
    """The tests that every searcher has to pass; derive a test class from it.

    Override `space` if the algorithm supports fewer kinds of domains, and the class attributes
    for what it cannot do.
    """

    #: Whether two instances from `make` suggest the same configs after the same results.
    deterministic = True
    #: Number of trials that run at a time in these tests.
    slots = 2
    metric = "score"
    mode = "max"

    def make(self) -> Searcher | BasicVariantGenerator:
        """Return a new searcher with a seed."""
        raise NotImplementedError

    def space(self) -> dict[str, Any]:
        """Return a nested space with a constant and every domain that the algorithm supports."""
        return {
            "lr": loguniform(1e-4, 1e-1),
            "model": {"units": randint(1, 64), "act": choice(["relu", "tanh"])},
            "drop": uniform(0, 0.5),
            "twice": sample_from(lambda spec: 2 * spec.config.model.units),
            "constant": 7,
        }

    def objective(self, config: dict[str, Any]) -> float:
        """Return the metric that a trial with this configuration reports."""
        return -abs(float(config["drop"]) - 0.25) + 0.001 * float(config["model"]["units"])

    def check_config(self, config: dict[str, Any]) -> None:
        """Check that a configuration lies in `space`."""
        assert set(config) >= {"lr", "model", "drop", "twice", "constant"}
        assert 1e-4 <= config["lr"] <= 1e-1
        assert 1 <= config["model"]["units"] < 64
        assert config["model"]["act"] in ("relu", "tanh")
        assert 0 <= config["drop"] <= 0.5
        assert config["twice"] == 2 * config["model"]["units"]
        assert config["constant"] == 7

    def source(self, num_samples: int, **arguments: Any) -> TrialSource:
        """Return the searcher as a `TrialSource`, as an experiment uses it."""
        arguments = {"metric": self.metric, "mode": self.mode, "seed": 3, **arguments}
        return make_source(self.make(), self.space(), num_samples, **arguments)

    def finish(self, source: TrialSource, suggestion: Suggestion) -> None:
        """Report results of a trial and its end, as the engine does."""
        score = self.objective(suggestion.config)
        for iteration in (1, 2):
            source.on_trial_result(
                suggestion.trial_id, {self.metric: score, "training_iteration": iteration}
            )
        last = {self.metric: score, "training_iteration": 3}
        source.on_trial_complete(suggestion.trial_id, last)

    def play(
        self,
        source: TrialSource,
        running: list[Suggestion] | None = None,
        limit: int | None = None,
    ) -> list[Suggestion]:
        """Run trials, the oldest ending first, to the end or until `limit` have started."""
        running = [] if running is None else running
        seen: list[Suggestion] = []
        while limit is None or len(seen) < limit:
            suggestion = source.next() if len(running) < self.slots else None
            if suggestion is FINISHED:
                while running:
                    self.finish(source, running.pop(0))
                break
            if suggestion is None:
                assert running, "nothing is suggested and nothing runs: this would never end"
                self.finish(source, running.pop(0))
                continue
            seen.append(suggestion)
            running.append(suggestion)
        return seen

    def test_suggests_num_samples_configs_of_the_space(self) -> None:
        source = self.source(num_samples=7)
        seen = self.play(source)
        assert len(seen) == 7
        assert source.next() is FINISHED
        for suggestion in seen:
            self.check_config(suggestion.config)

    def test_ids_are_unique_and_tags_name_the_variables(self) -> None:
        seen = self.play(self.source(num_samples=6))
        assert len({suggestion.trial_id for suggestion in seen}) == 6
        for suggestion in seen:
            assert suggestion.experiment_tag.startswith(f"{suggestion.tag_index}_")
            assert "constant" not in suggestion.resolved
            assert "model/units" in suggestion.resolved

    def test_configs_are_independent_objects(self) -> None:
        source = self.source(num_samples=4)
        for _ in range(4):
            suggestion = source.next()
            assert isinstance(suggestion, Suggestion)
            self.check_config(suggestion.config)
            self.finish(source, suggestion)
            suggestion.config["model"].clear()

    def test_endless_sampling_goes_on(self) -> None:
        source = self.source(num_samples=-1)
        assert source.total() is None
        assert len(self.play(source, limit=12)) == 12

    def test_same_seed_same_experiment(self) -> None:
        if not self.deterministic:
            pytest.skip("declared not deterministic")
        assert self.play(self.source(num_samples=8)) == self.play(self.source(num_samples=8))

    @pytest.mark.parametrize("stop_after", [0, 1, 3, 6])
    def test_restored_search_goes_on_as_if_never_stopped(self, stop_after: int) -> None:
        whole = self.play(self.source(num_samples=8))
        first = self.source(num_samples=8)
        running: list[Suggestion] = []
        seen = self.play(first, running, limit=stop_after)
        state = first.save_state()
        second = self.source(num_samples=8)
        second.restore_state(state)
        seen += self.play(second, running)
        assert len(seen) == 8
        assert len({suggestion.trial_id for suggestion in seen}) == 8
        if self.deterministic:
            assert seen == whole

    def test_experiment_can_be_extended_after_restore(self) -> None:
        first = self.source(num_samples=3)
        seen = self.play(first)
        second = self.source(num_samples=5)
        second.restore_state(first.save_state())
        seen += self.play(second)
        assert len({suggestion.trial_id for suggestion in seen}) == 5

    def test_survives_trials_that_fail_or_end_without_a_result(self) -> None:
        source = self.source(num_samples=6)
        for number in range(6):
            suggestion = source.next()
            assert isinstance(suggestion, Suggestion)
            if number % 3 == 0:
                source.on_trial_complete(suggestion.trial_id, error=True)
            elif number % 3 == 1:
                source.on_trial_complete(suggestion.trial_id)
            else:
                nan = {self.metric: float("nan"), "training_iteration": 1}
                source.on_trial_complete(suggestion.trial_id, nan)
        assert source.next() is FINISHED

    def test_ignores_unknown_and_repeated_completions(self) -> None:
        source = self.source(num_samples=2)
        source.on_trial_complete("unknown", {self.metric: 1.0})
        suggestion = source.next()
        assert isinstance(suggestion, Suggestion)
        self.finish(source, suggestion)
        self.finish(source, suggestion)
        assert isinstance(source.next(), Suggestion)

    def test_max_concurrent_is_kept(self) -> None:
        source = self.source(num_samples=5, max_concurrent=self.slots)
        for _ in range(self.slots):
            assert isinstance(source.next(), Suggestion)
        assert source.next() is None

    def test_grids_are_rejected_or_enumerated(self) -> None:
        space = {**self.space(), "grid": grid_search([1, 2, 3])}
        if isinstance(self.source(1), SearcherSource):
            with pytest.raises(InvalidArgument, match="grid"):
                make_source(self.make(), space, metric=self.metric, mode=self.mode)
        else:
            source = make_source(self.make(), space, metric=self.metric, mode=self.mode)
            assert [suggestion.config["grid"] for suggestion in self.play(source)] == [1, 2, 3]
