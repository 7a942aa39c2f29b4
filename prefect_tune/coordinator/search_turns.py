"""When it is the search's turn."""

from __future__ import annotations


class SearchTurns:
    """Counts what the search was asked for, so that enough trials wait for a slot and no more.

    Args:
        lookahead: How many trials may wait.
    """

    def __init__(self, lookahead: int) -> None:
        self._lookahead = lookahead
        self._asked = 0
        self._idle = False
        self._finished = False

    @property
    def is_over(self) -> bool:
        """True once no other trial will come."""
        return self._finished and self._asked == 0

    def ask(self, waiting: int) -> int:
        """How many more trials to ask for now, if so many wait for a slot; counts them as asked."""
        wanted = self._lookahead - waiting - self._asked
        if wanted <= 0 or self._finished or self._idle:
            return 0
        self._asked += wanted
        return wanted

    def answered(self) -> None:
        """It has suggested a trial."""
        self._asked = max(0, self._asked - 1)

    def pass_by(self, finished: bool) -> None:
        """It has nothing to suggest now, or never again."""
        self._asked = 0
        self._idle = True
        self._finished = self._finished or finished

    def reopen(self) -> None:
        """It may suggest more, although it said that it never would."""
        self._finished = self._idle = False

    def retry(self) -> None:
        """Something has happened on which a search may have waited."""
        self._idle = self._finished

    def explain(self) -> str:
        """What it has to do with it that no trial waits; "" if no other one will come."""
        if self.is_over:
            return ""
        if self._asked:
            return "the search was asked for a trial and has not answered yet"
        return "the search suggests no trial for now"
