"""The API reference says what the code says, of every public name, with every argument."""

from __future__ import annotations

import inspect
import re
import runpy
from pathlib import Path
from typing import Any

import pytest

import prefect_tune

SCRIPT = Path(__file__).parents[2] / "docs" / "make_api.py"
API = runpy.run_path(str(SCRIPT))
ENTRIES = [(page, entry) for page in API["PAGES"] for entry in API["entries"](page)]
#: Every class has these; what they hold is the user's own.
OWN = {"args", "kwargs", "info", "spec"}


def explained(entry: Any, owner: Any) -> set[str]:
    """The arguments that a docstring explains, or the class's, or a method's that it names."""
    found = OWN | set(entry.described) | set(owner.described)
    for name in re.findall(r"`(\w+)`", entry.text):
        other = getattr(owner.value, name, None)
        if inspect.isfunction(other):
            found |= API["Entry"](other, f"{owner.name}.{name}").described
    return found


def test_the_pages_are_up_to_date() -> None:
    folder, pages = API["FOLDER"], API["render"]()
    assert {path.name for path in folder.glob("*.md")} == set(pages)
    stale = [name for name, text in pages.items() if (folder / name).read_text("utf-8") != text]
    assert not stale, "run `python docs/make_api.py`"


def test_every_public_name_is_on_one_page() -> None:
    names = [entry.name for _, entry in ENTRIES]
    assert len(names) == len(set(names))
    assert not {name for name in prefect_tune.__all__ if not name.startswith("_")} - set(names)


@pytest.mark.parametrize("entry", [e for _, e in ENTRIES], ids=lambda entry: entry.name)
def test_every_argument_is_explained(entry: Any) -> None:
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
def test_every_method_and_its_arguments_are_explained(owner: Any, entry: Any) -> None:
    assert entry.text
    missing = [p.name for p in entry.parameters if p.name not in explained(entry, owner)]
    assert not missing, f"the docstring of {entry.name} says nothing about {missing}"


def test_every_option_of_the_command_line_is_explained() -> None:
    page = API["render"]()["command-line.md"]
    assert not re.findall(r"^\| .* \|\s*\|$", page.replace("| argument | |", ""), re.MULTILINE)
