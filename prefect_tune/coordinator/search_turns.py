"""Decides when the search is asked for trials, and for how many."""

from __future__ import annotations


class SearchTurns:
    """Counts the trials that the search was asked for, so that enough trials wait for a slot.

    Args:
        lookahead: How many trials may wait for a slot.
    """

    def __init__(self, lookahead: int) -> None:
        self._lookahead = lookahead
        self._asked = 0
        self._idle = False
        self._finished = False

    @property
    def is_over(self) -> bool:
        """True once the search will suggest no further trial."""
        return self._finished and self._asked == 0

    @property
    def may_ask(self) -> bool:
        """False if the search must not be asked now, however few trials wait."""
        return not (self._idle or self._finished) and self._asked < self._lookahead

    def ask(self, waiting: int) -> int:
        """Return how many more trials to ask for if `waiting` ones wait; count them as asked."""
        wanted = self._lookahead - waiting - self._asked
        if wanted <= 0 or not self.may_ask:
            return 0
        self._asked += wanted
        return wanted

    def answered(self) -> None:
        """Note that the search has suggested a trial."""
        self._asked = max(0, self._asked - 1)

    def set_idle(self, finished: bool) -> None:
        """Note that the search has no suggestion for now, or never again if `finished`."""
        self._asked = 0
        self._idle = True
        self._finished = self._finished or finished

    def reopen(self) -> None:
        """Ask a search again that had finished, because samples were added."""
        self._finished = self._idle = False

    def retry(self) -> None:
        """Ask a search again that had no suggestion, because something has changed."""
        self._idle = self._finished

    def explain(self) -> str:
        """Return what the search does while no trial waits; "" if it has finished."""
        if self.is_over:
            return ""
        if self._asked:
            return "the search was asked for a trial and has not answered yet"
        return "the search suggests no trial for now"
