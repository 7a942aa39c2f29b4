"""What a function given to `sample_from` sees: the values drawn so far, read-only.

A value that is still to be drawn cannot be read. Reading one ends the call; the variant generator
repeats it when more values are known.
"""

from __future__ import annotations

from collections.abc import Callable, ItemsView, Iterator, Mapping, Sequence, ValuesView
from typing import Any, TypeAlias, overload

IsPending: TypeAlias = Callable[[Any], bool]


class UnresolvedAccess(Exception):
    """A function read a value that is not drawn yet."""

    def __init__(self, key: Any) -> None:
        super().__init__(f"{key!r} has no value yet")
        self.key = key


class ConfigView(dict[Any, Any]):
    """A configuration with item access and attribute access, ``config["x"]`` and ``config.x``.

    It is a dict, for functions that ask for one; a parameter called like a method of dicts hides
    the method once it is drawn, as in Ray Tune. What is changed in it does not reach the
    configuration.
    """

    __slots__ = ("_is_pending",)

    def __init__(self, values: Mapping[Any, Any], is_pending: IsPending) -> None:
        super().__init__(dict.items(values) if isinstance(values, ConfigView) else values)
        self._is_pending = is_pending

    def __getitem__(self, key: Any) -> Any:
        return _guarded(super().__getitem__(key), key, self._is_pending)

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("_") or not dict.__contains__(self, name):
            return super().__getattribute__(name)
        try:
            return self[name]
        except UnresolvedAccess:
            if hasattr(dict, name):
                return super().__getattribute__(name)
            raise

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        try:
            return self[name]
        except KeyError:
            known = ", ".join(map(str, self)) or "nothing"
            raise AttributeError(f"the config has no parameter {name!r}; it has {known}") from None

    # Without an `__iter__` of its own, `dict(view)` and `{**view}` would read past the guard.
    def __iter__(self) -> Iterator[Any]:
        return super().__iter__()

    def get(self, key: Any, default: Any = None) -> Any:
        """Return the value of a parameter, `default` if there is none."""
        try:
            return self[key]
        except KeyError:
            return default

    def items(self) -> ItemsView[Any, Any]:  # type: ignore[override]
        """Return the names and values."""
        return ItemsView(self)

    def values(self) -> ValuesView[Any]:  # type: ignore[override]
        """Return the values."""
        return ValuesView(self)

    def pop(self, key: Any, *default: Any) -> Any:
        """Take a parameter out of the view."""
        if key in self:
            default = (self[key],)
        super().pop(key, None)
        if not default:
            raise KeyError(key)
        return default[0]

    def copy(self) -> dict[Any, Any]:
        """Return a plain dict of the same."""
        return {key: self[key] for key in self}

    def __or__(self, other: Any) -> Any:
        return plain(self) | other

    def __ror__(self, other: Any) -> Any:
        return other | plain(self)

    def __eq__(self, other: object) -> bool:
        return bool(plain(self) == other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = None

    def __reduce__(self) -> Any:
        return dict, (plain(self),)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({super().__repr__()})"


class _WholeConfig(ConfigView):
    """The configuration; for `generate_variants({"config": {...}})` the part that is meant."""

    __slots__ = ()

    def __missing__(self, key: Any) -> Any:
        inner = dict.get(self, "config")
        if isinstance(inner, dict) and key in inner:
            return inner[key]
        raise KeyError(key)


class SpecView(ConfigView):
    """The root: ``spec.config.x`` in Ray 2.0's style, ``config["x"]`` and ``config.x`` in 2.60's.

    ``spec.config`` is always the whole configuration. A parameter that is itself called "config"
    is ``spec["config"]`` or ``spec.config.config``.
    """

    __slots__ = ()

    def __getattribute__(self, name: str) -> Any:
        if name == "config":
            return _WholeConfig(self, self._is_pending)
        return super().__getattribute__(name)

    config: ConfigView

    def __missing__(self, key: Any) -> Any:
        if key == "config":
            return self.config
        raise KeyError(key)


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
        return {key: plain(value[key]) for key in value}
    if isinstance(value, ListView) or type(value) is list:
        return [plain(item) for item in value]
    if type(value) is tuple:
        return tuple(plain(item) for item in value)
    return value
