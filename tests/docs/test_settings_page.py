"""The page of settings says what the code says."""

from __future__ import annotations

import runpy
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "docs" / "make_settings.py"


def test_the_page_is_up_to_date():
    script = runpy.run_path(str(SCRIPT))
    assert script["PAGE"].read_text(encoding="utf-8") == script["page"](), (
        "run `python docs/make_settings.py`"
    )
