"""`LibrarySearcher`: the base class of searchers whose optimiser works on a list of numbers."""

from __future__ import annotations

import importlib
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

from prefect_tune.error import InvalidArgument
from prefect_tune.nested import unflatten_dict
from prefect_tune.search.parameter_space import Parameter, ParameterSpace, Point
from prefect_tune.search.searcher import (
    DEFAULT_METRIC,
    Metric,
    Mode,
    Searcher,
    check_metric_and_mode,
    check_points,
    metric_values,
    reject_grids,
)
from prefect_tune.space import (
    Domain,
    RandomState,
    SearchSpace,
    lograndint,
    loguniform,
    randint,
    uniform,
)
from prefect_tune.space.random import own_stream

logger = logging.getLogger(__name__)


class Asked(NamedTuple):
    """A suggestion of an optimiser.

    Attributes:
        ticket: The optimiser's handle of the suggestion; None if the optimiser did not make it.
        point: The suggested numbers; None if the result is not to be reported to the optimiser.
    """

    ticket: Any
    point: Point | None


class LibrarySearcher(Searcher):
    """Base class of searchers whose optimiser minimises a function of a list of numbers.

    A subclass names its library, creates the optimiser in `_begin`, asks for points in `_ask` and
    reports results in `_tell`. This class handles the space, presets, the sign of the metric,
    trials without a result, and the state.

    Args:
        space: The search space, as ``param_space``; None to take the experiment's.
        metric: Result key to optimise.
        mode: "min" or "max".
        points_to_evaluate: Configs to try first, nested or with "a/b" keys; they may be partial.
        evaluated_rewards: Known metric values of ``points_to_evaluate``, one per point. The
            optimiser then learns from the points, and they are not run.
        seed: Seed of all suggestions.

    Raises:
        InvalidArgument: An argument is wrong, or the library is not installed.
    """

    #: The module of the library; None without one.
    library: ClassVar[str | None] = None
    #: The extra of this package that installs it.
    extra: ClassVar[str] = ""

    def __init__(
        self,
        space: Mapping[str, Any] | None = None,
        metric: Metric = None,
        mode: Mode = None,
        points_to_evaluate: Sequence[Mapping[str, Any]] | None = None,
        evaluated_rewards: Sequence[float] | None = None,
        seed: RandomState = None,
    ) -> None:
        self.load_library()
        super().__init__(metric, mode)
        self._points, self._rewards = check_points(points_to_evaluate, evaluated_rewards)
        self._has_own_space = space is not None
        self._given_space = space
        self._seed = seed
        self._stream = own_stream(seed)
        self._num_samples = -1
        self._space: ParameterSpace | None = None
        self._presets: list[tuple[dict[str, Any], Point | None]] = []
        self._begun = False
        self._has_failed = False
        self._running: dict[str, Asked] = {}
        if space is not None:
            self._parameter_space()

    @classmethod
    def load_library(cls) -> Any:
        """Import the library.

        Raises:
            InvalidArgument: The library is not installed, or cannot be imported.
        """
        return cls.library and import_library(cls.library, cls.__name__, cls.extra)

    @classmethod
    def convert_search_space(cls, spec: Mapping[str, Any]) -> Any:
        """Check that the library can search a space, and return it for the argument `space`.

        Args:
            spec: A space with domains.

        Raises:
            InvalidArgument: There is a grid, or something that the library cannot search.
        """
        space = SearchSpace(spec)
        reject_grids(space, cls.__name__)
        for parameter in ParameterSpace(space, cls.__name__, own_stream(0)).parameters:
            cls._check_parameter(parameter)
        return dict(spec)

    def set_search_properties(
        self, metric: Metric, mode: Mode, config: dict[str, Any], **spec: Any
    ) -> bool:
        """Take over metric and mode, and the space unless the constructor got one.

        A searcher that was used before keeps what it has learnt, unless the metric or the
        parameters are different.
        """
        before = self._metric, self._mode
        self._metric = metric or self._metric
        self._mode = mode or self._mode
        if not self._has_own_space:
            self._given_space = config
        self._num_samples = spec.get("num_samples", -1)
        if self._seed is None and spec.get("seed") is not None and not self._begun:
            self._stream = own_stream(spec["seed"])
        self._running.clear()
        known, space = self._space, self._check()
        if known is None or known.parameters != space.parameters:
            before = None, None
        if before != (self._metric, self._mode):
            self._begun = False
            self._presets = [(point, self._checked(space, point)) for point in self._points]
        return not self._has_own_space

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Return the next preset, or a suggestion of the optimiser."""
        space = self._start()
        config: dict[str, Any]
        if self._presets and self._rewards is None:
            preset, point = self._presets.pop(0)
            filled = {**space.random_point(), **(point or {})}
            ticket = None if point is None else self._attach(trial_id, filled)
            asked = Asked(ticket, None if point is None else filled)
            config = space.config(filled, preset)
        elif space.parameters:
            try:
                answer = self._ask(trial_id)
            except Exception as error:
                self._warn_of(error, "a random point is tried in place of its suggestion")
                answer = Asked(None, space.random_point())
            if not isinstance(answer, Asked):
                return answer
            asked = answer
            config = space.config(asked.point or {})
        else:
            asked, config = Asked(None, None), space.config({})
        self._running[trial_id] = asked
        return config

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Report a trial's last value to the optimiser, or a failure if it is not finite."""
        asked = self._running.pop(trial_id, None)
        if asked is not None and asked.point is not None:
            values = None if error else metric_values(result, self._metric)
            loss = self._loss(values[0] if values else math.nan)
            try:
                self._tell(asked.ticket, asked.point, loss)
            except Exception as error:
                self._warn_of(error, "it has not learnt how a trial has turned out")

    def add_evaluated_point(
        self,
        parameters: dict[str, Any],
        value: float,
        error: bool = False,
        pruned: bool = False,
        intermediate_values: list[float] | None = None,
    ) -> None:
        """Report a config that was evaluated elsewhere to the optimiser.

        Raises:
            InvalidArgument: ``parameters`` does not lie in the space.
        """
        space = self._start()
        if space.parameters:
            point = {**space.random_point(), **space.point(parameters, whole=True)}
            self._tell(None, point, None if error else self._loss(float(value)))

    def saved_as(self) -> tuple[str, str | None]:
        """Return its name, and its library."""
        return type(self).__name__, self.library

    # Methods that a subclass implements.

    @classmethod
    def _check_parameter(cls, parameter: Parameter) -> None:
        """Raise an error for a parameter that the library cannot search."""

    def _begin(self, parameters: list[Parameter]) -> None:
        """Create the optimiser."""
        raise NotImplementedError

    def _ask(self, trial_id: str) -> Asked | str | None:
        """Return the optimiser's next point; None for "not now", `FINISHED` for the end."""
        raise NotImplementedError

    def _attach(self, trial_id: str, point: Point) -> Any:
        """Tell the optimiser that a point which it has not suggested is being evaluated.

        Returns:
            The optimiser's handle of the point.
        """
        return None

    def _tell(self, ticket: Any, point: Point, loss: float | None) -> None:
        """Report the result of a point to the optimiser.

        Args:
            ticket: The handle from `_ask` or `_attach`; None for a point without one.
            point: The numbers.
            loss: The value, smaller is better; None if the trial failed.
        """
        raise NotImplementedError

    # Methods that a subclass may use.

    @property
    def _parameters(self) -> list[Parameter]:
        return [] if self._space is None else self._space.parameters

    def _new_seed(self) -> int:
        return int(self._stream.uniform() * 2**31)

    @property
    def _pending(self) -> list[Point]:
        """The points that are being evaluated."""
        return [asked.point for asked in self._running.values() if asked.point is not None]

    def _warn_of(self, error: Exception, consequence: str) -> None:
        """Log a warning that the library raised an error, after which the sweep goes on."""
        logger.warning(
            "%s: %s raised %s: %s; %s.",
            type(self).__name__,
            self.library or "its model",
            type(error).__name__,
            error,
            consequence,
            exc_info=not self._has_failed,
        )
        self._has_failed = True

    def _loss(self, value: float) -> float | None:
        if not math.isfinite(value):
            return None
        return value if self._mode == "min" else -value

    def _check(self) -> ParameterSpace:
        """Check metric, mode and space before a trial starts, and return the parameter space."""
        name = type(self).__name__
        if self._mode is None:
            raise InvalidArgument("mode", f"{name} needs it.", 'Give "min" or "max".')
        if self._metric is None:
            self._metric = DEFAULT_METRIC
        check_metric_and_mode(self._metric, self._mode)
        if not isinstance(self._metric, str):
            raise InvalidArgument(
                "metric",
                f"{name} optimises one metric, got {self._metric!r}.",
                "OptunaSearch takes several.",
            )
        if self._given_space is None:
            raise InvalidArgument(
                "space", f"{name} has no search space.", "Give it one, or use param_space."
            )
        self._space = self._parameter_space()
        return self._space

    def _parameter_space(self) -> ParameterSpace:
        name = type(self).__name__
        try:
            parsed = SearchSpace(self._given_space or {})
            reject_grids(parsed, name)
            space = ParameterSpace(parsed, name, self._stream)
            for parameter in space.parameters:
                self._check_parameter(parameter)
        except InvalidArgument as error:
            own = self._has_own_space
            raise (error.renamed("param_space", "space") if own else error) from None
        return space

    def _checked(self, space: ParameterSpace, preset: dict[str, Any]) -> Point | None:
        """Return the numbers of a preset; None if it is outside of the space but is to be tried."""
        space.space.with_preset(preset, warn=self._rewards is None)
        try:
            return space.point(preset, whole=self._rewards is not None)
        except InvalidArgument:
            if self._rewards is not None:
                raise
            return None

    def _start(self) -> ParameterSpace:
        space = self._space
        if space is None:
            space = self._check()
            self._presets = [(point, self._checked(space, point)) for point in self._points]
        if not self._begun:
            self._begun = True
            if space.parameters:
                self._begin(space.parameters)
            for point, reward in zip(self._points, self._rewards or (), strict=False):
                self.add_evaluated_point(point, reward)
        return space


def import_library(module: str, searcher: str, extra: str) -> Any:
    """Import an optional library.

    Args:
        module: The library's module.
        searcher: The class that needs it.
        extra: The extra of this package that installs it.

    Raises:
        InvalidArgument: The library is not installed, or cannot be imported.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise InvalidArgument(
            "search_alg",
            f"{searcher} needs the library {module}: {error}.",
            f"pip install 'prefect-tune[{extra}]'",
        ) from error


def number_domain(low: float, high: float, *, whole: bool, log: bool) -> Domain:
    """Return the domain of the numbers between two bounds, both included.

    Args:
        low: The least number.
        high: The greatest number.
        whole: Whether they are integers.
        log: Whether their logarithm is uniform.
    """
    if whole:
        return (lograndint if log else randint)(low, high + 1)  # type: ignore[arg-type]
    return (loguniform if log else uniform)(low, high)


def domains_of(space: Any, kind: type | tuple[type, ...], convert: Callable[[Any], Any]) -> Any:
    """Convert the parameters of a space that are in a library's own form to this package's domains.

    Args:
        space: A dict; with "a/b" keys for nested parameters in the library's form.
        kind: The library's types for parameters; a space without them is returned unchanged.
        convert: Makes a domain of a library's parameter.
    """
    if not isinstance(space, Mapping):
        return space
    converted = {
        name: convert(value)
        for name, value in space.items()
        if isinstance(value, kind) and not SearchSpace({name: value}).variables
    }
    return unflatten_dict({**space, **converted}) if converted else space
