"""`Template`: a parsed search space, which is instantiated for every trial."""

from __future__ import annotations

import builtins
import copy
import functools
import math
import random
import re
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np

from prefect_tune.error import InvalidArgument
from prefect_tune.space.categorical import Categorical, Function, as_list
from prefect_tune.space.domain import Domain
from prefect_tune.space.samplers import Quantile

Path: TypeAlias = tuple[Any, ...]


class Variable:
    """A position in a search space whose value is drawn, enumerated or computed.

    Attributes:
        path: Keys and list indices from the root of the space.
        name: The path with "/" between its parts.
        domain: What is drawn or computed there; None for a grid.
        grid: The values of a grid; None otherwise.
        quantile: Maps a uniform number to a value; raises for grids and functions.
        nested: For values that hold containers or further variables, how to instantiate them,
            by the value's identity.
        nests_variables: Whether some of its values hold further variables.
        function: The user's function that decides the value; None otherwise.
    """

    __slots__ = (
        "domain",
        "function",
        "grid",
        "name",
        "nested",
        "nests_variables",
        "node",
        "path",
        "quantile",
        "slot",
    )

    def __init__(self, path: Path, node: int, slot: Any, marker: Any) -> None:
        self.path = path
        self.name = path_name(path)
        self.node = node
        self.slot = slot
        self.grid = _grid_values(marker, path)
        self.domain: Domain | None = None if self.grid is not None else _as_domain(marker, path)
        self.function = self.domain if isinstance(self.domain, Function) else None
        self.quantile: Quantile = _not_drawn
        if self.domain is not None and self.function is None:
            self.quantile = self.domain.quantile()
        self.nested: dict[int, Template] = {}
        values = self.domain.categories if isinstance(self.domain, Categorical) else self.grid
        for value in values or ():
            if may_hold_variables(value):
                self.nested[id(value)] = Template(value, path)
        self.nests_variables = any(template.variables for template in self.nested.values())

    @property
    def sort_key(self) -> list[tuple[bool, Any]]:
        """Orders variables by path, list indices as numbers and everything else as text."""
        return [(False, k) if isinstance(k, int) else (True, str(k)) for k in self.path]

    def template_of(self, value: Any) -> Template | None:
        """Return the template of a value of this variable; None for a value without parts."""
        if self.function is not None:
            return Template(value, self.path) if may_hold_variables(value) else None
        return self.nested.get(id(value)) if self.nested else None


Draw: TypeAlias = Callable[[Variable], Any]


class Template:
    """A value with variables in it, of which copies can be made.

    Instantiation copies containers (so that no trial can change another one's config) and takes
    everything else over by reference.

    Args:
        value: A constant, a domain, or a dict, list or tuple of those.
        path: Where in the space the value lies.

    Attributes:
        variables: Its variables, without those inside of their values.
        is_plain: Whether all of them are drawn, and their values used as they are.
    """

    def __init__(self, value: Any, path: Path = ()) -> None:
        self._value = value
        # What copies a container, the node that holds it, its key there. Node 0 is the outside.
        self._nodes: list[tuple[Callable[[], Any], int, Any]] = []
        self._tuples: list[tuple[int, type[tuple[Any, ...]]]] = []
        self.variables: list[Variable] = []
        self._parse(value, path, 0, None)
        self.is_plain = not self._tuples and all(
            v.grid is None and v.function is None and not v.nested for v in self.variables
        )

    def _parse(self, value: Any, path: Path, node: int, slot: Any) -> None:
        if is_variable(value):
            self.variables.append(Variable(path, node, slot, value))
            return
        source: Any
        items: Any
        if isinstance(value, dict):
            source, items = value, value.items()
        elif isinstance(value, list):
            source, items = value, enumerate(value)
        elif isinstance(value, tuple) and not _is_constant(value):
            source, items = list(value), enumerate(value)
        else:
            return
        self._nodes.append((_copier(source), node, slot))
        index = len(self._nodes)
        if isinstance(value, tuple):
            self._tuples.append((index, type(value)))
        for key, item in items:
            if may_hold_variables(item):
                self._parse(item, (*path, key), index, key)

    def instantiate(self, container: Any, key: Any) -> list[Any]:
        """Put a copy of the value at ``container[key]``, with variables still unresolved.

        Returns:
            The container of each node; a variable is to be assigned at
            ``containers[variable.node]``.
        """
        containers = [container]
        container[key] = self._value
        for copied, parent, slot in self._nodes:
            holder, place = containers[parent], slot if parent else key
            holder[place] = copied()
            # A dict with attributes may keep something else than it was given.
            containers.append(holder[place])
        return containers

    def draw(self, draw: Draw) -> Any:
        """Return a copy of the value with all variables drawn; only if `is_plain`."""
        if len(self._nodes) == 1:
            value = self._nodes[0][0]()
            for variable in self.variables:
                value[variable.slot] = draw(variable)
            return value
        box: list[Any] = [None]
        containers = self.instantiate(box, 0)
        for variable in self.variables:
            slot = variable.slot if variable.node else 0
            containers[variable.node][slot] = draw(variable)
        return box[0]

    def freeze_tuples(self, containers: list[Any], key: Any) -> None:
        """Turn the lists that stand for tuples while values are filled in into tuples."""
        for index, kind in reversed(self._tuples):
            _, parent, slot = self._nodes[index - 1]
            containers[parent][slot if parent else key] = _frozen(kind, containers[index])

    @property
    def has_tuples(self) -> bool:
        """Whether the value contains tuples, which `freeze_tuples` makes."""
        return bool(self._tuples)

    def walk(self) -> Iterator[Variable]:
        """Yield all variables of the value, including those inside of variables' values."""
        for variable in self.variables:
            yield variable
            for template in variable.nested.values():
                yield from template.walk()

    def grid_size(self) -> int:
        """Return the number of combinations of the grids outside of other values."""
        return math.prod(len(v.grid) for v in self.variables if v.grid is not None)


def _is_constant(value: tuple[Any, ...]) -> bool:
    """Return whether a tuple is of a user's class and contains no variables, such as a shape."""
    return type(value) is not tuple and not any(map(may_hold_variables, value))


def _frozen(kind: type[tuple[Any, ...]], values: list[Any]) -> tuple[Any, ...]:
    if hasattr(kind, "_fields"):
        return kind(*values)
    try:
        return kind(values)
    except Exception:  # whatever a class with other arguments raises
        return tuple(values)


def _copier(container: Any) -> Callable[[], Any]:
    """Return a function that copies a container, into the same class if possible."""
    if type(container.copy()) is type(container):
        return container.copy  # type: ignore[no-any-return]
    try:
        copy.copy(container)
    except Exception:  # such as the KeyError of a class with `__getattr__ = dict.__getitem__`
        return container.copy  # type: ignore[no-any-return]
    return functools.partial(copy.copy, container)


def is_variable(value: Any) -> bool:
    """Return whether a value of the space is a domain, a grid or an expression."""
    return isinstance(value, Domain) or (
        isinstance(value, dict)
        and len(value) == 1
        and (
            "grid_search" in value
            or (isinstance(text := value.get("eval"), str) and _is_expression(text))
        )
    )


#: The names that an expression can use.
_KNOWN_TO_EXPRESSIONS = ("spec", "config", "np", "random")


@functools.lru_cache(maxsize=256)
def _is_expression(text: str) -> bool:
    """Return whether the text below "eval" is meant as Python, or is data such as "f1-macro"."""
    try:
        names = compile(text.strip(), "<eval>", "eval").co_names
    except (SyntaxError, ValueError):  # the latter for NUL
        words = re.findall(r"[^\W\d]\w*", text)
        return not words or any(name in words for name in _KNOWN_TO_EXPRESSIONS)
    if not names or any(name in _KNOWN_TO_EXPRESSIONS for name in names):
        return True
    return "(" in text and all(hasattr(builtins, name) for name in names)


def may_hold_variables(value: Any) -> bool:
    """Return whether a value is a variable or a container, which may contain variables."""
    return isinstance(value, Domain | dict | list | tuple)


def path_name(path: Path) -> str:
    """Return the path as text, "a/b/0"."""
    return "/".join(map(str, path))


def _grid_values(marker: Any, path: Path) -> list[Any] | None:
    if isinstance(marker, Domain):
        if isinstance(marker, Categorical) and marker.is_grid():
            return marker.categories
        return None
    if "grid_search" not in marker:
        return None
    return as_list(f"grid_search of {path_name(path)!r}", marker["grid_search"])


def _as_domain(marker: Any, path: Path) -> Domain:
    return marker if isinstance(marker, Domain) else _expression(marker["eval"], path)


def _expression(text: str, path: Path) -> Function:
    """Make a `Function` of ``{"eval": "spec.config.x * 2"}``, used in spaces written as JSON.

    The text can use ``spec``, ``config``, ``np`` and ``random``; one with other names is data.
    """
    try:
        code = compile(text.strip(), f"<eval of {path_name(path)}>", "eval")
    except SyntaxError as error:
        raise InvalidArgument(
            path_name(path), f"{{'eval': {text!r}}} is not a Python expression: {error.msg}"
        ) from error

    def evaluate(spec: Any) -> Any:
        return eval(code, {"np": np, "random": random, "spec": spec, "config": spec.config})

    return Function(evaluate)


def _not_drawn(u: float) -> Any:
    raise TypeError("grids are enumerated and functions are called; neither is drawn")
