"""Registries of classes that users can give by name, as in `create_scheduler("asha")`."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

from prefect_tune._ray import missing_names
from prefect_tune.error import InvalidArgument

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class NamedClass(Generic[T]):
    """A registered class with the names that users can give.

    Attributes:
        name: The name that forms and documentation show.
        module: Name of the class's module, which is imported only when the class is used: it may
            need an optional library.
        class_name: Name of the class in its module.
        aliases: Further names that are accepted.
    """

    name: str
    module: str
    class_name: str
    aliases: tuple[str, ...] = ()

    def load(self) -> type[T]:
        """Import the class.

        Raises:
            ImportError: If an optional library is missing.
        """
        return cast(type[T], getattr(importlib.import_module(self.module), self.class_name))


class ClassRegistry(Generic[T]):
    """A registry of classes of one kind, such as schedulers, by name.

    Args:
        argument: Name of the user's argument that takes the names, for error messages.
        package: Package of the classes, in which Ray Tune's missing names are looked up.
        classes: The classes, in the order in which they are shown: names, of which the first one
            is shown -> module below the package, and class.
    """

    def __init__(self, argument: str, package: str, classes: Mapping[str, str]) -> None:
        self._argument = argument
        self._package = package
        self._classes: list[NamedClass[T]] = []
        for names, path in classes.items():
            name, *aliases = names.split()
            module, _, cls = path.rpartition(".")
            self._classes.append(NamedClass(name, f"{package}.{module}", cls, tuple(aliases)))
        self._by_name = {name: c for c in self._classes for name in (c.name, *c.aliases)}

    def __iter__(self) -> Iterator[NamedClass[T]]:
        return iter(self._classes)

    @property
    def names(self) -> tuple[str, ...]:
        """The names that forms and documentation show, one for each class."""
        return tuple(c.name for c in self._classes)

    def find(self, name: Any) -> NamedClass[T]:
        """Find a class by one of its names, in lower or upper case.

        Raises:
            InvalidArgument: If there is no class of that name; the message lists all names.
        """
        found = self._by_name.get(name.lower()) if isinstance(name, str) else None
        if found is None:
            later = missing_names.message(f"{self._package}.{name}")
            raise InvalidArgument(
                self._argument,
                later or f"there is no {name!r}.",
                f"Known: {', '.join(self._by_name)}.",
            )
        return found

    def create(self, name: str, **kwargs: Any) -> T:
        """Make an object of the class with this name.

        Args:
            name: Name of the class.
            **kwargs: Arguments of the class. Arguments that the class does not have are ignored, as
                in Ray Tune, so that one set of arguments can serve several classes.

        Raises:
            InvalidArgument: If there is no such class, or an argument has a wrong value.
        """
        cls = self.find(name).load()
        known = inspect.signature(cls).parameters
        return cls(**{key: value for key, value in kwargs.items() if key in known})
