"""Pickles the state of an experiment, in which objects that exist anyway are only named.

Schedulers refer to trials, now and then to the controller. So everything goes into one pickle, in
which a trial is one object whoever refers to it. Finished trials, which are written elsewhere, and
the parts of the experiment itself are referred to by name.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Mapping
from typing import Any

import cloudpickle

from prefect_tune.experiment.pickling.large import LargeValues
from prefect_tune.experiment.pickling.plain import (
    array_reference,
    data_reference,
    is_array_reference,
    load_plain,
)
from prefect_tune.experiment.trial import Trial

_TRIAL = "trial:"


def stands_for(name: str) -> Any:
    """What a name stands for; replaced by whoever loads the pickle.

    Raises:
        RuntimeError: If the pickle is loaded in any other way.
    """
    raise RuntimeError(f"{name!r} belongs to a snapshot, which only `load_state` can read")


def dump_state(
    state: Any,
    parts: Mapping[str, Any],
    is_stored: Callable[[Trial], bool],
    large: LargeValues | None = None,
) -> bytes:
    """Pickle a state.

    Args:
        state: What to pickle.
        parts: Objects that will be there when it is loaded, by name.
        is_stored: True for a trial that is written elsewhere.
        large: Keeps large values.

    Raises:
        Exception: Whatever objects in it raise that cannot be pickled.
    """
    buffer = io.BytesIO()
    # Python is asked about every single object then, which takes its time.
    kind = _KeepingPickler if large is not None and large.has_data else _Pickler
    kind(buffer, parts, is_stored, large).dump(state)
    return buffer.getvalue()


def load_state(
    data: bytes,
    parts: Mapping[str, Any],
    trials: Mapping[str, Trial],
    large: LargeValues | None = None,
) -> Any:
    """Load what `dump_state` has written.

    Args:
        data: The pickle; must come from a process of this experiment.
        parts: The objects by name.
        trials: The trials that were written elsewhere, by id.
        large: Has the large values.

    Raises:
        Exception: Whatever unpickling raises.
    """
    return _Unpickler(io.BytesIO(data), parts, trials, large).load()


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    def __init__(
        self,
        buffer: io.BytesIO,
        parts: Mapping[str, Any],
        is_stored: Callable[[Trial], bool],
        large: LargeValues | None,
    ) -> None:
        super().__init__(buffer, protocol=5)
        self._large = large
        self._names = {id(part): name for name, part in parts.items() if part is not None}
        self._is_stored = is_stored

    def reducer_override(self, obj: Any) -> Any:
        if type(obj) is Trial:
            if self._is_stored(obj):
                return stands_for, (_TRIAL + obj.trial_id,)
            return NotImplemented
        name = self._names.get(id(obj))
        if name is not None:
            return stands_for, (name,)
        if type(obj).__module__ == "numpy" and (kept := array_reference(obj, self._large)):
            return kept
        return super().reducer_override(obj)


class _KeepingPickler(_Pickler):
    def persistent_id(self, obj: Any) -> str | None:
        return data_reference(obj, self._large)


class _Unpickler(pickle.Unpickler):
    def __init__(
        self,
        buffer: io.BytesIO,
        parts: Mapping[str, Any],
        trials: Mapping[str, Trial],
        large: LargeValues | None,
    ) -> None:
        super().__init__(buffer)
        self._large = large
        self._parts = parts
        self._trials = trials

    def find_class(self, module: str, name: str) -> Any:
        if name == stands_for.__name__ and module == stands_for.__module__:
            return self._find
        if is_array_reference(module, name) and self._large is not None:
            return self._large.array
        return super().find_class(module, name)

    def persistent_load(self, name: Any) -> Any:
        if self._large is None:
            raise pickle.UnpicklingError(f"its large value {name!r} is elsewhere")
        return load_plain(self._large.data(name))

    def _find(self, name: str) -> Any:
        if name.startswith(_TRIAL):
            return self._trials[name.removeprefix(_TRIAL)]
        return self._parts[name]
