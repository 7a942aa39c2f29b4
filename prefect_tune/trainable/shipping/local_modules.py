"""Sends the source of modules next to the user's script to nodes that lack the files.

A trainable refers to its modules by name, and a node imports them. Installed modules exist on every
node, but files next to the script only where the driver's directories are mounted. So the source of
such modules is sent with the trainable, and used where an import finds nothing else.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.abc
import importlib.util
import logging
import os
import re
import sys
import types
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from pathlib import Path

_logger = logging.getLogger("prefect_tune")
#: Modules that are never sent: nodes have this package, and code of the script is pickled.
_LEFT_OUT = (__name__.partition(".")[0], "__main__")
#: Directories of installed modules.
_INSTALLED = ("site-packages", "dist-packages")
#: Bytes of source that are sent to each node at most.
_MAX_BYTES = 4 << 20
#: Directories that an error names at most.
_MAX_PLACES = 6
#: An import statement: the module and the names of ``from ... import ...``, or the modules.
_IMPORT = re.compile(
    rb"^[ \t]*(?:from[ \t]+([\w.]+)[ \t]+import\b[ \t(]*([\w, \t]*)|import[ \t]+([\w., \t]+))", re.M
)


@dataclass(frozen=True, slots=True)
class ModuleSource:
    """Source of a module that is sent to the nodes.

    Attributes:
        name: Full name of the module.
        path: The module's file on the driver.
        source: Content of the file; empty for a package without a file.
        is_package: True if the module may have submodules.
    """

    name: str
    path: str
    source: bytes
    is_package: bool


def local_modules() -> tuple[ModuleSource, ...]:
    """Return the modules in the script's directory or below the working directory that it uses.

    These are the imported ones, and those that they and the script have import statements for, such
    as in functions. Installed modules, and modules that cannot be imported by their names, are left
    out.
    """
    main = getattr(sys.modules.get("__main__"), "__file__", None)
    places = [Path.cwd(), *([Path(main).resolve().parent] if main else [])]
    python = [Path(prefix) for prefix in (sys.prefix, sys.base_prefix)]
    roots = {
        os.path.abspath(entry)
        for entry in sys.path
        if any((root := Path(entry).resolve()).is_relative_to(place) for place in places)
        and not any(root.is_relative_to(prefix) for prefix in python)
        and not any(part in _INSTALLED for part in root.parts)
    }
    modules = {module.name: module for module in _modules_in(roots)} if roots else {}
    size = sum(len(module.source) for module in modules.values())
    if size > _MAX_BYTES:
        _logger.info(
            "The modules next to the script have %d MiB, which is too much to send to nodes that "
            "lack them.",
            size >> 20,
        )
        return ()
    unread = list(modules.values())
    if main and os.path.isfile(main):
        unread.append(ModuleSource("__main__", main, Path(main).read_bytes(), is_package=False))
    seen: set[str] = set()
    while unread:
        for name in _imports_in(unread.pop()):
            top = name.partition(".")[0]
            if name in seen or name in sys.modules or top in _LEFT_OUT:
                continue
            seen.add(name)
            if top in sys.modules and top not in modules:  # it is installed
                continue
            if (later := _find(name, roots)) is None:
                continue
            size += len(later.source)
            if size <= _MAX_BYTES:
                modules[name] = later
                for parent in _parents(name):  # a namespace package
                    modules.setdefault(parent, ModuleSource(parent, "", b"", is_package=True))
                unread.append(later)
    return tuple(modules.values())


def import_places() -> str:
    """Describe where this process looks for modules, for the error about one that is missing."""
    places = [os.path.abspath(path) for path in sys.path if os.path.isdir(path or os.curdir)]
    more = " and others" if len(places) > _MAX_PLACES else ""
    return (
        f"{sys.executable}, working in {os.getcwd()}, looks in "
        f"{', '.join(places[:_MAX_PLACES])}{more}"
    )


def register_modules(modules: Iterable[ModuleSource]) -> None:
    """Let imports in this process and its forks find these modules if they find no other."""
    missing = {module.name: module for module in modules if module.name not in sys.modules}
    if missing:
        sys.meta_path[:] = [f for f in sys.meta_path if not isinstance(f, _Finder)]
        sys.meta_path.append(_Finder(missing))


def _modules_in(roots: set[str]) -> Iterator[ModuleSource]:
    below_roots = tuple(os.path.join(root, "") for root in roots)
    for name, module in list(sys.modules.items()):
        # `isinstance` would accept objects that only claim to be modules, such as cffi libraries.
        if not issubclass(type(module), types.ModuleType):
            continue
        # `getattr` would load a lazy module.
        file = object.__getattribute__(module, "__dict__").get("__file__")
        if not isinstance(file, str) or not file.startswith(below_roots):
            continue
        if name.partition(".")[0] in _LEFT_OUT:
            continue
        below = name.replace(".", os.sep)
        is_package = _root(file, os.path.join(below, "__init__.py")) in roots
        if not is_package and _root(file, below + ".py") not in roots:
            continue  # the module cannot be imported by its name
        try:
            source = Path(file).read_bytes()
        except OSError:  # the file was deleted after the import
            continue
        # A namespace package has no file.
        for parent in _parents(name):
            if getattr(sys.modules.get(parent), "__file__", None) is None:
                yield ModuleSource(parent, "", b"", is_package=True)
        yield ModuleSource(name, file, source, is_package)


@functools.lru_cache(maxsize=1000)
def _imports_in(module: ModuleSource) -> tuple[str, ...]:
    """Return the names of what a module may import, parents first; each sweep asks for them."""
    found: dict[str, None] = {}
    package = module.name if module.is_package else module.name.rpartition(".")[0]
    for line in _IMPORT.finditer(module.source):
        source, members, plain = (group.decode() for group in line.groups(b""))
        names = [name.split()[0] for name in (members or plain).split(",") if name.strip()]
        if source:
            try:
                source = importlib.util.resolve_name(source, package)
            except ImportError:  # too many dots
                continue
            names = [source, *(f"{source}.{name}" for name in names)]
        for name in names:
            found.update(dict.fromkeys([*_parents(name), name]))
    return tuple(found)


def _find(name: str, roots: Iterable[str]) -> ModuleSource | None:
    for root in roots:
        path = os.path.join(root, *name.split("."))
        for file, is_package in ((os.path.join(path, "__init__.py"), True), (f"{path}.py", False)):
            with contextlib.suppress(OSError):
                return ModuleSource(name, file, Path(file).read_bytes(), is_package)
    return None


def _root(file: str, below: str) -> str | None:
    """Return the directory in which `file` has the relative path `below`; None if there is none."""
    end = os.sep + below
    return file[: -len(end)] if file.endswith(end) else None


def _parents(name: str) -> Iterator[str]:
    parts = name.split(".")
    return (".".join(parts[:count]) for count in range(1, len(parts)))


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Finds and loads modules from the sources that came with a trainable."""

    def __init__(self, modules: dict[str, ModuleSource]) -> None:
        self._modules = modules

    def find_spec(
        self, fullname: str, path: object = None, target: types.ModuleType | None = None
    ) -> ModuleSpec | None:
        module = self._modules.get(fullname)
        if module is None:
            return None
        spec = importlib.util.spec_from_loader(
            fullname, self, origin=module.path or None, is_package=module.is_package
        )
        if spec is not None:
            spec.has_location = bool(module.path)  # sets `__file__`
        return spec

    def is_package(self, fullname: str) -> bool:
        return self._modules[fullname].is_package

    def get_source(self, fullname: str) -> str:
        return importlib.util.decode_source(self._modules[fullname].source)

    def get_code(self, fullname: str) -> types.CodeType:
        module = self._modules[fullname]
        return self.source_to_code(module.source, module.path or f"<{fullname}>")
