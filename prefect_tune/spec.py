"""An experiment as JSON: what a deployment, a form or a file can say.

The trainable is an import path and the search space is written with one-key dictionaries::

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

import difflib
import importlib
import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
)

from prefect_tune import space as domains
from prefect_tune.error import InvalidArgument, InvalidTrainable
from prefect_tune.named_classes import ClassRegistry
from prefect_tune.schedulers import SCHEDULERS
from prefect_tune.search import SEARCHERS

Mode = Literal["min", "max"]


def _name_in(registry: ClassRegistry[Any]) -> Any:
    """Make the type of a field that takes a name of the registry; forms show them as a list."""
    return Annotated[
        str,
        AfterValidator(lambda name: registry.find(name).name),
        WithJsonSchema({"type": "string", "enum": list(registry.names)}),
    ]


if TYPE_CHECKING:
    SchedulerName = str
    SearchName = str
else:
    SchedulerName = _name_in(SCHEDULERS)
    SearchName = _name_in(SEARCHERS)

_NUMERIC = (
    "uniform",
    "quniform",
    "loguniform",
    "qloguniform",
    "randn",
    "qrandn",
    "randint",
    "qrandint",
    "lograndint",
    "qlograndint",
)
_VALUES = ("choice", "grid_search")
_DOMAINS = (*_NUMERIC, *_VALUES)
_NOT_JSON = ("sample_from", "func")


class ExperimentSpec(BaseModel):
    """Everything about an experiment that fits into JSON.

    Defaults are those of `prefect_tune.run`, whose arguments of the same names these are.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    trainable: str
    space: dict[str, Any] = Field(default_factory=dict)
    metric: str | None = None
    mode: Mode | None = None
    num_samples: int = Field(default=1, ge=-1)
    scheduler: SchedulerName = "fifo"
    scheduler_options: dict[str, Any] = Field(default_factory=dict)
    search: SearchName = "random"
    search_options: dict[str, Any] = Field(default_factory=dict)
    stop: dict[str, float] | None = None
    time_budget_s: float | None = Field(default=None, gt=0)
    trial_time_limit_s: float | None = Field(default=None, gt=0)
    resources_per_trial: dict[str, float] | None = None
    max_concurrent_trials: int | None = Field(default=None, ge=0)
    max_failures: int = Field(default=0, ge=-1)
    storage_path: str | None = None
    name: str | None = None
    cluster: str | None = None
    seed: int | None = None
    resume: bool | str | None = None
    restore: str | None = None

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> ExperimentSpec:
        """Validate values as they came from JSON.

        Raises:
            InvalidArgument: If one is wrong; names the first.
        """
        try:
            return cls(**values)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise InvalidArgument(where, f"got {first['input']!r}.", first["msg"] + ".") from None

    def run_arguments(self) -> dict[str, Any]:
        """Keyword arguments for `prefect_tune.run`, the first of which is ``run_or_experiment``.

        Raises:
            InvalidTrainable: If the trainable cannot be imported.
            InvalidArgument: If the space, scheduler or search cannot be built.
        """
        return {
            "run_or_experiment": load_trainable(self.trainable),
            "config": parse_space(self.space),
            "scheduler": self._scheduler(),
            "search_alg": self._search(),
            **self.model_dump(
                exclude={
                    "trainable",
                    "space",
                    "scheduler",
                    "scheduler_options",
                    "search",
                    "search_options",
                }
            ),
        }

    def _scheduler(self) -> Any:
        return SCHEDULERS.create(self.scheduler, **self.scheduler_options)

    def _search(self) -> Any:
        if self.search == "random" and not self.search_options:
            return None
        return SEARCHERS.create(self.search, **self.search_options)


def load_trainable(path: str) -> Callable[..., Any]:
    """Import a trainable from ``package.module:name``.

    Raises:
        InvalidTrainable: If the path has another form, or names the module or attribute that does
            not exist.
    """
    module_name, colon, attribute = path.partition(":")
    if not colon or not module_name or not attribute:
        raise InvalidTrainable(
            "trainable", f"got {path!r}.", "Give an import path like `package.module:function`."
        )
    try:
        found: Any = importlib.import_module(module_name)
    except ImportError as error:
        raise InvalidTrainable(
            "trainable",
            f"module `{module_name}` cannot be imported ({error}).",
            "It must be installed or in the working directory where the flow runs.",
        ) from error
    for name in attribute.split("."):
        if not hasattr(found, name):
            raise InvalidTrainable(
                "trainable",
                f"module `{module_name}` has no `{attribute}`.",
                _near(name, dir(found)),
            )
        found = getattr(found, name)
    if not callable(found):
        raise InvalidTrainable(
            "trainable", f"`{path}` is a {type(found).__name__}.", "Name a function."
        )
    loaded: Callable[..., Any] = found
    return loaded


def parse_space(space: Mapping[str, Any], path: str = "space") -> dict[str, Any]:
    """Turn a search space in JSON notation into one of domains.

    A dictionary whose only key is the name of a domain stands for that domain; its value is a list
    of the domain's arguments, or a dictionary of them by name. All else is a constant.

    Args:
        space: The space; may be nested.
        path: What to call it in errors.

    Raises:
        InvalidArgument: On an unknown domain or arguments that it does not take; says where.
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
    """Refuse what looks like a domain but is none; a one-key dictionary may be a mere constant."""
    if name in _NOT_JSON:
        raise InvalidArgument(
            path,
            f"`{name}` needs a Python function, which JSON cannot hold.",
            "Write such a space in Python and call `prefect_tune.run`.",
        )
    hint = _near(name, _DOMAINS)
    if hint and isinstance(arguments, (list, Mapping)):
        raise InvalidArgument(path, f"there is no domain `{name}`.", hint)


def _near(name: str, known: Any) -> str:
    matches = difflib.get_close_matches(str(name), [n for n in known if n[:1] != "_"], n=1)
    return f"Did you mean `{matches[0]}`?" if matches else ""
