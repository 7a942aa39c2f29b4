"""Parse and check conditions on metrics and parameters, such as ``latency <= 20``."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from prefect_tune.error import InvalidArgument

_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">=": operator.ge,
    ">": operator.gt,
}
_FORM = re.compile(r"\s*(?P<name>\S.*?)\s*(?P<operator><=|>=|==|!=|<|>)\s*(?P<value>.*?)\s*")


@dataclass(frozen=True, slots=True)
class Condition:
    """A comparison of a metric or parameter with a value, ``name operator value``.

    Attributes:
        name: Name of a metric or, with ``config/`` in front, of a parameter.
        operator: ``<``, ``<=``, ``==``, ``!=``, ``>=`` or ``>``.
        value: A number or a text.
    """

    name: str
    operator: str
    value: float | str

    @classmethod
    def parse(cls, text: str, argument: str = "constraints") -> Condition:
        """Parse the text of a condition; quotes around the value are removed.

        Raises:
            InvalidArgument: If `text` is not ``name operator value``.
        """
        found = _FORM.fullmatch(text) if isinstance(text, str) else None
        if found is None or not found["value"]:
            raise InvalidArgument(
                argument,
                f"got {text!r}.",
                'It is "name operator value", e.g. "loss < 0.1"; operators are < <= == != >= >.',
            )
        value: float | str = found["value"]
        try:
            value = float(value)
        except ValueError:
            value = str(value).strip("'\"")
        return cls(found["name"], found["operator"], value)

    def holds(self, row: Mapping[str, Any]) -> bool:
        """Return True if a row fulfils the condition; a row without the value never does."""
        value = row.get(self.name)
        if value is None:
            return False
        if isinstance(self.value, str) or isinstance(value, bool):
            # A text is compared with numbers as text, and with truth values by their names.
            wanted = self.value if isinstance(self.value, str) else f"{self.value:g}"
            if isinstance(value, bool):
                truths = {"true": "True", "false": "False", "1": "True", "0": "False"}
                wanted = truths.get(wanted.lower(), wanted)
            return _OPERATORS[self.operator](str(value), wanted)
        if not isinstance(value, (int, float)):
            return self.operator == "!="
        return value == value and _OPERATORS[self.operator](value, self.value)


def parse_conditions(
    conditions: str | Iterable[str] | None, argument: str = "constraints"
) -> list[Condition]:
    """Parse one condition or several; None gives an empty list.

    Raises:
        InvalidArgument: If a text is not ``name operator value``.
    """
    texts = [conditions] if isinstance(conditions, str) else conditions or []
    return [Condition.parse(text, argument) for text in texts]
