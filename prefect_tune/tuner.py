"""`Tuner`: an object that holds the arguments of a sweep, runs it, and can be restored."""

from __future__ import annotations

import datetime
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect_tune.callback import Callback
from prefect_tune.config import FailureConfig, ResumeConfig, ResumeType, RunConfig, TuneConfig
from prefect_tune.engine.setup.request import ExperimentRequest
from prefect_tune.error import InvalidArgument, NoResults
from prefect_tune.experiment.pickling.key import own_pickles
from prefect_tune.filesystem.location import Location
from prefect_tune.filesystem.parse import parse_location
from prefect_tune.results import ExperimentAnalysis, ResultGrid
from prefect_tune.runner import execute
from prefect_tune.settings import load_settings
from prefect_tune.tune_run import make_request
from prefect_tune.tuner_state import (
    TunerState,
    is_restorable,
    load_state,
    load_trainable,
)

if TYPE_CHECKING:
    from prefect_tune.simulation.cluster import SimulatedCluster
    from prefect_tune.simulation.forecast import SweepPlan


class Tuner:
    """Runs trials of a trainable over a search space.

    Args:
        trainable: A function ``f(config)`` or a `Trainable` class, or the name that
            `register_trainable` gave it.
        param_space: The search space: constants, domains, grids, nested dicts and lists.

        tune_config: How the space is searched.
        run_config: How the experiment runs and where its results go.

    Raises:
        InvalidArgument: If `trainable` is missing or a configuration is of another type.
    """

    def __init__(
        self,
        trainable: Any = None,
        *,
        param_space: dict[str, Any] | None = None,
        tune_config: TuneConfig | None = None,
        run_config: RunConfig | None = None,
    ) -> None:
        if trainable is None:
            raise InvalidArgument("trainable", "it is missing.", "Give a function f(config).")
        for name, value, cls in (
            ("tune_config", tune_config, TuneConfig),
            ("run_config", run_config, RunConfig),
        ):
            if value is not None and not isinstance(value, cls):
                raise InvalidArgument(name, f"got {value!r}.", f"Give a {cls.__name__}.")
        self._request = ExperimentRequest(
            trainable=trainable,
            param_space=param_space,
            tune_config=tune_config or TuneConfig(),
            run_config=run_config or RunConfig(),
        )
        self._restored: Location | None = None
        self._results: ResultGrid | None = None

    def __getattribute__(self, name: str) -> Any:
        if name == "restore":
            # A call on an object would have no effect on it: `restore` returns a new tuner.
            raise AttributeError("Tuner.restore(path, trainable) is called on the class.")
        return super().__getattribute__(name)

    @classmethod
    def restore(
        cls,
        path: str | os.PathLike[str],
        trainable: Any = None,
        resume_unfinished: bool = True,
        resume_errored: bool = False,
        restart_errored: bool = False,
        param_space: dict[str, Any] | None = None,
        storage_filesystem: Any = None,
        *,
        num_samples: int | None = None,
        time_budget_s: float | datetime.timedelta | None = None,
        stop: Any = None,
        failure_config: FailureConfig | None = None,
        callbacks: Sequence[Callback] | None = None,
        cluster: Any = None,
    ) -> Tuner:
        """Make a tuner whose `fit` goes on with an earlier experiment.

        Finished trials are not repeated; trials that were running go on from their newest
        checkpoints. All arguments are those of the earlier tuner unless they are given here.

        Args:
            path: The experiment directory or its URL; it may have been moved.
            trainable: The trainable of the experiment; None loads the saved one.
            resume_unfinished: False runs failed trials only, and leaves the others for later.
            resume_errored: True lets failed trials go on from their newest checkpoints.
            restart_errored: True runs failed trials again from scratch.
            param_space: The same search space with new objects in it, e.g. because the old ones
                cannot be saved.
            storage_filesystem: An fsspec file system that `path` is on.
            num_samples: Extends the experiment to this number of samples.
            time_budget_s: Seconds for the experiment, including those of earlier runs.
            stop: Stopping criteria for results from now on.
            failure_config: What happens when trials fail from now on.
            callbacks: `Callback` objects in place of the earlier ones.
            cluster: The cluster to run on; that of the earlier run is not saved.

        Raises:
            InvalidArgument: If there is no such experiment, or an argument does not fit it.
            AttributeError: If it is called on an object instead of the class.
            StorageError: If the storage does not answer.
        """
        location = parse_location(path, "path", storage_filesystem)
        settings = load_settings()
        pickles = own_pickles(settings.signing_key, settings.trust_pickles)
        state = load_state(location, pickles)
        if param_space is not None:
            _check_same_keys(param_space, state.param_space)
        tune = {"num_samples": num_samples, "time_budget_s": time_budget_s}
        run = {
            "stop": stop,
            "failure_config": failure_config,
            "callbacks": callbacks,
            "cluster": cluster,
        }
        tuner = cls(
            load_trainable(location, state, pickles) if trainable is None else trainable,
            param_space=state.param_space if param_space is None else param_space,
            tune_config=replace(state.tune_config, **_without_none(tune)),
            run_config=replace(state.run_config, **_without_none(run)),
        )
        tuner._restored = location
        tuner._request.resume = True
        tuner._request.resume_config = _resume_config(
            resume_unfinished, resume_errored, restart_errored
        )
        return tuner

    @classmethod
    def from_spec(cls, spec: Any) -> Tuner:
        """Make a tuner from an `ExperimentSpec`, the form of `prefect-tune run` and the Prefect UI.

        Args:
            spec: An `ExperimentSpec`, a mapping of its fields, or the path of a YAML file of them.

        Raises:
            InvalidArgument: If a field is wrong; the message names it.
            InvalidTrainable: If the trainable cannot be imported.
        """
        from prefect_tune.orchestration.spec.experiment import ExperimentSpec
        from prefect_tune.orchestration.spec.files import read_spec

        if isinstance(spec, (str, os.PathLike)):
            spec = read_spec(Path(spec))
        elif isinstance(spec, Mapping):
            spec = ExperimentSpec.parse(spec)
        elif not isinstance(spec, ExperimentSpec):
            raise InvalidArgument(
                "spec", f"got {spec!r:.80}.", "Give an ExperimentSpec, a dict, or a YAML file."
            )
        given = spec.run_arguments()
        request = make_request(given.pop("run_or_experiment"), **given)
        tuner = cls(request.trainable)
        tuner._request = replace(
            request,
            space_argument="param_space",
            # The default of `run` differs from that of `Tuner`.
            run_config=replace(request.run_config, checkpoint_config=None),
        )
        return tuner

    @staticmethod
    def can_restore(path: str | os.PathLike[str], storage_filesystem: Any = None) -> bool:
        """Return True if `restore` finds the experiment of a tuner at a path or URL.

        Args:
            path: The experiment directory.
            storage_filesystem: An fsspec file system that `path` is on.

        Raises:
            InvalidArgument: If `path` cannot hold files.
            StorageError: If the storage does not answer.
        """
        return is_restorable(parse_location(path, "path", storage_filesystem))

    def fit(self) -> ResultGrid:
        """Run the sweep to its end; failed trials are in `ResultGrid.errors`, not raised.

        Raises:
            InvalidArgument: Before any trial starts, if something cannot work.
            TuneError: As documented at `run`, but for failed trials.
            ExperimentInterrupted: If Ctrl-C, a signal or the end of the flow run ended it.
        """
        request = self._request
        # Pickled before the sweep runs, which changes the state of searchers and schedulers.
        registered = request.trainable if isinstance(request.trainable, str) else None
        state = TunerState(request.param_space, request.tune_config, request.run_config, registered)
        request.saved = state.dump()
        self._results = ResultGrid(execute(request).analysis)
        return self._results

    def simulate(
        self,
        model: Any,
        *,
        cluster: SimulatedCluster | None = None,
        steps: int | None = None,
        checkpoint_every: int | None = None,
        keep_results: bool = True,
    ) -> ResultGrid:
        """Run the sweep in simulated time, with `model` in place of the trainable.

        No trial process is started, and `fit` can be called afterwards. The time that the sweep
        takes is in ``.analysis.simulation`` of the results.

        Args:
            model: The model of a trial; `prefect_tune.simulate` explains this and the other
                arguments.
            cluster: The simulated cluster; None is one machine with 8 CPUs.
            steps: The most results of a trial.
            checkpoint_every: Number of results from one checkpoint of a trial to the next.
            keep_results: Whether all results are kept.

        Raises:
            InvalidArgument: If an argument has a wrong value.
            TuneError: If the sweep cannot go on; the message says why.
        """
        from prefect_tune.simulation.models import as_program
        from prefect_tune.simulation.run import simulate_request

        return ResultGrid(
            simulate_request(
                self._request,
                as_program(model, steps),
                cluster,
                checkpoint_every=checkpoint_every,
                keep_results=keep_results,
            )
        )

    def plan(
        self,
        *,
        seconds_per_step: float,
        steps: int | None = None,
        cluster: SimulatedCluster | None = None,
    ) -> SweepPlan:
        """Forecast the time and cost of the sweep before it runs; see `prefect_tune.plan`.

        Args:
            seconds_per_step: Seconds from one report of a trial to the next.
            steps: Number of reports of a whole trial; None takes it from `stop` or the scheduler.
            cluster: The cluster, with its `price_per_hour`; None is one machine with 8 CPUs.

        Raises:
            InvalidArgument: If an argument has a wrong value.
        """
        from prefect_tune.simulation.forecast import forecast

        return forecast(
            self._request, seconds_per_step=seconds_per_step, steps=steps, cluster=cluster
        )

    def get_results(self) -> ResultGrid:
        """Return the results of `fit`, or those of the earlier run after `restore`.

        Raises:
            NoResults: Before `fit`, unless the tuner was restored.
            StorageError: If the results cannot be read.
        """
        if self._results is None and self._restored is not None:
            config = self._request.tune_config
            return ResultGrid(
                ExperimentAnalysis(
                    self._restored.path if self._restored.is_local else self._restored,
                    default_metric=config.metric,
                    default_mode=config.mode,
                )
            )
        if self._results is None:
            raise NoResults("There are no results yet: call `fit()` first.")
        return self._results


def _without_none(arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in arguments.items() if value is not None}


def _check_same_keys(new: Mapping[str, Any], old: Any) -> None:
    """Raise if a search space given to `restore` has other keys than that of the experiment."""
    if not isinstance(new, Mapping) or not isinstance(old, Mapping) or new.keys() == old.keys():
        return
    differing = ", ".join(sorted(map(repr, new.keys() ^ old.keys())))
    raise InvalidArgument(
        "param_space",
        f"its keys are not those of the experiment: {differing}.",
        "Give the same search space, or leave it out.",
    )


def _resume_config(unfinished: bool, errored: bool, restart_errored: bool) -> ResumeConfig:
    if errored and restart_errored:
        raise InvalidArgument(
            "restart_errored",
            "it is given together with `resume_errored`.",
            "Give only one of the two.",
        )
    failed = ResumeType.SKIP
    if errored or restart_errored:
        failed = ResumeType.RESTART if restart_errored else ResumeType.RESUME
    return ResumeConfig(
        unfinished=ResumeType.RESUME if unfinished else ResumeType.SKIP, errored=failed
    )
