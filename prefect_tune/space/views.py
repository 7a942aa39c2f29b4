"""Read-only views of the values drawn so far, for functions given to `sample_from`.

Reading a value that is not yet drawn raises `UnresolvedAccess`, which ends the function's call; the
variant generator repeats the call when more values are known.
"""

from __future__ import annotations

from collections.abc import Callable, ItemsView, Iterator, Mapping, Sequence, ValuesView
from typing import Any, TypeAlias, overload

IsPending: TypeAlias = Callable[[Any], bool]


class UnresolvedAccess(Exception):
    """An error: a function read a value that is not drawn yet."""

    def __init__(self, key: Any) -> None:
        super().__init__(f"{key!r} has no value yet")
        self.key = key


class ConfigView(dict[Any, Any]):
    """A view of a configuration with item and attribute access, ``config["x"]`` and ``config.x``.

    The view is a dict, for functions that require one. A parameter named like a method of dicts
    hides the method once it is drawn, as in Ray Tune. Changes of the view do not change the
    configuration.
    """

    __slots__ = ("_is_pending",)

    def __init__(self, values: Mapping[Any, Any], is_pending: IsPending) -> None:
        super().__init__(dict.items(values) if isinstance(values, ConfigView) else values)
        self._is_pending = is_pending

    def __getitem__(self, key: Any) -> Any:
        return _view_of(super().__getitem__(key), key, self._is_pending)

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

    # Without this method, `dict(view)` and `{**view}` would not call `__getitem__`.
    def __iter__(self) -> Iterator[Any]:
        return super().__iter__()

    def get(self, key: Any, default: Any = None) -> Any:
        """Return the value of a parameter, or `default` if there is no such parameter."""
        try:
            return self[key]
        except KeyError:
            return default

    def items(self) -> ItemsView[Any, Any]:  # type: ignore[override]
        """Return the names and values of all parameters."""
        return ItemsView(self)

    def values(self) -> ValuesView[Any]:  # type: ignore[override]
        """Return the values of all parameters."""
        return ValuesView(self)

    def pop(self, key: Any, *default: Any) -> Any:
        """Remove a parameter from the view and return its value."""
        if key in self:
            default = (self[key],)
        super().pop(key, None)
        if not default:
            raise KeyError(key)
        return default[0]

    def copy(self) -> dict[Any, Any]:
        """Return the parameters as a plain dict."""
        return {key: self[key] for key in self}

    def __or__(self, other: Any) -> Any:
        return without_views(self) | other

    def __ror__(self, other: Any) -> Any:
        return other | without_views(self)

    def __eq__(self, other: object) -> bool:
        return bool(without_views(self) == other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = None

    def __reduce__(self) -> Any:
        return dict, (without_views(self),)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({super().__repr__()})"


class _WholeConfig(ConfigView):
    """``spec.config``: also finds parameters of ``generate_variants({"config": {...}})``."""

    __slots__ = ()

    def __missing__(self, key: Any) -> Any:
        inner = dict.get(self, "config")
        if isinstance(inner, dict) and key in inner:
            return inner[key]
        raise KeyError(key)


class SpecView(ConfigView):
    """The argument of functions: supports ``spec.config.x``, ``config["x"]`` and ``config.x``.

    ``spec.config`` is always the whole configuration. A parameter with the name "config" is
    ``spec["config"]`` or ``spec.config.config``.
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
    """A view of a list in which some values are not drawn yet; reading those raises an error."""

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
        return _view_of(self._values[index], index, self._is_pending)

    def __len__(self) -> int:
        return len(self._values)


def _view_of(value: Any, key: Any, is_pending: IsPending) -> Any:
    if is_pending(value):
        raise UnresolvedAccess(key)
    if isinstance(value, dict):
        return ConfigView(value, is_pending)
    if isinstance(value, list):
        # A `ListView` does not equal a list, so a list of known values is copied.
        if _has_pending(value, is_pending):
            return ListView(value, is_pending)
        return [_view_of(item, index, is_pending) for index, item in enumerate(value)]
    return value


def _has_pending(value: Any, is_pending: IsPending) -> bool:
    if isinstance(value, dict):
        return any(_has_pending(item, is_pending) for item in value.values())
    if isinstance(value, list):
        return any(_has_pending(item, is_pending) for item in value)
    return is_pending(value)


def without_views(value: Any) -> Any:
    """Replace all views in a function's return value by plain dicts and lists.

    Raises:
        UnresolvedAccess: A view holds a value that is not drawn yet.
    """
    if isinstance(value, ConfigView) or type(value) is dict:
        return {key: without_views(value[key]) for key in value}
    if isinstance(value, ListView) or type(value) is list:
        return [without_views(item) for item in value]
    if type(value) is tuple:
        return tuple(without_views(item) for item in value)
    return value
