"""A browser, and the forms of Prefect's UI as a person fills them in."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

#: Where the pictures of the docs go; a temporary directory if it is not set.
IMAGES = "PREFECT_TUNE_UI_IMAGES"
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_PATIENCE_MS = 120_000
_SORTABLE = "./button[@aria-roledescription='sortable']"


@contextlib.contextmanager
def browser() -> Iterator[Any]:
    """A page of a Chromium that is installed; skips the test where there is none."""
    api = pytest.importorskip(
        "playwright.sync_api", reason="needs Playwright: pip install -r requirements-ui.txt"
    )
    program = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if program is None:
        pytest.skip("needs Chromium, e.g. apt-get install chromium")
    with api.sync_playwright() as playwright:
        # As root, in a container, its sandbox does not start.
        chromium = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = chromium.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(_PATIENCE_MS)
        yield page
        chromium.close()


class Screenshots:
    """Pictures of pages, small enough for a repository.

    Args:
        directory: Where they go.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = Path(os.environ.get(IMAGES, directory))

    def take(self, page: Any, name: str, height: int = 900) -> None:
        """Write a picture of what the page shows."""
        from PIL import Image

        page.set_viewport_size({"width": 1280, "height": height})
        # Charts and lists move into their places.
        page.wait_for_timeout(2000)
        picture = Image.open(io.BytesIO(page.screenshot()))
        self._directory.mkdir(parents=True, exist_ok=True)
        picture.convert("RGB").quantize(64).save(self._directory / f"{name}.png", optimize=True)


def send(page: Any, path: str, click: Callable[[], None]) -> Any:
    """Click until the API has taken a request; gives its answer.

    Args:
        page: The page.
        path: Part of the request's address.
        click: Has the page send the request.
    """
    for _ in range(20):
        with page.expect_response(
            # The page reads meanwhile, for instance whether a name is free, where 404 is good news.
            lambda answer: path in answer.url and answer.request.method != "GET"
        ) as sent:
            click()
        # Prefect's answer where two writers of SQLite meet: try again in a moment, as people do.
        if sent.value.status != 503:
            break
        page.wait_for_timeout(1000)
    assert sent.value.ok, sent.value.text()
    return sent.value


def submit(page: Any, screenshots: Screenshots) -> None:
    """Send a form that starts a run; where it is refused, a picture of it is left."""
    try:
        send(page, "create_flow_run", page.get_by_role("button", name="Submit").click)
    except Exception:
        screenshots.take(page, "refused", 8000)
        raise


class Form:
    """A form, or the part of one inside a field.

    Args:
        page: The page.
        root: What holds the fields.
        depth: How many lists they are in.
    """

    def __init__(self, page: Any, root: Any = None, depth: int = 0) -> None:
        self._page = page
        self.root = root or page
        self._depth = depth

    def field(self, name: str) -> Any:
        """The field with a label."""
        label = re.compile(rf"^{re.escape(name)}( \(Optional\))?$")
        labels = self.root.locator("label").filter(has_text=label)
        return labels.first.locator("xpath=ancestor::*[./fieldset][1]")

    def inside(self, name: str) -> Form:
        """The form in a field."""
        return Form(self._page, self.field(name), self._depth)

    def fill(self, name: str, value: Any) -> None:
        """Type a text or a number."""
        inputs = self.field(name).locator("textarea, input:not([type=checkbox])")
        inputs.first.fill(str(value))

    def tab(self, name: str, title: str) -> Form:
        """Choose a tab of a field; gives the form in it."""
        self.field(name).get_by_role("tab", name=title, exact=True).first.click()
        return self.inside(name)

    def select(self, name: str, option: str) -> None:
        """Choose from a list."""
        self.field(name).locator("button[aria-haspopup=listbox], [role=combobox]").first.click()
        self._page.get_by_role("option", name=option, exact=True).click()

    def add(self, name: str) -> Form:
        """Add an item to a list; gives the form of the item."""
        field = self.field(name)
        own = f".//div[{_SORTABLE}][count(ancestor::div[{_SORTABLE}])={self._depth}]"
        items = field.locator(f"xpath={own}")
        before = items.count()
        field.get_by_role("button", name="Add item").last.click()
        return Form(self._page, items.nth(before), self._depth + 1)

    def add_value(self, name: str, value: Any) -> None:
        """Add a text or a number to a list."""
        self.add(name).root.locator("textarea, input").first.fill(str(value))
