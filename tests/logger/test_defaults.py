"""Which loggers are added."""

from __future__ import annotations

import logging

import pytest

from prefect_tune.callback import Callback
from prefect_tune.logger import (
    CSVLoggerCallback,
    JsonLoggerCallback,
    TBXLoggerCallback,
    default_loggers,
    defaults,
)


def kinds(callbacks: list[Callback]) -> list[type]:
    return [type(callback) for callback in callbacks]


def test_missing_loggers_are_added_at_the_end() -> None:
    given: list[Callback] = [Callback()]
    assert kinds(default_loggers(given, {})) == [
        Callback,
        CSVLoggerCallback,
        JsonLoggerCallback,
        TBXLoggerCallback,
    ]
    assert len(given) == 1
    assert len(default_loggers(None, {})) == 3


def test_loggers_that_are_there_are_not_added_again() -> None:
    class Mine(JsonLoggerCallback):
        pass

    mine = Mine()
    loggers = default_loggers([mine], {})
    assert kinds(loggers) == [Mine, CSVLoggerCallback, TBXLoggerCallback]
    assert loggers[0] is mine


def test_the_variable_adds_none() -> None:
    assert default_loggers([], {"TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1"}) == []
    assert len(default_loggers([], {"TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "0"})) == 3


def test_without_tensorboardx_one_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(defaults, "tensorboardx_missing", lambda: True)
    defaults._warn_once.cache_clear()
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert kinds(default_loggers([], {})) == [CSVLoggerCallback, JsonLoggerCallback]
    assert caplog.text.count("pip install") == 1
