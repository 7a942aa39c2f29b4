"""Configurations on their way to trials."""

from __future__ import annotations

import threading

import prefect_tune as tune
from prefect_tune.execution.protocol.requests import unsendable


def test_what_cannot_be_pickled_is_named():
    assert unsendable({"a": 1, "lock": threading.Lock()}) == "`config['lock']` (lock)"
    assert unsendable({"model": {"rows": iter_rows()}}) == "`config['model']` (dict)"


def iter_rows():
    yield 1


def test_a_trial_whose_configuration_cannot_be_sent_has_failed(tmp_path):
    analysis = tune.run(
        lambda config: {"loss": 1},
        config={"lock": tune.grid_search([threading.Lock(), None])},
        raise_on_failed_trial=False,
        storage_path=str(tmp_path),
        orchestrate=False,
        verbose=0,
    )
    assert [trial.status for trial in analysis.trials] == ["ERROR", "TERMINATED"]
    assert "`config['lock']` (lock) cannot be sent" in analysis.trials[0].error_msg
