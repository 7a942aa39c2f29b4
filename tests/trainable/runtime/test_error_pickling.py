"""Exceptions travel, whatever they are made of."""

from __future__ import annotations

import pickle
import threading

import pytest

from prefect_tune.trainable.runtime.error_pickling import pickle_exception


class TwoArguments(Exception):
    def __init__(self, code, place):
        super().__init__(f"{code} at {place}")
        self.code = code


class MakesItsMessage(Exception):
    def __init__(self, what):
        super().__init__(f"cannot: {what}")


class HasALock(Exception):
    def __init__(self, message):
        super().__init__(message, threading.Lock())
        self.lock = threading.Lock()
        self.code = 3


def travelled(error):
    pickled = pickle_exception(error)
    assert pickled is not None
    return pickle.loads(pickled)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("a", 1),
        KeyError("a"),
        ExceptionGroup("many", [ValueError("a"), OSError(2, "no such file", "x")]),
        OSError(28, "No space left on device", "file"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid"),
        KeyboardInterrupt(),
        TwoArguments(3, "here"),
        MakesItsMessage("fly"),
    ],
    ids=repr,
)
@pytest.mark.parametrize("with_dask", [False, True], ids=["alone", "with_dask"])
def test_an_exception_is_the_same(error, with_dask):
    if with_dask:
        # It changes how all exceptions of the process are pickled.
        import distributed  # noqa: F401
    loaded = travelled(error)
    assert type(loaded) is type(error)
    assert repr(loaded) == repr(error)
    assert str(loaded) == str(error)


def test_arguments_of_its_own_are_kept():
    assert travelled(TwoArguments(3, "here")).code == 3


def test_what_cannot_travel_is_left_behind():
    loaded = travelled(HasALock("busy"))
    assert isinstance(loaded, HasALock)
    assert loaded.code == 3
    assert loaded.args[0] == "busy"
    assert not hasattr(loaded, "lock")


def test_notes_are_kept():
    error = TwoArguments(3, "here")
    error.add_note("in the third epoch")
    assert travelled(error).__notes__ == ["in the third epoch"]


def test_a_local_class_travels_by_value():
    class Local(Exception):
        pass

    assert repr(travelled(Local("x"))) == "Local('x')"


def test_a_class_that_makes_trouble_everywhere():
    class Stubborn(Exception):
        def __new__(cls, *args):
            if args != ("the word",):
                raise RuntimeError("no")
            return super().__new__(cls, *args)

        def __repr__(self):
            raise RuntimeError("no")

        def __reduce__(self):
            raise RuntimeError("no")

    error = Stubborn("the word")
    error.args = ("other",)
    assert pickle_exception(error) is None
