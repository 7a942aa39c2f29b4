"""The API reference has every public name, and every docstring explains every argument."""

from __future__ import annotations

import argparse
import importlib
import inspect
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from griffe import Docstring, DocstringSectionKind

import prefect_tune
from prefect_tune.cli.commands import COMMANDS, load_command

FOLDER = Path(__file__).parents[2] / "docs" / "reference" / "api"
#: Every class has these; what they hold is the user's own.
OWN = {"args", "kwargs", "info", "spec"}


class Entry:
    """A function, class, property or method, under the name by which users call it."""

    def __init__(self, value: Any, name: str) -> None:
        self.value = getattr(value, "fn", value)  # a flow is its function
        self.name = name
        self.text = inspect.getdoc(self.value) or ""

    @property
    def parameters(self) -> list[inspect.Parameter]:
        """Return what it is called with, without `self`."""
        if isinstance(self.value, property) or is_exception(self.value):
            return []
        given = list(inspect.signature(self.value).parameters.values())
        if inspect.isfunction(self.value) and "." in self.name:
            return given[1:] if given and given[0].name in ("self", "cls") else given
        return given

    @property
    def described(self) -> set[str]:
        """Return the arguments that the docstring, or that of a base class, explains."""
        texts = [self.text]
        if inspect.isclass(self.value) and not is_exception(self.value):
            bases = self.value.__mro__[1:]
            ours = [base for base in bases if base.__module__.startswith("prefect_tune")]
            texts += [inspect.cleandoc(base.__doc__ or "") for base in ours]
        fields = set(getattr(self.value, "model_fields", {}))
        return (
            set().union(*map(arguments_in, texts)) | set(re.findall(r"`(\w+)`", self.text)) | fields
        )

    def members(self) -> Iterator[Entry]:
        """Yield the public methods and properties that no listed base class has already."""
        if not inspect.isclass(self.value) or is_exception(self.value):
            return
        listed = LISTED - {self.value}
        seen = {name for owner in self.value.__mro__ if owner in listed for name in vars(owner)}
        for owner in self.value.__mro__:
            if not owner.__module__.startswith("prefect_tune"):
                continue
            for name, member in vars(owner).items():
                function = getattr(member, "__func__", member)  # of a class or static method
                public = inspect.isfunction(function) or isinstance(function, property)
                if public and not name.startswith(("_", "test_")) and name not in seen:
                    seen.add(name)
                    yield Entry(function, f"{self.name}.{name}")


def arguments_in(text: str) -> set[str]:
    logging.getLogger("griffe").setLevel(logging.CRITICAL)  # types are in the signature
    kinds = (DocstringSectionKind.parameters, DocstringSectionKind.attributes)
    sections = (section for section in Docstring(text).parse("google") if section.kind in kinds)
    return {row.name.lstrip("*") for section in sections for row in section.value}


def is_exception(value: Any) -> bool:
    return inspect.isclass(value) and issubclass(value, BaseException)


def entries() -> Iterator[tuple[str, Entry]]:
    for page in sorted(FOLDER.glob("*.md")):
        for path in re.findall(r"^::: (\S+)$", page.read_text("utf-8"), re.MULTILINE):
            module, _, name = path.rpartition(".")
            yield page.stem, Entry(getattr(importlib.import_module(module), name), name)


ENTRIES = list(entries())
#: What these classes define is not looked at again for their subclasses.
LISTED = {entry.value for _, entry in ENTRIES if inspect.isclass(entry.value)}


def explained(entry: Entry, owner: Entry) -> set[str]:
    """Return the arguments that the docstring explains, or the class's, or a method's it names."""
    found = OWN | entry.described | owner.described
    for name in re.findall(r"`(\w+)`", entry.text):
        other = getattr(owner.value, name, None)
        if inspect.isfunction(other):
            found |= Entry(other, f"{owner.name}.{name}").described
    return found


def test_every_public_name_is_on_one_page() -> None:
    names = [entry.name for _, entry in ENTRIES]
    assert len(names) == len(set(names))
    assert not {name for name in prefect_tune.__all__ if not name.startswith("_")} - set(names)


def test_the_index_lists_every_name_and_page() -> None:
    index = (FOLDER / "index.md").read_text("utf-8")
    assert [
        name
        for page, entry in ENTRIES
        for name in (f"`{entry.name}`", f"({page}.md)")
        if name not in index
    ] == []


@pytest.mark.parametrize("entry", [e for _, e in ENTRIES], ids=lambda entry: entry.name)
def test_every_argument_is_explained(entry: Entry) -> None:
    assert entry.text
    missing = [p.name for p in entry.parameters if p.name not in explained(entry, entry)]
    assert not missing, f"the docstring of {entry.name} says nothing about {missing}"


@pytest.mark.parametrize(
    ("owner", "entry"),
    [
        pytest.param(owner, entry, id=entry.name)
        for page, owner in ENTRIES
        for entry in owner.members()
        if page != "testing"  # whoever subclasses a suite reads it
    ],
)
def test_every_method_and_its_arguments_are_explained(owner: Entry, entry: Entry) -> None:
    assert entry.text
    missing = [p.name for p in entry.parameters if p.name not in explained(entry, owner)]
    assert not missing, f"the docstring of {entry.name} says nothing about {missing}"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_of_the_command_line_is_explained(command: str) -> None:
    parser = argparse.ArgumentParser(command)
    load_command(command).configure(parser)
    assert [action.dest for action in parser._actions if not action.help] == []
