"""The status block in a notebook, with a stand-in for IPython that records what is displayed."""

from __future__ import annotations

import sys
import types
from typing import Any

import pytest

from prefect_tune.experiment.trial import TERMINATED, Trial
from prefect_tune.reporters import JupyterNotebookReporter, make_reporter


class Handle:
    def __init__(self, shown: list[str]) -> None:
        self.shown = shown

    def update(self, shown: str) -> None:
        self.shown[-1] = shown


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What stands in the cell's output."""
    output: list[str] = []

    def display(content: str, display_id: bool) -> Handle:
        output.append(content)
        return Handle(output)

    ipython: Any = types.ModuleType("IPython")
    ipython.display = types.ModuleType("IPython.display")
    ipython.display.HTML = str
    ipython.display.display = display
    ipython.get_ipython = lambda: types.SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", ipython.display)
    return output


def make_trial(number: int) -> Trial:
    trial = Trial(f"t{number}", {}, trainable_name="f", evaluated_params={"<b>": "<script>"})
    trial.status, trial.last_result = TERMINATED, {"loss": 0.5}
    return trial


def test_it_is_replaced(shown: list[str]) -> None:
    reporter = JupyterNotebookReporter()
    reporter.setup(total_samples=2)
    reporter.report([make_trial(0)], False, "Using FIFO")
    reporter.report([make_trial(0), make_trial(1)], True)
    [html] = shown
    assert "Number of trials: 2/2" in html
    assert html.count("<tr>") == 3


def test_or_added(shown: list[str]) -> None:
    reporter = JupyterNotebookReporter(overwrite=False, max_progress_rows=1)
    for done in (False, True):
        reporter.report([make_trial(0), make_trial(1)], done)
    assert len(shown) == 2
    assert "1 more trials not shown" in shown[0]


def test_text_is_escaped(shown: list[str]) -> None:
    JupyterNotebookReporter().report([make_trial(0)], True)
    assert "<script>" not in shown[0]
    assert "&lt;script&gt;" in shown[0]


def test_it_is_the_one_for_a_notebook(shown: list[str]) -> None:
    assert isinstance(make_reporter(), JupyterNotebookReporter)


def test_without_ipython(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "IPython", None)
    with pytest.raises(ImportError, match="pip install ipython"):
        JupyterNotebookReporter()
