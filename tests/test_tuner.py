"""`Tuner` before it runs."""

from __future__ import annotations

import pytest

import prefect_tune as tune


def train(config): ...


def test_there_are_no_results_before_fit():
    with pytest.raises(RuntimeError, match=r"call `fit\(\)` first"):
        tune.Tuner(train).get_results()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({}, "trainable"),
        ({"trainable": train, "tune_config": {"num_samples": 3}}, "tune_config"),
        ({"trainable": train, "run_config": tune.TuneConfig()}, "run_config"),
    ],
)
def test_wrong_arguments_are_named(arguments, named):
    with pytest.raises(ValueError, match=f"`{named}`"):
        tune.Tuner(**arguments)
