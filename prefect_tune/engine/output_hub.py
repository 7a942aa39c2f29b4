"""What trials print and log, for everybody who wants it."""

from __future__ import annotations

from collections.abc import Callable

from prefect_tune.reporters import TrialOutputPrinter
from prefect_tune.trainable.output import TrialLog, TrialOutput

Listener = Callable[[TrialOutput | TrialLog], None]


class OutputHub:
    """Takes what trials print and log, from any thread.

    Args:
        printer: Shows it on the console; None shows nothing there.
    """

    def __init__(self, printer: TrialOutputPrinter | None) -> None:
        self._printer = printer
        self._listeners: list[Listener] = []

    def listen(self, listener: Listener) -> None:
        """Have somebody told at once, in the thread that brings it; before the experiment runs."""
        self._listeners.append(listener)

    def put(self, output: TrialOutput | TrialLog) -> None:
        """Pass it on; an attempt's output comes before its end."""
        for listener in self._listeners:
            listener(output)
        if self._printer is not None and isinstance(output, TrialOutput):
            self._printer.put(output)

    def show(self, last: bool) -> None:
        """Print what has come; `last` if it will not be called again."""
        if self._printer is not None:
            self._printer.flush(last)
