from __future__ import annotations

import math

import pytest

from prefect_tune.error import InvalidArgument
from prefect_tune.search import BasicVariantGenerator, ConcurrencyLimiter, Repeater, Searcher
from prefect_tune.search.wrapper import offer_properties


class Recording(Searcher):
    def __init__(self, finish_after=None):
        super().__init__("score", "max")
        self.finish_after = finish_after
        self.suggested = []
        self.results = []
        self.completed = []
        self.paused = []

    def suggest(self, trial_id):
        if len(self.suggested) == self.finish_after:
            return Searcher.FINISHED
        self.suggested.append(trial_id)
        return {"x": len(self.suggested), "deep": {"y": 1}}

    def on_trial_result(self, trial_id, result):
        self.results.append(trial_id)

    def on_trial_complete(self, trial_id, result=None, error=False):
        self.completed.append((trial_id, result, error))

    def on_pause(self, trial_id):
        self.paused.append(trial_id)

    def on_unpause(self, trial_id):
        self.paused.remove(trial_id)


def test_limiter_gives_nothing_while_full():
    inner = Recording()
    limiter = ConcurrencyLimiter(inner, 2)
    assert limiter.suggest("a")
    assert limiter.suggest("b")
    assert limiter.suggest("c") is None
    limiter.on_trial_complete("a", {"score": 1})
    assert inner.completed == [("a", {"score": 1}, False)]
    assert limiter.suggest("c")
    limiter.on_trial_complete("unknown")
    assert len(inner.completed) == 1


def test_limiter_does_not_count_what_was_not_suggested():
    limiter = ConcurrencyLimiter(Recording(finish_after=0), 1)
    assert limiter.suggest("a") == Searcher.FINISHED
    assert limiter.suggest("a") == Searcher.FINISHED


def test_batch_is_told_at_once_when_all_of_it_ended():
    inner = Recording()
    limiter = ConcurrencyLimiter(inner, 2, batch=True)
    limiter.suggest("a")
    limiter.suggest("b")
    limiter.on_trial_complete("b", {"score": 2})
    assert inner.completed == []
    assert limiter.suggest("c") is None
    limiter.on_trial_complete("a", error=True)
    assert inner.completed == [("b", {"score": 2}, False), ("a", None, True)]
    assert limiter.suggest("c")


def test_an_unfinished_last_batch_is_told_too():
    inner = Recording()
    limiter = ConcurrencyLimiter(inner, 3, batch=True)
    limiter.suggest("a")
    limiter.suggest("b")
    limiter.on_trial_complete("a")
    limiter.on_trial_complete("b")
    assert [trial for trial, _, _ in inner.completed] == ["a", "b"]


def test_wrappers_pass_on_everything_else():
    inner = Recording()
    limiter = ConcurrencyLimiter(inner, 2)
    assert (limiter.metric, limiter.mode) == ("score", "max")
    assert limiter.wants_results
    limiter.on_trial_result("a", {"score": 1})
    limiter.on_pause("a")
    assert inner.results == ["a"]
    assert inner.paused == ["a"]
    limiter.on_unpause("a")
    assert inner.paused == []
    assert limiter.set_search_properties("a", "min", {}) is False


def test_limiter_keeps_its_limit():
    limiter = ConcurrencyLimiter(Recording(), 2)
    assert limiter.set_max_concurrency(2)
    with pytest.raises(InvalidArgument, match="max_concurrent_trials"):
        limiter.set_max_concurrency(3)


@pytest.mark.parametrize("limit", [0, -1, 1.5, "2", True])
def test_wrong_limits(limit):
    with pytest.raises(InvalidArgument, match="`max_concurrent`"):
        ConcurrencyLimiter(Recording(), limit)


def test_what_cannot_be_wrapped():
    with pytest.raises(InvalidArgument, match="max_concurrent"):
        ConcurrencyLimiter(BasicVariantGenerator(), 2)
    with pytest.raises(InvalidArgument, match="`searcher`"):
        Repeater("optuna", 2)
    with pytest.raises(InvalidArgument, match="`repeat`"):
        Repeater(Recording(), 0)


def test_repeater_repeats_each_config_and_tells_the_mean():
    inner = Recording()
    repeater = Repeater(inner, repeat=3)
    configs = [repeater.suggest(f"t{number}") for number in range(6)]
    assert [config["x"] for config in configs] == [1, 1, 1, 2, 2, 2]
    assert [config["__trial_index__"] for config in configs] == [0, 1, 2, 0, 1, 2]
    assert inner.suggested == ["t0", "t3"]
    configs[0]["deep"]["y"] = 9
    assert configs[1]["deep"]["y"] == 1
    for number, score in [(2, 3.0), (3, 9.0), (0, 1.0), (1, math.nan)]:
        repeater.on_trial_result(f"t{number}", {"score": score})
        repeater.on_trial_complete(f"t{number}", {"score": score})
    assert inner.completed == [("t0", {"score": 2.0}, False)]
    assert inner.results == []
    assert not repeater.wants_results


def test_repeater_leaves_failures_out_and_reports_total_failure():
    inner = Recording()
    repeater = Repeater(inner, repeat=2, set_index=False)
    assert "__trial_index__" not in repeater.suggest("a")
    repeater.suggest("b")
    repeater.on_trial_complete("a", error=True)
    repeater.on_trial_complete("b", {"score": 4.0})
    assert inner.completed == [("a", {"score": 4.0}, False)]
    repeater.suggest("c")
    repeater.suggest("d")
    repeater.on_trial_complete("c", error=True)
    repeater.on_trial_complete("d")
    repeater.on_trial_complete("unknown")
    assert inner.completed[1] == ("c", None, True)


def test_repeater_ends_with_its_searcher():
    repeater = Repeater(Recording(finish_after=1), repeat=2)
    assert [isinstance(repeater.suggest(id_), dict) for id_ in "abc"] == [True, True, False]
    assert repeater.suggest("d") == Searcher.FINISHED


def test_repeater_averages_several_metrics():
    inner = Recording()
    inner._metric, inner._mode = ["score", "loss"], ["max", "min"]
    repeater = Repeater(inner, repeat=2)
    repeater.suggest("a")
    repeater.suggest("b")
    repeater.on_trial_complete("a", {"score": 1, "loss": 4})
    repeater.on_trial_complete("b", {"score": 3, "loss": 6})
    assert inner.completed == [("a", {"score": 2.0, "loss": 5.0}, False)]


def test_searchers_with_the_older_signature_are_offered_the_space():
    class Older(Recording):
        def set_search_properties(self, metric, mode, config):
            self.offered = (metric, mode, config)
            return True

    searcher = Older()
    assert offer_properties(ConcurrencyLimiter(searcher, 1), "a", "min", {"x": 1}, seed=3)
    assert searcher.offered == ("a", "min", {"x": 1})


@pytest.mark.parametrize("limits_itself", [True, False])
def test_limiter_leaves_the_limit_to_a_searcher_that_keeps_it(limits_itself):
    class Own(Recording):
        def set_max_concurrency(self, max_concurrent):
            self.limit = max_concurrent
            return limits_itself

    inner = Own()
    limiter = ConcurrencyLimiter(inner, 2)
    assert inner.limit == 2
    given = [limiter.suggest(name) for name in "abc"]
    assert (given[2] is not None) == limits_itself


def test_a_limiter_begins_anew_with_each_experiment():
    limiter = ConcurrencyLimiter(Recording(), 1)
    assert limiter.suggest("a")
    limiter.set_search_properties(None, None, {})
    assert limiter.suggest("b")


@pytest.mark.parametrize("kind", [lambda s: ConcurrencyLimiter(s, 2), lambda s: Repeater(s, 2)])
def test_a_wrapper_that_overrides_the_hook_wants_results(kind):
    class Deaf(Searcher):
        def suggest(self, trial_id):
            return {}

    wrapper = kind(Deaf("score", "max"))
    assert not wrapper.wants_results

    def listen(self, trial_id, result):
        pass

    listening = type("Listening", (type(wrapper),), {"on_trial_result": listen})
    assert listening(Deaf("score", "max"), 2).wants_results
