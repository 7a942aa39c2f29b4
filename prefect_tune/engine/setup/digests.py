"""Digests and short texts of what users give, equal for equal objects, also of another process.

By the digests a repeated sweep is known, by the texts a resume says which arguments have changed.
Pickles do not serve as digests: they depend on which equal strings are one object, and on the order
of sets. Module names are left out: Prefect loads the file of a flow under another name than a
script has. A function counts by its compiled code, its defaults and the values that it closes over,
but without global variables, which may be anything.
"""

from __future__ import annotations

import copyreg
import enum
import functools
import hashlib
import inspect
import re
import types
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from prefect_tune.stopper import Stopper
from prefect_tune.text import in_words

_PLAIN = (type(None), bool, int, float, complex, str, bytes)
#: Number of objects that are looked into; any further object counts by its type only.
_MOST_OBJECTS = 500_000
_LONGEST = 80
_MOST_LEAVES = 300
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def content_digest(value: Any) -> str:
    """Return a digest of 32 hex digits for the content of an object.

    An object that cannot be looked into (a lock, a connection, an open file) counts by its type.

    Args:
        value: Any object.
    """
    return _Digester().digest(value).hex()


def code_digest(trainable: Any) -> str:
    """Return 16 hex digits that change with a trainable's source; "" if there is no source.

    Only the text of the function or class itself counts, not that of functions it calls.
    """
    while True:
        if isinstance(trainable, functools.partial):
            trainable = trainable.func
        elif hasattr(trainable, "__wrapped__"):
            trainable = trainable.__wrapped__
        else:
            break
    if not (inspect.isfunction(trainable) or inspect.ismethod(trainable)):
        trainable = trainable if inspect.isclass(trainable) else type(trainable)
    try:
        source = inspect.getsource(trainable)
    except (OSError, TypeError):
        return ""
    return hashlib.sha256(source.encode()).hexdigest()[:16]


class _Digester:
    """Computes the digest of one object and of all objects that it refers to."""

    def __init__(self) -> None:
        # Holds the objects, too, so that their ids are not used for other objects meanwhile.
        self._known: dict[int, tuple[Any, bytes]] = {}
        self._open: set[int] = set()

    def digest(self, value: Any) -> bytes:
        kind = type(value).__qualname__.encode()
        if type(value) in _PLAIN:
            return _hash([kind, value if isinstance(value, bytes) else _encoded(repr(value))])
        if id(value) in self._known:
            return self._known[id(value)][1]
        if id(value) in self._open or len(self._known) > _MOST_OBJECTS:
            return _hash([kind])
        self._open.add(id(value))
        try:
            digest = _hash([kind, *self._parts(value)])
        except Exception:
            # It is the user's object: it may refuse to be pickled with any error.
            digest = _hash([kind])
        finally:
            self._open.discard(id(value))
        self._known[id(value)] = (value, digest)
        return digest

    def _parts(self, value: Any) -> Iterator[bytes]:
        if isinstance(value, np.ndarray | np.generic):
            yield from self._array(np.asarray(value))
        elif isinstance(value, enum.Enum):
            yield _encoded(value.name)
        elif isinstance(value, Mapping):
            yield from sorted(_hash(map(self.digest, item)) for item in value.items())
        elif isinstance(value, list | tuple):
            yield from map(self.digest, value)
        elif isinstance(value, set | frozenset):
            yield from sorted(map(self.digest, value))
        elif isinstance(value, functools.partial):
            yield from map(self.digest, (value.func, value.args, value.keywords))
        elif isinstance(value, types.MethodType):
            yield from map(self.digest, (value.__func__, value.__self__))
        elif isinstance(value, types.FunctionType):
            yield from self._function(value)
        elif isinstance(value, types.CodeType):
            yield from self._code(value)
        elif isinstance(value, type):
            yield from self._class(value)
        elif isinstance(value, types.BuiltinFunctionType | types.ModuleType):
            yield _encoded(value.__name__)
        else:
            yield from self._object(value)

    def _array(self, array: np.ndarray[Any, Any]) -> Iterator[bytes]:
        yield _encoded(f"{array.dtype.str}{array.shape}")
        if array.dtype.hasobject:
            yield self.digest(array.tolist())
        else:
            yield hashlib.sha256(np.ascontiguousarray(array).data).digest()

    def _function(self, function: types.FunctionType) -> Iterator[bytes]:
        yield _encoded(function.__qualname__)
        yield from self._code(function.__code__)
        yield self.digest(function.__defaults__)
        yield self.digest(function.__kwdefaults__)
        for cell in function.__closure__ or ():
            try:
                yield self.digest(cell.cell_contents)
            except ValueError:  # the variable is not set yet
                yield b""

    def _code(self, code: types.CodeType) -> Iterator[bytes]:
        yield code.co_code
        # Line numbers and file names do not count.
        for part in (code.co_consts, code.co_names, code.co_varnames, code.co_freevars):
            yield self.digest(part)

    def _class(self, cls: type) -> Iterator[bytes]:
        yield _encoded(cls.__qualname__)
        for name, member in sorted(vars(cls).items()):
            if isinstance(member, staticmethod | classmethod):
                member = member.__func__
            elif isinstance(member, property):
                member = member.fget
            is_data = isinstance(member, (*_PLAIN, tuple)) and not name.startswith("__")
            if is_data or isinstance(member, types.FunctionType):
                yield _encoded(name)
                yield self.digest(member)
        # Base classes in the same module are part of the user's code; others may be a library's.
        for base in cls.__bases__:
            if base.__module__ == cls.__module__:
                yield self.digest(base)

    def _object(self, value: Any) -> Iterator[bytes]:
        reducer = copyreg.dispatch_table.get(type(value))
        reduced: Any = value.__reduce_ex__(4) if reducer is None else reducer(value)
        if isinstance(reduced, str):
            yield _encoded(reduced)
            return
        made_by, arguments, *rest = reduced
        yield _encoded(getattr(made_by, "__qualname__", type(made_by).__qualname__))
        yield self.digest(arguments)
        for part in rest:
            yield self.digest(list(part) if isinstance(part, Iterator) else part)


def _encoded(text: str) -> bytes:
    return text.encode(errors="surrogatepass")


def _hash(parts: Iterable[bytes]) -> bytes:
    hasher = hashlib.sha256()
    for part in parts:
        hasher.update(len(part).to_bytes(8, "little"))
        hasher.update(part)
    return hasher.digest()[:16]


def space_texts(space: Mapping[str, Any]) -> dict[str, str]:
    """Return the text of each parameter of a search space, by the parameter's path (``a/b``)."""
    texts = dict(_leaves(space, "")) if space else {}
    if len(texts) > _MOST_LEAVES:
        return {"": _short(repr(sorted(texts.items())))}
    return texts


def _leaves(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping) and value and "grid_search" not in value:
        for key, item in value.items():
            yield from _leaves(item, f"{path}/{key}" if path else str(key))
    else:
        yield path, stable_text(value)


def stable_text(value: Any) -> str:
    """Return a short text for any value, the same for equal values of another process."""
    if isinstance(value, Stopper):
        plain = {k: v for k, v in vars(value).items() if isinstance(v, (bool, int, float, str))}
        text = f"{type(value).__name__}({', '.join(f'{k}={v!r}' for k, v in plain.items())})"
    elif isinstance(value, (list, tuple)):
        text = f"[{', '.join(map(stable_text, value))}]"
    elif callable(value):
        text = str(getattr(value, "__qualname__", type(value).__qualname__))
    else:
        text = _ADDRESS.sub("", in_words(value, repr))
    return _short(text)


def _short(text: str) -> str:
    if len(text) <= _LONGEST:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    return f"{text[: _LONGEST - 12]}...{digest}"


def differences(before: Mapping[str, str], now: Mapping[str, str]) -> Iterator[str]:
    """Say of each argument that has changed how it has changed.

    Args:
        before: The texts of the old values by name.
        now: The texts of the new values by name.
    """
    for name in before:
        if name not in now:
            yield f"{name} is gone"
        elif before[name] != now[name]:
            yield f"{name} was {before[name]}, is {now[name]}"
    for name in now:
        if name not in before:
            yield f"{name} is new"
