"""Makes forms of the schedulers and searchers from their registries and constructors.

A class in a registry needs nothing more to appear in the form of the deployable flow: its options
are the arguments of its constructor that a form can hold, with their defaults and descriptions.
"""

from __future__ import annotations

import inspect
import sys
import types
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Union, get_args, get_origin

from griffe import Docstring, DocstringSectionKind
from pydantic import BeforeValidator, Field, create_model

from prefect_tune.named_classes import ClassRegistry, NamedClass
from prefect_tune.orchestration.spec.form import FormModel, Tabs
from prefect_tune.schedulers import SCHEDULERS
from prefect_tune.search import SEARCHERS
from prefect_tune.space import Domain, Float

#: The metric and the mode are the experiment's, except for classes that compare by several.
_OF_THE_EXPERIMENT = ("metric", "mode")
_PLAIN_TYPES = (bool, int, float, str, type(None))


class Objective(FormModel):
    """One of several metrics that trials are compared by."""

    metric: str = Field(description="Name of the reported metric.")
    mode: Literal["min", "max"] = Field(description="Whether less or more of it is better.")


class ClassOptions(FormModel):
    """Name of a registered class, and arguments for its constructor."""

    registered: ClassVar[NamedClass[Any]]

    def build(self, space: Mapping[str, Any], **more: Any) -> Any:
        """Make the object.

        Args:
            space: The search space, from which some arguments are made.
            **more: Further arguments, of types that no form can hold.

        Raises:
            InvalidArgument: If an option is out of its range.
            ImportError: If the class needs a library that is not installed.
        """
        cls = self.registered.load()
        for argument, part in _OF_THE_SPACE.items():
            if argument in inspect.signature(cls).parameters:
                more[argument] = part(space)
        options = self.model_dump(exclude={"kind", _mark(self.registered)})
        if objectives := options.pop("objectives", None):
            options |= {name: [one[name] for one in objectives] for name in _OF_THE_EXPERIMENT}
        return cls(**options, **more)


def _choose_domains(
    kind: type[Domain], form: Callable[[Any], Any], space: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the domains of one class in a space, nested like the space, each in a form."""
    nested = {k: _choose_domains(kind, form, v) for k, v in space.items() if isinstance(v, dict)}
    found = {k: form(v) for k, v in space.items() if isinstance(v, kind)}
    return found | {k: v for k, v in nested.items() if v}


#: Arguments that are made from the space: the domains that population based training may sample
#: again (no grids), and the bounds of real numbers that a model may choose.
_OF_THE_SPACE = {
    "hyperparam_mutations": partial(_choose_domains, Domain, lambda domain: domain),
    "hyperparam_bounds": partial(_choose_domains, Float, lambda real: [real.lower, real.upper]),
}


def form_of(registry: ClassRegistry[Any]) -> Any:
    """Make the type of a field that takes the name or the options of any class in the registry.

    Options without a name are those of the first class.
    """
    models: list[type[ClassOptions]] = []
    for entry in filter(_has_form, registry):
        model = _model_of(entry)
        if any(model.model_fields.keys() <= other.model_fields.keys() for other in models):
            model = _marked(model)
        models.append(model)

    def complete(value: Any) -> Any:
        """Replace a name by options, and an alternative name of a class by its main one."""
        if isinstance(value, str):
            value = {"kind": value}
        if isinstance(value, Mapping):
            kind = value.get("kind")
            name = registry.names[0] if kind is None else registry.find(kind).name
            return {**value, "kind": name}
        return value

    return Annotated[Union[tuple(models)], Tabs(), BeforeValidator(complete)]  # noqa: UP007


def _mark(entry: NamedClass[Any]) -> str:
    return f"is_{entry.name}"


def _marked(model: type[ClassOptions]) -> Any:
    """Return a model with an option that no other has.

    For the parameters of a run that is copied, Prefect's form opens the first tab that has the most
    of their names, and adds the other options of that tab.
    """
    mark: Any = (Literal[True], Field(default=True, description="Do not change."))
    more = {_mark(model.registered): mark}
    return create_model(model.__name__, __base__=model, __doc__=model.__doc__, **more)


def _has_form(entry: NamedClass[Any]) -> bool:
    try:
        entry.load()
    except ImportError:
        return False
    return True


def _model_of(entry: NamedClass[Any]) -> type[ClassOptions]:
    cls = entry.load()
    described = _descriptions(cls)
    fields: dict[str, Any] = {
        # Distinguishes models that have the same options or none.
        "kind": (Literal[entry.name], Field(default=entry.name, description="Do not change."))
    }
    if "Sequence[str]" in str(inspect.signature(cls).parameters.get("metric", "")):
        fields["objectives"] = (
            Annotated[list[Objective], Field(min_length=2)],
            Field(description="The metrics to compare by; the experiment's is one of them."),
        )
    for name, kind, default in _plain_arguments(cls):
        fields[name] = (kind, Field(default=default, description=described.get(name)))
    # Its name is the title of its tab.
    model: type[ClassOptions] = create_model(
        entry.name,
        __base__=ClassOptions,
        __doc__=(inspect.getdoc(cls) or "").partition("\n")[0],
        **fields,
    )
    model.registered = entry
    return model


def _plain_arguments(cls: type[Any]) -> Iterator[tuple[str, Any, Any]]:
    """Yield name, type and default of the constructor's arguments that a form can hold."""
    names = vars(sys.modules[cls.__module__])
    for parameter in inspect.signature(cls).parameters.values():
        if parameter.name in _OF_THE_EXPERIMENT or parameter.kind is parameter.VAR_KEYWORD:
            continue
        try:
            kind = _plain_type(eval(parameter.annotation, dict(names)))
        except NameError:  # a type of an optional library, imported for type checkers only
            continue
        if kind is not None:
            required = parameter.default is parameter.empty
            yield parameter.name, kind, ... if required else parameter.default


def _plain_type(annotation: Any) -> Any:
    """Reduce a type to what a form can hold; None if nothing of it can be held."""
    if get_origin(annotation) not in (Union, types.UnionType):
        return annotation if annotation in _PLAIN_TYPES else None
    plain = tuple(kind for kind in get_args(annotation) if kind in _PLAIN_TYPES)
    if not any(kind is not type(None) for kind in plain):
        return None
    return Union[plain]  # noqa: UP007 - made at run time


def _descriptions(cls: type[Any]) -> dict[str, str]:
    sections = Docstring(inspect.getdoc(cls) or "").parse("google", warnings=False)
    return {
        row.name: " ".join(row.description.split())
        for section in sections
        if section.kind is DocstringSectionKind.parameters
        for row in section.value
    }


if TYPE_CHECKING:
    SchedulerOptions = ClassOptions
    SearcherOptions = ClassOptions
else:
    SchedulerOptions = form_of(SCHEDULERS)
    SearcherOptions = form_of(SEARCHERS)
