"""`OptunaSearch`: search with Optuna's samplers."""

from __future__ import annotations

import inspect
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from prefect_tune.error import InvalidArgument
from prefect_tune.experiment.plain import finite_number
from prefect_tune.nested import unflatten_dict
from prefect_tune.search.optuna.stored import StoredTrials, quiet_optuna
from prefect_tune.search.searcher import (
    DEFAULT_METRIC,
    Metric,
    Mode,
    Searcher,
    check_metric_and_mode,
    check_points,
    metric_values,
)
from prefect_tune.space import SearchSpace
from prefect_tune.space.random import own_stream

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler
    from optuna.storages import BaseStorage
    from optuna.study import Study
    from optuna.trial import FrozenTrial, Trial

    from prefect_tune.search.optuna.space import OptunaSpace

logger = logging.getLogger(__name__)


class OptunaSearch(Searcher):
    """Suggests configs with a sampler of Optuna, by default the tree-structured Parzen estimator.

    Source of the default algorithm: Bergstra et al., "Algorithms for Hyper-Parameter
    Optimization", NeurIPS 2011.

    Args:
        space: The search space: a dict like ``param_space``, a dict of Optuna distributions, or a
            define-by-run function ``f(trial)`` that calls ``trial.suggest_*`` and may return a
            dict of constants. None to take the experiment's ``param_space``.
        metric: Result key to optimise; a list of them for several objectives.
        mode: "min" or "max"; a list for several objectives.
        points_to_evaluate: Configs to try first, nested or with "a/b" keys; they may be partial.
        sampler: Any Optuna sampler. It must be seeded by itself.
        study_name: Name of the study in ``storage``; an existing one is continued.
        storage: Optuna storage or its URL; None to keep the study in memory.
        seed: Seed of the default sampler.
        evaluated_rewards: Known metric values of ``points_to_evaluate``, one (for several
            objectives: one list) per point. The sampler then learns from the points, and they are
            not run.

    Raises:
        InvalidArgument: An argument is wrong, or Optuna is not installed.
    """

    def __init__(
        self,
        space: Mapping[str, Any] | Callable[[Trial], dict[str, Any] | None] | None = None,
        metric: Metric = None,
        mode: Mode = None,
        points_to_evaluate: Sequence[Mapping[str, Any]] | None = None,
        sampler: BaseSampler | None = None,
        study_name: str | None = None,
        storage: str | BaseStorage | None = None,
        seed: int | None = None,
        evaluated_rewards: Sequence[Any] | None = None,
    ) -> None:
        optuna = _import_optuna()
        super().__init__(metric, mode)
        if sampler is not None and not isinstance(sampler, optuna.samplers.BaseSampler):
            raise InvalidArgument(
                "sampler", f"must be an instance of an Optuna sampler, got {sampler!r:.200}."
            )
        if sampler is not None and seed is not None:
            logger.warning("seed=%s is ignored: a given sampler must be seeded by itself", seed)
        self._points, self._rewards = check_points(points_to_evaluate, evaluated_rewards)
        self._sampler = sampler
        self._study_name = study_name
        self._storage = storage
        self._seed = seed
        self._given_space = space
        self._has_own_space = space is not None
        self._space: OptunaSpace | None = None
        self._stream = own_stream(seed)
        self._study: Study | None = None
        self._stored = StoredTrials()
        self._trials: dict[str, Trial] = {}
        self._last_step: dict[str, int] = {}

    @staticmethod
    def convert_search_space(spec: Mapping[str, Any]) -> dict[str, BaseDistribution]:
        """Return a search space as a dict of Optuna's distributions, which `space` takes.

        Args:
            spec: The space; nested parameters get names such as "a/b", constants are left out.

        Raises:
            InvalidArgument: There is a grid, a function, or a choice that holds further domains.
        """
        _import_optuna()
        from prefect_tune.search.optuna.space import distributions_of

        return distributions_of(SearchSpace(spec))

    @property
    def study(self) -> Study:
        """The Optuna study, for its analysis tools."""
        if self._study is None:
            self._study = self._begin()
        return self._study

    @property
    def _ot_study(self) -> Study:
        """The study, by the name that scripts for Ray Tune know it by."""
        return self.study

    @property
    def wants_results(self) -> bool:
        """True for one objective: intermediate values become part of the study."""
        listens = type(self).on_trial_result is not OptunaSearch.on_trial_result
        return listens or not isinstance(self._metric, list | tuple)

    def set_search_properties(
        self, metric: Metric, mode: Mode, config: dict[str, Any], **spec: Any
    ) -> bool:
        """Take over metric and mode, and the space unless the constructor got one.

        A searcher that was used before keeps its study, unless metric or mode are different.
        """
        before = self._metric, self._mode
        self._metric = metric or self._metric
        self._mode = mode or self._mode
        if self._study is not None and before != (self._metric, self._mode):
            self._study = None
            self._trials.clear()
            self._last_step.clear()
        if self._seed is None and "seed" in spec:
            self._seed = spec["seed"]
            self._stream = own_stream(self._seed)
        if not self._has_own_space:
            self._given_space = config
        self._check()
        samples, presets = spec.get("num_samples", -1), len(self._points)
        if self._rewards is None and 0 <= samples < presets:
            logger.warning(
                "num_samples=%d leaves out %d of the %d points_to_evaluate",
                samples,
                presets - samples,
                presets,
            )
        return not self._has_own_space

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Return a configuration that the study suggests."""
        trial = None if self._storage is None else self._stored.take_up(self.study, trial_id)
        if trial is None:
            trial = self.study.ask()
            if self._storage is not None:
                self._stored.mark(trial, trial_id)
        space = self._checked_space()
        point = self._stored.point_of(trial)
        if point is None:
            config = space.suggested(trial)
        else:
            config = space.suggested_at(self._points[point], trial)
        self._trials[trial_id] = trial
        return config

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Report an intermediate value to the study, if there is one objective."""
        trial = self._trials.get(trial_id)
        values = metric_values(result, self._metric)
        iteration = finite_number(result.get("training_iteration"))
        step = None if iteration is None else int(iteration)
        if trial is None or values is None or len(values) != 1 or step is None:
            return
        if self._stored.is_finished(self.study, trial):
            return
        # A trial that was restarted repeats steps; the study has them already.
        last = self._last_step.get(trial_id, -1)
        if step > max(last, self._stored.reached(self.study, trial)):
            self._last_step[trial_id] = step
            trial.report(values[0], step)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Report a trial's final values to the study, or a failure if it has none."""
        trial = self._trials.pop(trial_id, None)
        self._last_step.pop(trial_id, None)
        if trial is None:
            return
        values = None if error else metric_values(result, self._metric)
        if values is None or any(map(math.isnan, values)):
            state = _import_optuna().trial.TrialState.FAIL
            self.study.tell(trial, state=state, skip_if_finished=True)
        else:
            # A storage may have been told before this process was interrupted.
            self.study.tell(trial, values, skip_if_finished=True)

    def saved_as(self) -> tuple[str, str | None]:
        """Return its name, and Optuna."""
        return type(self).__name__, "optuna"

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore a state of `get_state`, except for a space that was given already."""
        given = self._given_space
        super().set_state(state)
        if given is not None and self._given_space is not None:
            self._given_space = given
            self._space = self._make_space()

    def add_evaluated_point(
        self,
        parameters: dict[str, Any],
        value: float,
        error: bool = False,
        pruned: bool = False,
        intermediate_values: list[float] | None = None,
    ) -> None:
        """Add a finished trial to the study; with several objectives ``value`` is a list.

        Raises:
            InvalidArgument: ``parameters`` does not lie in the space, or the space is a
                define-by-run function.
        """
        self.study.add_trial(
            self._finished_trial(parameters, value, error, pruned, intermediate_values)
        )

    def _finished_trial(
        self,
        parameters: Mapping[str, Any],
        value: Any,
        error: bool = False,
        pruned: bool = False,
        intermediate_values: list[float] | None = None,
        mark: dict[str, str] | None = None,
    ) -> FrozenTrial:
        trial_module = _import_optuna().trial
        state = trial_module.TrialState.COMPLETE
        if error:
            state = trial_module.TrialState.FAIL
        elif pruned:
            state = trial_module.TrialState.PRUNED
        params, distributions = self._checked_space().encode(parameters)
        if len(distributions) != len(params):
            raise NoDistributions(
                "evaluated_rewards",
                "evaluated points cannot be used with a define-by-run function: their "
                "distributions are not known.",
                "Give the space as a dict.",
            )
        values = [float(v) for v in (value if isinstance(value, list | tuple) else [value])]
        several = len(self._metric) if isinstance(self._metric, list | tuple) else 1
        if len(values) != several:
            raise InvalidArgument(
                "evaluated_rewards",
                f"has {value!r}: {several} are optimised, and it needs one each.",
            )
        try:
            trial: FrozenTrial = trial_module.create_trial(
                state=state,
                values=None if error else values,
                params=params,
                distributions=distributions,
                user_attrs=mark,
                intermediate_values=dict(enumerate(intermediate_values or [], start=1)),
            )
        except ValueError as problem:
            raise InvalidArgument("points_to_evaluate", f"{parameters!r}: {problem}") from problem
        return trial

    def _check(self) -> OptunaSpace:
        """Check metric, mode, space and points before a trial starts; the storage is not used."""
        if self._mode is None:
            raise InvalidArgument("mode", "OptunaSearch needs it.", 'Give "min" or "max".')
        if self._metric is None:
            self._metric = DEFAULT_METRIC
        check_metric_and_mode(self._metric, self._mode)
        self._space = self._make_space()
        for point in self._points:
            self._space.encode(point)
        for point, reward in zip(self._points, self._rewards or (), strict=False):
            self._finished_trial(point, reward)
        for point in self._points:
            self._space.warn_of(point)
        return self._space

    def _checked_space(self) -> OptunaSpace:
        return self._space or self._check()

    def _begin(self) -> Study:
        """Create the study.

        The study is created when it is first used: a resumed experiment restores its study, and
        must not add the points to a stored study again.
        """
        space = self._checked_space()
        modes = [self._mode] if isinstance(self._mode, str) else self._mode or ()
        study = self._create_study(["minimize" if mode == "min" else "maximize" for mode in modes])
        known = _distributions(study)
        if known:
            self._space = space = self._make_space(known)
        there = set() if self._storage is None else self._stored.points(study)
        for index, point in enumerate(self._points):
            mark = self._stored.point_mark(index)
            if index in there:
                continue
            if self._rewards is None:
                study.enqueue_trial(space.encode(point)[0], user_attrs=mark)
            else:
                study.add_trial(self._finished_trial(point, self._rewards[index], mark=mark))
        return study

    def _make_space(self, known: dict[str, BaseDistribution] | None = None) -> OptunaSpace:
        from optuna.distributions import BaseDistribution

        from prefect_tune.search.optuna.space import DefineByRun, DomainSpace, GivenDistribution

        if known is None:
            known = {} if self._study is None else _distributions(self._study)
        space = self._given_space
        if space is None:
            raise InvalidArgument(
                "space", "OptunaSearch has no search space.", "Give it one, or use param_space."
            )
        if callable(space) and not isinstance(space, Mapping):
            if not _takes_one_argument(space):
                raise InvalidArgument(
                    "space", "a define-by-run function must take one argument, the Optuna trial."
                )
            return DefineByRun(space)
        if isinstance(space, Mapping) and space:
            kinds = {isinstance(value, BaseDistribution) for value in space.values()}
            if kinds == {True}:
                space = unflatten_dict({name: GivenDistribution(d) for name, d in space.items()})
        try:
            return DomainSpace(SearchSpace(space), self._stream, known)
        except InvalidArgument as error:
            own = self._has_own_space
            raise (error.renamed("param_space", "space") if own else error) from None

    def _create_study(self, directions: list[Any]) -> Study:
        optuna = _import_optuna()
        sampler = self._sampler or optuna.samplers.TPESampler(seed=self._seed)
        with quiet_optuna():
            study: Study = optuna.create_study(
                storage=self._storage,
                study_name=self._study_name,
                sampler=sampler,
                pruner=optuna.pruners.NopPruner(),
                directions=directions,
                load_if_exists=True,
            )
        there = [direction.name.lower() for direction in study.directions]
        if there != directions:
            raise InvalidArgument(
                "mode",
                f"the study {study.study_name!r} is there already, to {' and '.join(there)}.",
                "Give the mode that it has, or another study_name.",
            )
        return study


class NoDistributions(InvalidArgument, TypeError):
    """A define-by-run function says nothing of a point; Ray Tune raises a TypeError."""


def _distributions(study: Study) -> dict[str, BaseDistribution]:
    """Return the distribution of each parameter of a study, by name."""
    known: dict[str, BaseDistribution] = {}
    for trial in study.get_trials(deepcopy=False):
        for name, distribution in trial.distributions.items():
            known.setdefault(name, distribution)
    return known


def _import_optuna() -> Any:
    try:
        import optuna
    except ImportError as error:
        raise InvalidArgument(
            "search_alg", "OptunaSearch needs Optuna.", "pip install 'prefect-tune[optuna]'"
        ) from error
    return optuna


def _takes_one_argument(func: Callable[..., Any]) -> bool:
    try:
        inspect.signature(func).bind(None)
    except TypeError:
        return False
    return True
