"""What a function given to `sample_from` sees: the values drawn so far, read-only.

A value that is still to be drawn cannot be read. Reading one ends the call; the variant generator
repeats it when more values are known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias, overload

IsPending: TypeAlias = Callable[[Any], bool]


class UnresolvedAccess(Exception):
    """A function read a value that is not drawn yet."""

    def __init__(self, key: Any) -> None:
        super().__init__(f"{key!r} has no value yet")
        self.key = key


class ConfigView(Mapping[Any, Any]):
    """A configuration with item access and attribute access, ``config["x"]`` and ``config.x``."""

    def __init__(self, values: Mapping[Any, Any], is_pending: IsPending) -> None:
        self._values = values
        self._is_pending = is_pending

    def __getitem__(self, key: Any) -> Any:
        return _guarded(self._values[key], key, self._is_pending)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        try:
            return self[name]
        except KeyError:
            known = ", ".join(map(str, self._values)) or "nothing"
            raise AttributeError(f"the config has no parameter {name!r}; it has {known}") from None

    def __iter__(self) -> Iterator[Any]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._values!r})"


class SpecView(ConfigView):
    """The root: ``spec.config.x`` in Ray 2.0's style, ``config["x"]`` and ``config.x`` in 2.60's.

    ``spec.config`` is always the whole configuration. A parameter that is itself called "config"
    is ``spec["config"]`` or ``spec.config.config``.
    """

    @property
    def config(self) -> ConfigView:
        """The configuration."""
        return ConfigView(self._values, self._is_pending)

    def __getitem__(self, key: Any) -> Any:
        if key == "config" and key not in self._values:
            return self.config
        return super().__getitem__(key)


class ListView(Sequence[Any]):
    """A list of the configuration in which something is not drawn yet, with the same guard."""

    def __init__(self, values: Sequence[Any], is_pending: IsPending) -> None:
        self._values = values
        self._is_pending = is_pending

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> list[Any]: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self._values)))]
        return _guarded(self._values[index], index, self._is_pending)

    def __len__(self) -> int:
        return len(self._values)


def _guarded(value: Any, key: Any, is_pending: IsPending) -> Any:
    if is_pending(value):
        raise UnresolvedAccess(key)
    if isinstance(value, dict):
        return ConfigView(value, is_pending)
    if isinstance(value, list):
        # A view equals no list, so functions get one wherever everything in it is known.
        if _has_pending(value, is_pending):
            return ListView(value, is_pending)
        return [_guarded(item, index, is_pending) for index, item in enumerate(value)]
    return value


def _has_pending(value: Any, is_pending: IsPending) -> bool:
    if isinstance(value, dict):
        return any(_has_pending(item, is_pending) for item in value.values())
    if isinstance(value, list):
        return any(_has_pending(item, is_pending) for item in value)
    return is_pending(value)


def plain(value: Any) -> Any:
    """The value with every view replaced by a plain dict or list, as a function may return one.

    Raises:
        UnresolvedAccess: A view holds a value that is not drawn yet.
    """
    if isinstance(value, ConfigView) or type(value) is dict:
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, ListView) or type(value) is list:
        return [plain(item) for item in value]
    if type(value) is tuple:
        return tuple(plain(item) for item in value)
    return value
