"""The module names that Ray Tune scripts import from."""

from __future__ import annotations

import importlib

import pytest

from prefect_tune import search


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("search.basic_variant", "BasicVariantGenerator"),
        ("search.concurrency_limiter", "ConcurrencyLimiter"),
        ("search.optuna", "OptunaSearch"),
        ("search.repeater", "Repeater"),
        ("search.search_algorithm", "SearchAlgorithm"),
        ("search.search_generator", "SearchGenerator"),
        ("search.searcher", "Searcher"),
        ("suggest", "ConcurrencyLimiter"),
        ("suggest", "Repeater"),
        ("suggest", "Searcher"),
        ("suggest.basic_variant", "BasicVariantGenerator"),
        ("suggest.optuna", "OptunaSearch"),
        ("suggest.repeater", "Repeater"),
        ("suggest.search", "SearchAlgorithm"),
        ("suggest.search_generator", "SearchGenerator"),
        ("suggest.suggestion", "ConcurrencyLimiter"),
        ("suggest.suggestion", "Searcher"),
    ],
)
def test_path_leads_to_the_same_class(module, name):
    found = getattr(importlib.import_module(f"prefect_tune.{module}"), name)
    assert found is getattr(search, name)


@pytest.mark.parametrize("module", ["search.sample", "search.variant_generator"])
def test_paths_into_the_space(module):
    found = importlib.import_module(f"prefect_tune.{module}")
    space = importlib.import_module("prefect_tune.space")
    # Ray's `generate_variants` gives pairs, so that of its module is another one.
    names = set(found.__all__) - {"generate_variants"}
    assert all(getattr(found, name) is getattr(space, name) for name in names)


@pytest.mark.parametrize("package", ["space", "search"])
def test_all_names_exist(package):
    module = importlib.import_module(f"prefect_tune.{package}")
    assert all(hasattr(module, name) for name in module.__all__)
