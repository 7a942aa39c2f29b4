"""Makes search spaces from forms and from JSON.

A form has a list of parameters, each with a domain (`Param`). JSON, as a file or a script holds it,
may use one-key dictionaries instead::

    {
        "lr": {"loguniform": [1e-4, 1e-1]},
        "act": {"choice": ["relu", "tanh"]},
        "layers": {"randint": {"lower": 1, "upper": 4}},
        "batch_size": {"grid_search": [32, 64]},
        "optimizer": {"name": "sgd", "momentum": {"uniform": [0.5, 0.99]}},
        "epochs": 10
    }
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, WithJsonSchema

from prefect_tune import space as domains
from prefect_tune.error import InvalidArgument, did_you_mean
from prefect_tune.orchestration.spec.form import FormModel, Tabs

_NUMERIC = (
    "uniform quniform loguniform qloguniform randn qrandn randint qrandint lograndint qlograndint"
).split()
_VALUES = ("choice", "grid_search")
_DOMAINS = (*_NUMERIC, *_VALUES)
_NOT_JSON = ("sample_from", "func")


def _check_number(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError("Input should be a number")
    return value


if TYPE_CHECKING:
    Number = float
else:
    #: A number that stays whole if it was written so: a batch size of 32 must not become 32.0.
    Number = Annotated[Any, AfterValidator(_check_number), WithJsonSchema({"type": "number"})]


class _Domain(FormModel):
    # The names of the fields tell the domains apart: no two of them share a required one.

    def build(self) -> Any:
        """Make the domain; raises ValueError if its bounds are wrong."""
        raise NotImplementedError


class RealNumber(_Domain):
    """Any number between two bounds."""

    model_config = ConfigDict(title="Real number")

    low: float = Field(description="Lower bound.")
    high: float = Field(description="Upper bound.")
    scale: Literal["linear", "log"] = Field(
        default="linear", description="log draws 0.001 to 0.01 as often as 0.01 to 0.1."
    )
    step: float | None = Field(default=None, description="Only multiples of this; empty for any.")

    def build(self) -> Any:
        """Make the domain; raises ValueError if its bounds are wrong."""
        _check_bounds(self.scale, low=self.low, high=self.high)
        return _range("uniform", self.scale, self.low, self.high, self.step)


class WholeNumber(_Domain):
    """A whole number between two bounds, both of them included."""

    model_config = ConfigDict(title="Whole number")

    lowest: int = Field(description="Smallest value.")
    highest: int = Field(description="Largest value.")
    scale: Literal["linear", "log"] = Field(
        default="linear", description="log draws 1 to 10 as often as 10 to 100."
    )
    step: int | None = Field(default=None, description="Only multiples of this; empty for any.")

    def build(self) -> Any:
        """Make the domain; raises ValueError if its bounds are wrong."""
        _check_bounds(self.scale, lowest=self.lowest, highest=self.highest)
        # Only the domains without a step exclude their upper bound.
        above = self.highest + (self.step is None)
        return _range("randint", self.scale, self.lowest, above, self.step)


def _check_bounds(scale: str, **bounds: float) -> None:
    (low, lower), (high, upper) = bounds.items()
    if lower >= upper:
        raise ValueError(
            f"`{low}` must be less than `{high}`, got {lower} and {upper}; for one value, choose "
            "Fixed."
        )
    if scale == "log" and lower <= 0:
        raise ValueError(f"`{low}` must be above 0 on a log scale, got {lower}.")


def _range(name: str, scale: str, low: float, high: float, step: float | None) -> Any:
    name = name if scale == "linear" else f"log{name}"
    if step is None:
        return getattr(domains, name)(low, high)
    return getattr(domains, f"q{name}")(low, high, step)


_TryAll = Annotated[
    bool, Field(description="Try every value (a grid) instead of drawing one of them.")
]


class OneOfTexts(_Domain):
    """One of some texts."""

    model_config = ConfigDict(title="One of (texts)")

    texts: list[str] = Field(description="The texts to choose from.")
    try_all: _TryAll = False

    def build(self) -> Any:
        """Make the domain; raises ValueError if there are no values."""
        return _grid_or_choice(self.texts, self.try_all)


class OneOfNumbers(_Domain):
    """One of some numbers."""

    model_config = ConfigDict(title="One of (numbers)")

    numbers: list[Number] = Field(description="The numbers to choose from.")
    try_all: _TryAll = False

    def build(self) -> Any:
        """Make the domain; raises ValueError if there are no values."""
        return _grid_or_choice(self.numbers, self.try_all)


def _grid_or_choice(values: Sequence[Any], try_all: bool) -> Any:
    if not values:
        raise ValueError("it has no values.")
    return domains.grid_search(values) if try_all else domains.choice(values)


class Fixed(_Domain):
    """One value that is not searched."""

    value: Number | str | bool = Field(description="The value of every trial.")

    def build(self) -> Any:
        """Return the value."""
        return self.value


Domain = Annotated[RealNumber | WholeNumber | OneOfTexts | OneOfNumbers | Fixed, Tabs()]


class Param(FormModel):
    """A hyper-parameter and the values it may have."""

    model_config = ConfigDict(title="Parameter")

    name: str = Field(
        min_length=1, description="Key in the config; `optimizer/momentum` is a nested one."
    )
    domain: Domain = Field(description="The values it may have.")


def build_space(params: Sequence[Param] | Mapping[str, Any]) -> dict[str, Any]:
    """Make a search space from a form's parameters, or from JSON.

    Raises:
        InvalidArgument: If a parameter is wrong; names it.
    """
    if isinstance(params, Mapping):
        return parse_space(params)
    space: dict[str, Any] = {}
    for param in params:
        *parents, key = param.name.split("/")
        inner = space
        for parent in parents:
            inner = inner.setdefault(parent, {})
            if not isinstance(inner, dict) or "grid_search" in inner:
                raise InvalidArgument(
                    "space", f"`{param.name}` is below a parameter.", "Give it another name."
                )
        if key in inner:
            raise InvalidArgument(
                "space", f"two parameters are called `{param.name}`.", "Remove one of them."
            )
        try:
            inner[key] = param.domain.build()
        except ValueError as error:
            raise InvalidArgument(f"space.{param.name}", str(error)) from error
    return space


def parse_space(space: Mapping[str, Any], path: str = "space") -> dict[str, Any]:
    """Replace the JSON notation of domains in a search space by domains.

    A dictionary whose only key is the name of a domain stands for that domain; its value is a list
    of the domain's arguments, or a dictionary of them by name. Everything else is a constant.

    Args:
        space: The space; may be nested.
        path: Name of the space in errors.

    Raises:
        InvalidArgument: If a domain is unknown or gets wrong arguments; the message says where.
    """
    return {key: _parse(value, f"{path}.{key}") for key, value in space.items()}


def _parse(value: Any, path: str) -> Any:
    if isinstance(value, Mapping):
        if len(value) == 1:
            ((name, arguments),) = value.items()
            if name in _VALUES:
                return _values(name, arguments, path)
            if name in _NUMERIC:
                return _numeric(name, arguments, path)
            _check_misspelt(name, arguments, path)
        return parse_space(value, path)
    if isinstance(value, list):
        return [_parse(item, f"{path}[{index}]") for index, item in enumerate(value)]
    return value


def _values(name: str, values: Any, path: str) -> Any:
    if not isinstance(values, list) or not values:
        raise InvalidArgument(
            path, f"`{name}` got {values!r}.", f'Give a list of values: {{"{name}": ["a", "b"]}}.'
        )
    return getattr(domains, name)([_parse(item, f"{path}.{name}") for item in values])


def _numeric(name: str, arguments: Any, path: str) -> Any:
    domain = getattr(domains, name)
    signature = inspect.signature(domain)
    given = arguments if isinstance(arguments, (list, Mapping)) else [arguments]
    args, kwargs = ((), given) if isinstance(given, Mapping) else (given, {})
    numbers = [*args, *kwargs.values()]
    if any(isinstance(n, bool) or not isinstance(n, (int, float)) for n in numbers):
        raise InvalidArgument(path, f"`{name}` got {arguments!r}.", "Its arguments are numbers.")
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError as error:
        expected = ", ".join(signature.parameters)
        raise InvalidArgument(
            path, f"`{name}` got {arguments!r} ({error}).", f"It takes [{expected}]."
        ) from None
    try:
        return domain(*bound.args, **bound.kwargs)
    except ValueError as error:
        raise InvalidArgument(path, str(error)) from error


def _check_misspelt(name: str, arguments: Any, path: str) -> None:
    """Refuse a one-key dictionary that looks like a domain with a misspelt name."""
    if name in _NOT_JSON:
        raise InvalidArgument(
            path,
            f"`{name}` needs a Python function, which JSON cannot hold.",
            "Write such a space in Python and call `prefect_tune.run`.",
        )
    hint = did_you_mean(name, _DOMAINS)
    if hint and isinstance(arguments, (list, Mapping)):
        raise InvalidArgument(path, f"there is no domain `{name}`.", hint)
