"""Makes unions of models that Prefect's forms show as tabs, with errors about one model only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Union, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    Tag,
)
from pydantic_core import CoreSchema

_NULL = {"type": "null"}


class UnsentNull:
    """Describes a type that may be None so that Prefect's UI does not send null by itself.

    It sends null for a field whose ``anyOf`` has ``null``: a schedule that is made there would set
    the deployment's value back. It does not for an equal description in another form.
    """

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Describe the type for Prefect's UI."""
        described = handler(schema)
        if _NULL in (kinds := described.get("anyOf", [])):
            kinds[kinds.index(_NULL)] = {"type": ["null"], "title": "None"}
        return described


class PlainOptionalFields:
    """Describes the fields of a model that may be None as fields that may be left empty.

    As for `UnsentNull`, whose way fields of models do not need: Prefect takes null for a field that
    is not required and has no default.
    """

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Describe the model for Prefect's UI."""
        described = handler(schema)
        for field in handler.resolve_ref_schema(described).get("properties", {}).values():
            kinds = [kind for kind in field.get("anyOf", ()) if kind != _NULL]
            if field.get("default", _NULL) is None and len(kinds) == 1 and "type" in kinds[0]:
                del field["anyOf"], field["default"]
                field.update(kinds[0])
        return described


class FormModel(PlainOptionalFields, BaseModel):
    """A part of a form."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Tabs:
    """Annotation of a field that holds an object of one of several models, shown as tabs.

    A mapping is for the model that it names in its field `kind`, if the models have one. Otherwise
    it is for the model that has the most of its keys, the first one of several.
    """

    def __get_pydantic_core_schema__(self, union: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        names = {_name(model): model for model in get_args(union)}
        have_kinds = all("kind" in model.model_fields for model in names.values())

        def choose(value: Any) -> str | None:
            if isinstance(value, BaseModel):
                return next((n for n, model in names.items() if isinstance(value, model)), None)
            if not isinstance(value, Mapping):
                return None
            if have_kinds:
                return value.get("kind")
            return max(names, key=lambda n: len(value.keys() & names[n].model_fields.keys()))

        tagged = tuple(Annotated[model, Tag(name)] for name, model in names.items())
        titles = ", ".join(map(_title, names.values()))
        discriminator = Discriminator(
            choose,
            custom_error_type="no_tab",
            custom_error_message=f"Give the fields of one of: {titles}",
        )
        return handler.generate_schema(Annotated[Union[tagged], discriminator])  # noqa: UP007

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        # Prefect's default UI shows ``anyOf`` as tabs and ``oneOf`` as a field for JSON.
        described = handler(schema)
        described.pop("discriminator", None)
        described["anyOf"] = described.pop("oneOf")
        return described


def path_of(error: Any) -> str:
    """Return the path of the value that a pydantic error is about, without the names of types."""
    parts = (str(part) for part in error["loc"])
    return ".".join(part for part in parts if not part.startswith(("<", "list[", "dict[")))


def _name(model: type[BaseModel]) -> str:
    """Return the name of a model in paths of errors: its kind, or its title, see `path_of`."""
    if "kind" in model.model_fields:
        return str(model.model_fields["kind"].default)
    return f"<{_title(model)}>"


def _title(model: type[BaseModel]) -> str:
    return model.model_config.get("title") or model.__name__
