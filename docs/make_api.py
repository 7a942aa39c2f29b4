"""Writes `docs/reference/api/*.md` from the signatures and docstrings in the code.

Run it after a change of a public name or its docstring: ``python docs/make_api.py``. Docstrings are
parsed by griffe, which Prefect installs.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import logging
import re
import tomllib
from collections.abc import Iterator
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from griffe import Docstring, DocstringSectionKind

from prefect_tune.cli import PROGRAM
from prefect_tune.commands import ALIASES, COMMANDS

FOLDER = Path(__file__).parent / "reference" / "api"

#: Page -> its title, and module -> the names that are on it.
PAGES: dict[str, dict[str, str]] = tomllib.loads(
    (Path(__file__).parent / "api_pages.toml").read_text(encoding="utf-8")
)
_MADE = "\nThis page is made by `docs/make_api.py`.\n"
_CLI = "command-line"


class Entry:
    """Something public: what its signature and its docstring say.

    Args:
        value: A function, class, property or method.
        name: What users call it.
    """

    def __init__(self, value: Any, name: str) -> None:
        self.value = value
        self.name = name

    @cached_property
    def text(self) -> str:
        """The docstring."""
        return inspect.getdoc(self.value) or ""

    @cached_property
    def parameters(self) -> list[inspect.Parameter]:
        """What it is called with, without `self`."""
        if isinstance(self.value, property) or _is_exception(self.value):
            return []
        given = list(inspect.signature(self.value).parameters.values())
        if inspect.isfunction(self.value) and "." in self.name:
            return given[1:] if given and given[0].name in ("self", "cls") else given
        return given

    @cached_property
    def sections(self) -> list[Any]:
        """The docstring's parts; the arguments of a class may be explained at its base class."""
        sections = _parse(self.text)
        if inspect.isclass(self.value) and not _is_exception(self.value):
            for base in self.value.__mro__[1:]:
                if any(section.kind is DocstringSectionKind.parameters for section in sections):
                    break
                if base.__module__.startswith("prefect_tune"):
                    inherited = _parse(inspect.cleandoc(base.__doc__ or ""))
                    sections += [s for s in inherited if s.kind is DocstringSectionKind.parameters]
        return sections

    @property
    def _fields(self) -> dict[str, str]:
        """What a Pydantic model says about its arguments."""
        fields = getattr(self.value, "model_fields", {})
        return {name: field.description or "" for name, field in fields.items()}

    @property
    def described(self) -> set[str]:
        """The arguments that the docstring explains."""
        kinds = (DocstringSectionKind.parameters, DocstringSectionKind.attributes)
        rows = (row for section in self.sections if section.kind in kinds for row in section.value)
        mentioned = set(re.findall(r"`(\w+)`", self.text))
        return {row.name.lstrip("*") for row in rows} | mentioned | set(self._fields)

    @property
    def signature(self) -> str:
        """How it is called, one line if there is room."""
        parts, named = [], False
        for parameter in self.parameters:
            kind = parameter.kind
            if kind is kind.KEYWORD_ONLY and not named:
                parts.append("*")
            named = named or kind in (kind.KEYWORD_ONLY, kind.VAR_POSITIONAL)
            parts.append(_parameter(parameter))
        line = f"{self.name}({', '.join(parts)})"
        if len(line) <= 88:
            return line
        return f"{self.name}(\n" + "".join(f"    {part},\n" for part in parts) + ")"

    def members(self) -> Iterator[Entry]:
        """Public methods and properties of a class that no listed base class has already."""
        if not inspect.isclass(self.value) or _is_exception(self.value):
            return
        listed = _listed_classes() - {self.value}
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

    def markdown(self, level: int = 2) -> str:
        """The entry as a part of a page."""
        parts = [f"{'#' * level} `{self.name}`"]
        if inspect.isclass(self.value) and self.value.__name__ != self.name:
            return f"{parts[0]}\n\nAnother name of `{self.value.__name__}`."
        if not isinstance(self.value, property) and not _is_exception(self.value):
            parts.append(f"```text\n{self.signature}\n```")
        parts += [_section(section) for section in self.sections]
        if self._fields:
            rows = (f"* `{name}`: {_prose(text)}" for name, text in self._fields.items())
            parts.append("**Arguments**\n\n" + "\n".join(rows))
        if level == 2:
            parts += [member.markdown(3) for member in self.members()]
        return "\n\n".join(filter(None, parts))


def entries(page: str) -> list[Entry]:
    """What is on a page."""
    return [entry for module in _homes(page) for entry in _entries(page, module)]


def _homes(page: str) -> dict[str, str]:
    return {module: names for module, names in PAGES[page].items() if module != "title"}


def _entries(page: str, module: str) -> list[Entry]:
    found = []
    for name in _homes(page)[module].split():
        value = getattr(importlib.import_module(module), name)
        found.append(Entry(getattr(value, "fn", value), name))  # a flow is its function
    return found


def render() -> dict[str, str]:
    """The text of every page, by file name."""
    pages = {f"{page}.md": _page(page) for page in PAGES}
    pages[f"{_CLI}.md"] = _command_line()
    listing = [(page, home["title"]) for page, home in PAGES.items()] + [(_CLI, "Command line")]
    links = "\n".join(
        f"* [{title}]({page}.md)" + (f": {_listing(page)}" if page in PAGES else "")
        for page, title in listing
    )
    pages["index.md"] = f"# API reference\n{_MADE}\n{links}\n"
    return pages


def _page(page: str) -> str:
    parts = [f"# {PAGES[page]['title']}\n{_MADE}"]
    for module, names in _homes(page).items():
        whence = "import prefect_tune as tune" if module == "prefect_tune" else None
        line = whence or f"from {module} import {', '.join(names.split())}"
        wrapped = line if len(line) <= 88 else f"from {module} import ..."
        parts.append(f"```text\n{wrapped}\n```\n")
        parts += [f"{entry.markdown()}\n" for entry in _entries(page, module)]
    return "\n".join(parts)


def _listing(page: str) -> str:
    return ", ".join(f"`{name}`" for names in _homes(page).values() for name in names.split())


def _parse(text: str) -> list[Any]:
    logging.getLogger("griffe").setLevel(logging.CRITICAL)  # types are in the signature
    return Docstring(text).parse("google")


def _section(section: Any) -> str:
    kind = section.kind
    if kind is DocstringSectionKind.text:
        return _prose(section.value)
    if kind is DocstringSectionKind.admonition:
        return f"**{section.title}**\n\n{_prose(section.value.description)}"
    if kind is DocstringSectionKind.examples:
        return "**Example**\n\n" + "\n\n".join(f"```text\n{text}\n```" for _, text in section.value)
    rows = [
        f"* {_label(row, kind)}{_prose(row.description).replace(chr(10), ' ')}"
        for row in section.value
    ]
    titles = {"parameters": "Arguments", "returns": "Returns", "raises": "Raises"}
    title = titles.get(kind.value, kind.value.capitalize())
    return f"**{title}**\n\n" + "\n".join(rows)


def _label(row: Any, kind: DocstringSectionKind) -> str:
    name = str(row.annotation) if kind is DocstringSectionKind.raises else getattr(row, "name", "")
    if kind in (DocstringSectionKind.returns, DocstringSectionKind.yields):
        return f"`{row.annotation}`: " if row.annotation else ""
    return f"`{name}`: "


def _prose(text: str) -> str:
    """reStructuredText's ``literals`` as Markdown writes them."""
    text = text.strip().replace("```python", "```text")  # blocks of guides are run, not these
    return re.sub(r"(?<!`)``(?!`)(.+?)(?<!`)``(?!`)", r"`\1`", text, flags=re.DOTALL)


def _parameter(parameter: inspect.Parameter) -> str:
    kind = parameter.kind
    stars = "*" if kind is kind.VAR_POSITIONAL else "**" if kind is kind.VAR_KEYWORD else ""
    text = f"{stars}{parameter.name}"
    note = parameter.annotation
    if note is not parameter.empty:
        shown = note if isinstance(note, str) else inspect.formatannotation(note)
        text += f": {shown.strip(chr(39))}"
    if parameter.default is not parameter.empty:
        shown = repr(parameter.default)
        text += f" = {'...' if ' at 0x' in shown or shown.startswith('<') else shown}"
    return text


def _is_exception(value: Any) -> bool:
    return inspect.isclass(value) and issubclass(value, BaseException)


@cache
def _listed_classes() -> frozenset[type]:
    """The classes that have an entry; what they define is not repeated for their subclasses."""
    values = (entry.value for page in PAGES for entry in entries(page))
    return frozenset(value for value in values if inspect.isclass(value))


def _command_line() -> str:
    parts = [f"# Command line\n{_MADE}"]
    shorts = {long: short for short, long in ALIASES.items()}
    for name, entry in COMMANDS.items():
        parser = argparse.ArgumentParser(prog=f"{PROGRAM} {name}")
        entry.load().configure(parser)
        short = f" Its short name is `{shorts[name]}`." if name in shorts else ""
        summary = f"{entry.summary[0].upper()}{entry.summary[1:]}".split(" (short:")[0]
        rows = "\n".join(_option(action) for action in parser._actions if action.dest != "help")
        table = f"\n| argument | |\n|---|---|\n{rows}\n" if rows else ""
        parts.append(f"## `{PROGRAM} {name}`\n\n{summary}.{short}\n{table}")
    return "\n".join(parts)


def _option(action: argparse.Action) -> str:
    names = action.option_strings or [str(action.metavar or action.dest)]
    shown = ", ".join(f"`{name}`" for name in names)
    if action.choices is not None:
        shown += " " + ", ".join(f"`{choice}`" for choice in action.choices)
    elif action.option_strings and action.nargs != 0:
        shown += f" `{action.metavar or action.dest.upper()}`"
    text = (action.help or "") % {"default": action.default, "prog": PROGRAM}
    return f"| {shown} | {text.replace('|', chr(92) + '|')} |"


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    wanted = render()
    for old in FOLDER.glob("*.md"):
        if old.name not in wanted:
            old.unlink()
    for name, text in wanted.items():
        (FOLDER / name).write_text(text, encoding="utf-8")
