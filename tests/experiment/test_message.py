from __future__ import annotations

import pickle
from dataclasses import dataclass, field, replace

import pytest

from prefect_tune.experiment.message import message


@message(frozen=True, slots=True)
class Base:
    time: float


@message(frozen=True, slots=True)
class Told(Base):
    name: str
    lines: tuple[bytes, ...] = field(default=(), compare=False)
    known: dict[str, int] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class Frozen(Told):
    more: int = 0


def test_it_is_a_dataclass_of_its_own_fields_and_those_of_its_bases() -> None:
    told = Told(1.0, "a", known={"b": 1})
    assert told == Told(1.0, "a", (b"x",), {"b": 1}) != replace(told, name="b")
    assert hash(told) == hash(Told(1.0, "a"))
    assert pickle.loads(pickle.dumps(told)) == told
    assert repr(Base(1.0)) == "Base(time=1.0)"
    assert Told(1.0, "a").known is not Told(1.0, "a").known
    with pytest.raises(AttributeError):
        told.other = 1  # type: ignore[attr-defined]


def test_a_frozen_dataclass_may_derive_from_it() -> None:
    frozen = Frozen(1.0, "a", more=2)
    assert pickle.loads(pickle.dumps(frozen)) == frozen
    with pytest.raises(AttributeError):
        frozen.more = 3  # type: ignore[misc]
