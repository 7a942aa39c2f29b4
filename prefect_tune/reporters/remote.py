"""Ray Tune's interface of reporters that may run elsewhere than what shows them."""

from __future__ import annotations

from typing import Any


class RemoteReporterMixin:
    """For reporters of your own that send what they show through a queue; override `display`.

    A sweep here calls its reporter in the process that has called `run` or `Tuner.fit`, never
    elsewhere, and sets no queue. So `output_queue` is what its owner has set, None by default.
    """

    _output_queue: Any = None

    @property
    def output_queue(self) -> Any:
        """Where to put what is shown; None to show it here."""
        return self._output_queue

    @output_queue.setter
    def output_queue(self, queue: Any) -> None:
        self._output_queue = queue

    def display(self, string: str) -> None:
        """Show a text.

        Raises:
            NotImplementedError: If the subclass does not override it.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say how to display a text.")
