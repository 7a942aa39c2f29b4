"""How events, commands and other small values that sweeps make by the million are declared."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

__all__ = ["message"]

if TYPE_CHECKING:
    from dataclasses import dataclass as message
else:

    def message(*, frozen: bool, slots: bool) -> Any:
        """`dataclass(frozen=True, slots=True)`, whose objects take a fifth of the time to make.

        A frozen dataclass sets each of its fields through `object.__setattr__`. Type checkers see
        the decorator of the standard library, and hold the fields to be read-only.
        """

        def declare(cls: type) -> type:
            cls = dataclass(slots=slots, unsafe_hash=frozen)(cls)
            cls.__getstate__, cls.__setstate__ = _get_state, _set_state
            return cls

        return declare


def _get_state(value: Any) -> list[Any]:
    # What a frozen dataclass with slots is pickled as.
    return [getattr(value, field.name) for field in fields(value)]


def _set_state(value: Any, state: list[Any]) -> None:
    for field, item in zip(fields(value), state, strict=True):
        setattr(value, field.name, item)
