"""Conditions on metrics and parameters: ``latency <= 20``."""

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
    """``name operator value``.

    Attributes:
        name: Of a metric or, with ``config/`` in front, a parameter.
        operator: ``<``, ``<=``, ``==``, ``!=``, ``>=`` or ``>``.
        value: A number or a text.
    """

    name: str
    operator: str
    value: float | str

    @classmethod
    def parse(cls, text: str, argument: str = "constraints") -> Condition:
        """Read a condition; quotes around the value are taken off.

        Raises:
            InvalidArgument: If it has another form.
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
        """Return True if a row fulfils it; one without a value never does."""
        value = row.get(self.name)
        if value is None:
            return False
        if isinstance(self.value, str) or isinstance(value, bool):
            # Numbers stand in text for themselves, truth values for their names.
            wanted = self.value if isinstance(self.value, str) else f"{self.value:g}"
            plain = {"true": "True", "false": "False", "1": "True", "0": "False"}
            if isinstance(value, bool):
                wanted = plain.get(wanted.lower(), wanted)
            return _OPERATORS[self.operator](str(value), wanted)
        if not isinstance(value, (int, float)):
            return self.operator == "!="
        return value == value and _OPERATORS[self.operator](value, self.value)


def parse_all(
    conditions: str | Iterable[str] | None, argument: str = "constraints"
) -> list[Condition]:
    """Read one condition or several; None is none.

    Raises:
        InvalidArgument: If one has another form.
    """
    texts = [conditions] if isinstance(conditions, str) else conditions or []
    return [Condition.parse(text, argument) for text in texts]
