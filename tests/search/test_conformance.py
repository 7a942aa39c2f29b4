"""Every search algorithm, against the conformance suite."""

from __future__ import annotations

from optuna.samplers import RandomSampler

from prefect_tune.search import (
    SEARCHERS,
    BasicVariantGenerator,
    ConcurrencyLimiter,
    OptunaSearch,
    Repeater,
    Searcher,
    make_source,
)
from prefect_tune.search.auto import AutoSearch
from prefect_tune.search.bohb import TuneBOHB
from prefect_tune.space import grid_search
from prefect_tune.testing.searcher import SearcherConformance
from tests.search import test_libraries


class TestBasicVariantGenerator(SearcherConformance):
    def make(self) -> BasicVariantGenerator:
        return BasicVariantGenerator(random_state=1)


class TestBasicVariantGeneratorSeededByExperiment(SearcherConformance):
    def make(self) -> BasicVariantGenerator:
        return BasicVariantGenerator()


class TestOptunaTPE(SearcherConformance):
    def make(self) -> Searcher:
        return OptunaSearch(seed=1)


class TestOptunaSeededByExperiment(SearcherConformance):
    def make(self) -> Searcher:
        return OptunaSearch()


class TestOptunaRandom(SearcherConformance):
    def make(self) -> Searcher:
        return OptunaSearch(sampler=RandomSampler(seed=1))


class TestBOHB(SearcherConformance):
    def make(self) -> Searcher:
        return TuneBOHB(seed=1, bohb_config={"random_fraction": 0.2})


class TestLimitedBOHB(SearcherConformance):
    def make(self) -> Searcher:
        return TuneBOHB(max_concurrent=2)


class TestAuto(SearcherConformance):
    def make(self) -> Searcher:
        return AutoSearch(seed=1)

    def test_grids_are_rejected_or_enumerated(self) -> None:
        space = {**self.space(), "grid": grid_search([1, 2, 3])}
        source = make_source(self.make(), space, metric=self.metric, mode=self.mode)
        assert [suggestion.config["grid"] for suggestion in self.play(source)] == [1, 2, 3]


class TestLimitedOptuna(SearcherConformance):
    def make(self) -> Searcher:
        return ConcurrencyLimiter(OptunaSearch(seed=1), max_concurrent=2)


class TestOptunaInBatches(SearcherConformance):
    def make(self) -> Searcher:
        return ConcurrencyLimiter(OptunaSearch(seed=1), max_concurrent=2, batch=True)


class TestRepeatedOptuna(SearcherConformance):
    def make(self) -> Searcher:
        return Repeater(OptunaSearch(seed=1), repeat=2)


def test_every_registered_algorithm_is_tried() -> None:
    suites = [suite for suite in globals().values() if isinstance(suite, type)]
    tried = {
        type(suite().make())
        for suite in suites
        if issubclass(suite, SearcherConformance) and suite is not SearcherConformance
    }
    suites_of_libraries = vars(test_libraries).values()
    tried |= {
        suite.cls
        for suite in suites_of_libraries
        if isinstance(suite, type)
        and issubclass(suite, test_libraries.LibraryConformance)
        and suite is not test_libraries.LibraryConformance
    }
    assert {entry.load() for entry in SEARCHERS} <= tried
