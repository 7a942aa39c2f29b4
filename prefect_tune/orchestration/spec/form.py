"""Makes unions of models that Prefect's forms show as tabs, with errors about one model only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Union

from pydantic import BaseModel, ConfigDict, Discriminator, GetJsonSchemaHandler, Tag
from pydantic_core import CoreSchema

_NULL = {"type": "null"}


class WithoutNull:
    """Describes a type that may be None as the type of a field that may be left empty.

    Prefect's UI sends null for each field whose ``anyOf`` has ``null``: a schedule that is made
    there would set all of them back. Prefect takes null for such a field all the same.
    """

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        described = handler(schema)
        _drop_null(described)
        return described


def _drop_null(described: dict[str, Any]) -> None:
    kinds = [kind for kind in described.pop("anyOf", ()) if kind != _NULL]
    described.update(kinds[0] if len(kinds) == 1 else {"anyOf": kinds} if kinds else {})


class PlainOptionalFields:
    """Describes the fields of a model as `WithoutNull`, without their default None."""

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Describe the model for Prefect's UI."""
        described = handler(schema)
        for field in handler.resolve_ref_schema(described).get("properties", {}).values():
            if field.get("default", _NULL) is None and _NULL in field.get("anyOf", ()):
                del field["default"]
                _drop_null(field)
        return described


class FormModel(PlainOptionalFields, BaseModel):
    """A part of a form."""

    model_config = ConfigDict(extra="forbid", frozen=True)


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


def tabs(*models: type[BaseModel]) -> Any:
    """Make the type of a field that holds an object of one of the models.

    A mapping is for the model that it names in its field `kind`, if the models have one. Otherwise
    it is for the model that has the most of its keys, the first one of several.
    """
    names = {_name(model): model for model in models}
    have_kinds = all("kind" in model.model_fields for model in models)

    def choose(value: Any) -> str | None:
        if isinstance(value, BaseModel):
            return next((name for name, model in names.items() if isinstance(value, model)), None)
        if not isinstance(value, Mapping):
            return None
        if have_kinds:
            return value.get("kind")
        return max(names, key=lambda name: len(value.keys() & names[name].model_fields.keys()))

    tagged = tuple(Annotated[model, Tag(name)] for name, model in names.items())
    return Annotated[
        Union[tagged],  # noqa: UP007 - made at run time
        Discriminator(choose),
        _ShownAsTabs(),
    ]


def _name(model: type[BaseModel]) -> str:
    """Return the name of a model in errors: its kind, or its title."""
    if "kind" in model.model_fields:
        return str(model.model_fields["kind"].default)
    return (model.model_config.get("title") or model.__name__).lower()
