"""Callbacks and lists of them."""

from __future__ import annotations

from typing import Any

import pytest

from prefect_tune.callback import (
    HOOKS,
    Callback,
    CallbackList,
    callbacks_of_environment,
    overrides,
)
from prefect_tune.error import InvalidArgument
from prefect_tune.experiment.trial import Trial

TRIAL = Trial("1", {})


class Recorder(Callback):
    def __init__(self, name: str, seen: list[Any]) -> None:
        self.name = name
        self.seen = seen

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        self.seen.append((self.name, iteration, trial, result))


class Failing(Callback):
    def on_step_end(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        raise KeyError("loss")


def test_hooks_are_those_of_ray() -> None:
    assert {
        "setup",
        "on_step_begin",
        "on_step_end",
        "on_trial_start",
        "on_trial_restore",
        "on_trial_save",
        "on_trial_result",
        "on_trial_complete",
        "on_trial_recover",
        "on_trial_error",
        "on_checkpoint",
        "on_experiment_end",
    } == HOOKS


def test_every_hook_does_nothing_by_default() -> None:
    callback = Callback()
    callback.setup()
    callback.on_step_begin(iteration=1, trials=[])
    callback.on_step_end(iteration=1, trials=[])
    for hook in ("start", "restore", "save", "complete", "recover", "error"):
        getattr(callback, f"on_trial_{hook}")(iteration=1, trials=[TRIAL], trial=TRIAL)
    callback.on_trial_result(iteration=1, trials=[TRIAL], trial=TRIAL, result={})
    callback.on_checkpoint(iteration=1, trials=[TRIAL], trial=TRIAL, checkpoint=None)
    callback.on_experiment_end(trials=[TRIAL])
    assert callback.get_state() is None
    callback.set_state({})


def test_callbacks_are_called_in_list_order() -> None:
    seen: list[Any] = []
    callbacks = CallbackList([Recorder("b", seen), Callback(), Recorder("a", seen)])
    callbacks.on_trial_result(iteration=3, trials=[TRIAL], trial=TRIAL, result={"x": 1})
    assert seen == [("b", 3, TRIAL, {"x": 1}), ("a", 3, TRIAL, {"x": 1})]


def test_a_failure_names_callback_and_hook() -> None:
    with pytest.raises(KeyError, match=r"Failing.*on_step_end.*KeyError"):
        CallbackList([Failing()]).on_step_end(iteration=1, trials=[])


def test_a_list_has_only_the_hooks() -> None:
    with pytest.raises(AttributeError, match="on_trial_resutl"):
        CallbackList([]).on_trial_resutl(result={})


def test_listens_only_to_overridden_hooks() -> None:
    callbacks = CallbackList([Failing()])
    assert callbacks.listens("on_step_end")
    assert not callbacks.listens("on_step_begin")


def test_hooks_may_be_set_on_the_object() -> None:
    callback = Callback()
    callback.on_step_end = lambda iteration, trials, **info: None  # type: ignore[method-assign]
    assert overrides(callback, "on_step_end")


def test_states_go_back_to_where_they_came_from() -> None:
    class Stateful(Callback):
        def __init__(self, count: int) -> None:
            self.count = count

        def get_state(self) -> dict[str, Any] | None:
            return {"count": self.count}

        def set_state(self, state: dict[str, Any]) -> None:
            self.count = state["count"]

    saved = CallbackList([Stateful(1), Callback(), Stateful(2)]).get_state()
    assert len(saved) == 2
    restored = [Stateful(0), Callback(), Stateful(0)]
    CallbackList(restored).set_state(saved)
    assert [c.count for c in restored if isinstance(c, Stateful)] == [1, 2]


class NamedInEnvironment(Callback):
    pass


class NeedsArguments(Callback):
    def __init__(self, path: str) -> None:
        self.path = path


def test_callbacks_named_in_the_environment() -> None:
    names = f" {__name__}.NamedInEnvironment ,{__name__}.Failing,"
    made = callbacks_of_environment({"RAY_TUNE_CALLBACKS": names})
    assert [type(callback) for callback in made] == [NamedInEnvironment, Failing]
    assert callbacks_of_environment({}) == []


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("nothing_of_the_kind.A", "No module named"),
        (f"{__name__}.Missing", "no attribute"),
        (f"{__name__}.TRIAL", "no subclass"),
        (f"{__name__}.NeedsArguments", "called without arguments"),
        ("Callback", "cannot be imported"),
    ],
)
def test_wrong_names_in_the_environment(name: str, problem: str) -> None:
    with pytest.raises(InvalidArgument, match=problem) as caught:
        callbacks_of_environment({"RAY_TUNE_CALLBACKS": name})
    assert name in str(caught.value)


def failing_in(hook: str) -> Callback:
    def fail(*args: Any, **info: Any) -> None:
        raise ValueError("no room")

    callback = Callback()
    setattr(callback, hook, fail)
    return callback


@pytest.mark.parametrize("hook", sorted(HOOKS))
def test_a_failure_in_any_hook_is_raised_unless_it_is_to_be_logged(
    hook: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ValueError, match=rf"The callback Callback failed in {hook}: ValueError"):
        CallbackList([failing_in(hook)]).call(hook)
    told: list[str] = []
    after = Callback()
    setattr(after, hook, lambda: told.append(hook))
    callbacks = CallbackList([failing_in(hook), after], log_errors=True)
    callbacks.call(hook)
    assert told == [hook]
    (record,) = caplog.records
    assert f"failed in {hook}: ValueError: no room" in record.getMessage()
    assert record.exc_info is not None


def test_failures_that_repeat_are_counted_not_repeated(caplog: pytest.LogCaptureFixture) -> None:
    callbacks = CallbackList([failing_in("on_step_end")], log_errors=True)
    for _ in range(50):
        callbacks.call("on_step_end")
    assert len(caplog.records) == 1
    callbacks.call("on_experiment_end")
    assert [r.getMessage() for r in caplog.records[1:]] == [
        "The callback Callback failed 50 times in on_step_end."
    ]
