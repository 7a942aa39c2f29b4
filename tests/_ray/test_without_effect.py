"""Arguments of Ray Tune that `run` does not have: no bare TypeError, nothing swallowed."""

from __future__ import annotations

import linecache
import warnings

import pytest

import prefect_tune as tune
from prefect_tune.error import InvalidArgument


def train(config): ...


def run(**arguments):
    # `metric` is wrong too, so that nothing is started if the argument passes.
    return tune.run(train, metric="loss", mode="neither", **arguments)


@pytest.mark.parametrize("name", ["queue_trials", "ray_auto_init", "sync_to_driver"])
def test_what_is_needless_warns_and_says_why(name):
    with (
        pytest.warns(FutureWarning, match=f"`{name}` is not needed: ") as caught,
        pytest.raises(InvalidArgument, match="`mode`"),
    ):
        run(**{name: True})
    assert caught[0].filename == __file__
    assert "return tune.run(" in linecache.getline(__file__, caught[0].lineno)


@pytest.mark.parametrize(
    ("name", "value", "instead"),
    [
        ("upload_dir", "s3://bucket", "`storage_path`"),
        ("server_port", 4321, "Prefect UI"),
        ("trial_executor", object(), "`cluster`"),
    ],
)
def test_what_is_had_in_another_way_is_an_error_that_says_how(name, value, instead):
    with pytest.raises(InvalidArgument, match=f"`{name}`: .*{instead}"):
        run(**{name: value})


@pytest.mark.parametrize("name", ["upload_dir", "queue_trials", "export_formats"])
def test_what_asks_for_nothing_is_passed_over(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(InvalidArgument, match="`mode`"):
            run(**{name: None})


@pytest.mark.parametrize(
    ("name", "similar"), [("num_sample", "num_samples"), ("callback", "callbacks")]
)
def test_a_misspelt_argument_is_a_type_error_with_a_hint(name, similar):
    with pytest.raises(TypeError, match=rf"run\(\) has no argument `{name}`. .*`{similar}`\?"):
        run(**{name: 3})
