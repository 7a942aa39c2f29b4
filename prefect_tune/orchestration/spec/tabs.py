"""Unions of models that Prefect's forms show as tabs, and whose errors speak of one model only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Union

from pydantic import BaseModel, Discriminator, GetJsonSchemaHandler, Tag
from pydantic_core import CoreSchema


class _ShownAsTabs:
    """Describes a discriminated union as a plain one.

    Prefect's default UI shows ``anyOf`` as tabs and ``oneOf`` as a field for JSON.
    """

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        described = handler(schema)
        described.pop("discriminator", None)
        described["anyOf"] = described.pop("oneOf")
        return described


def tabs(models: Mapping[str, type[BaseModel]], choose: Callable[[Any], str | None]) -> Any:
    """Make the type of a field that holds an object of one of the models.

    Args:
        models: The models by name.
        choose: Gives the name of the model that a value, a mapping or an object, is meant for;
            None if there is none.
    """

    def name_of(value: Any) -> str | None:
        for name, model in models.items():
            if isinstance(value, model):
                return name
        return choose(value)

    tagged = tuple(Annotated[model, Tag(name)] for name, model in models.items())
    return Annotated[
        Union[tagged],  # noqa: UP007 - made at run time
        Discriminator(name_of),
        _ShownAsTabs(),
    ]


def by_own_field(models: Mapping[str, type[BaseModel]]) -> Callable[[Any], str | None]:
    """Choose the model that has the most of a mapping's keys; the first one of several."""

    def choose(value: Any) -> str | None:
        if not isinstance(value, Mapping):
            return None
        return max(models, key=lambda name: len(value.keys() & models[name].model_fields.keys()))

    return choose
