"""Writes the table of searchers into `docs/guides/search-algorithms.md` from the code.

Run it after a change of the searchers: ``python docs/make_search_table.py``
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect_tune.error import InvalidArgument
from prefect_tune.named_classes import NamedClass
from prefect_tune.search import SEARCHERS, Searcher
from prefect_tune.search.libraries.base import LibrarySearcher
from prefect_tune.space import choice, uniform

PAGE = Path(__file__).parent / "guides" / "search-algorithms.md"
_BEGIN = "<!-- made by docs/make_search_table.py -->\n"
_END = "<!-- end -->\n"
_HEAD = """\
| name | class | extra | choices | conditional | several objectives | learns from earlier results |
|---|---|---|---|---|---|---|
"""


def page() -> str:
    """The text of the page, with the table as it should be."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(_BEGIN)
    after = rest.partition(_END)[2]
    rows = "".join(map(_row, SEARCHERS))
    return f"{before}{_BEGIN}{_HEAD}{rows}{_END}{after}"


def _row(entry: NamedClass[Any]) -> str:
    cls = entry.load()
    extra = {"optuna": "`optuna`", "auto": "of its choice"}.get(entry.name, "")
    learns = issubclass(cls, Searcher) and (
        cls.add_evaluated_point is not Searcher.add_evaluated_point
    )
    several = entry.name in ("optuna", "auto")
    choices = conditional = True
    if issubclass(cls, LibrarySearcher):
        extra = f"`{cls.extra}`" if cls.extra else ""
        choices = _can_search(cls, {"c": choice(["a", "b"])})
        conditional = _can_search(cls, {"c": choice([{"x": uniform(0, 1)}, {"y": 1}])})
    marks = (choices, conditional, several, learns)
    cells = [
        f"`{entry.name}`",
        f"`{entry.class_name}`",
        extra,
        *("yes" if m else "" for m in marks),
    ]
    return f"| {' | '.join(cells)} |\n"


def _can_search(cls: type[LibrarySearcher], space: dict[str, Any]) -> bool:
    try:
        cls.convert_search_space(space)
    except InvalidArgument:
        return False
    return True


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
