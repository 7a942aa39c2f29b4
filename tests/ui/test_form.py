"""The form of a sweep opens in a browser, and nothing in it has to be written as JSON."""

from __future__ import annotations

from typing import Any

import pytest

from tests.ui.browser import Form


@pytest.mark.timeout(300)
def test_the_form_has_tabs_and_fields(ui: str, page: Any, tune_deployment: str) -> None:
    page.goto(f"{ui}/v2/deployments/deployment/{tune_deployment}/run")
    page.get_by_text("Import path of a function").wait_for()
    form = Form(page)
    item = form.add("space")
    for domain in ("Real number", "Whole number", "One of (texts)", "One of (numbers)", "Fixed"):
        item.tab("Domain", domain)
    for field, tab in {"scheduler": "pbt", "search": "optuna", "continue_from": "Resume"}.items():
        form.tab(field, tab)
    # What is JSON has an editor.
    assert page.locator(".cm-editor").count() == 0
    # All of it fits on the page.
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
