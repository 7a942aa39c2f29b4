"""`ExperimentSpec`: an experiment as plain data, from a form, a file or JSON."""

from __future__ import annotations

import datetime
import itertools
import math
import string
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from prefect_tune.config import RunConfig
from prefect_tune.engine.setup.parts import make_places
from prefect_tune.error import InvalidArgument, TuneError
from prefect_tune.filesystem.location import Location
from prefect_tune.orchestration.prefect_internals import load_block
from prefect_tune.orchestration.spec.form import FormModel, Tabs, path_of
from prefect_tune.orchestration.spec.space import Param, build_space
from prefect_tune.orchestration.spec.strategy import SchedulerOptions, SearcherOptions
from prefect_tune.orchestration.spec.trainable import load_trainable
from prefect_tune.resources import PlacementGroupFactory
from prefect_tune.settings import load_settings
from prefect_tune.space import is_variable
from prefect_tune.storage.fetch import is_resumable

if TYPE_CHECKING:
    from prefect_tune.results import ExperimentAnalysis

Mode = Literal["min", "max"]


class Budget(FormModel):
    """How much an experiment may use."""

    trials: Annotated[int, Field(ge=-1)] = Field(
        default=10,
        description="How often the space is sampled (a grid is repeated as often); -1 without end.",
    )
    hours: Annotated[float, Field(gt=0)] | None = Field(
        default=None, description="Hours after which the experiment ends; empty for no limit."
    )
    minutes_per_trial: Annotated[float, Field(gt=0)] | None = Field(
        default=None, description="Minutes after which a trial ends; empty for no limit."
    )
    concurrency: Annotated[int, Field(ge=0)] | None = Field(
        default=None, description="Most trials at a time; empty for what the cluster holds."
    )
    failures: Annotated[int, Field(ge=-1)] = Field(
        default=0, description="How often a failed trial is tried again; -1 without end."
    )


class StopRule(FormModel):
    """Ends a trial when a metric reaches a value."""

    metric: str = Field(description="Name of the metric, e.g. training_iteration.")
    value: float = Field(description="The trial ends when the metric is at least this.")


class CustomResource(FormModel):
    """A resource that the workers of the cluster declare."""

    name: str
    amount: Annotated[float, Field(ge=0)]


class Resources(FormModel):
    """What a trial needs on one node."""

    model_config = ConfigDict(title="One node")

    cpu: Annotated[float, Field(ge=0)] = Field(default=1, description="CPUs of a trial.")
    gpu: Annotated[float, Field(ge=0)] = Field(default=0, description="GPUs; 0.5 shares one.")
    custom: list[CustomResource] = Field(
        default=[], description="Further resources that the cluster's workers declare."
    )

    def request(self) -> dict[str, float]:
        """Return the resources by name."""
        named = {resource.name: resource.amount for resource in self.custom}
        return {"cpu": self.cpu, "gpu": self.gpu} | named


class Bundles(FormModel):
    """What a trial needs in several bundles, which may be on several nodes."""

    bundles: Annotated[list[Resources], Field(min_length=1)] = Field(
        description="The first one runs the trial, which starts functions in the others."
    )
    strategy: Literal["PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD"] = Field(
        default="PACK",
        description="PACK takes as few nodes as it can, SPREAD as many; STRICT_PACK insists on one "
        "node, STRICT_SPREAD on one for each bundle.",
    )

    def request(self) -> PlacementGroupFactory:
        """Return the bundles as `run` takes them.

        Raises:
            InvalidArgument: If a bundle asks for nothing, or the first one for no CPU.
        """
        return PlacementGroupFactory([each.request() for each in self.bundles], self.strategy)


TrialResources = Annotated[Resources | Bundles, Tabs()]


class NewExperiment(FormModel):
    """Begins a new experiment."""

    model_config = ConfigDict(title="New")

    restore: str | None = Field(
        default=None, description="Path or URL of a checkpoint that every trial starts from."
    )


class ResumeExperiment(FormModel):
    """Goes on with the experiment of this name and storage."""

    model_config = ConfigDict(title="Resume")

    resume: Literal["AUTO", "LOCAL", "REMOTE"] = Field(
        default="AUTO",
        description="AUTO goes on if there is one, LOCAL insists on it, REMOTE on one in storage.",
    )
    failed_trials: Literal["keep", "resume", "restart"] = Field(
        default="keep", description="Whether failed trials stay failed, go on, or begin anew."
    )

    @property
    def mode(self) -> str:
        """Value for the argument `resume` of `run`."""
        suffix = {"keep": "", "resume": "+ERRORED", "restart": "+RESTART_ERRORED"}
        return self.resume + suffix[self.failed_trials]


class WarmStartExperiment(FormModel):
    """Begins a new experiment with the best configurations of earlier ones."""

    model_config = ConfigDict(title="Warm start")

    experiments: Annotated[list[str], Field(min_length=1)] = Field(
        description="Directories or URLs of earlier experiments."
    )
    best: Annotated[int, Field(ge=1)] = Field(
        default=10,
        description="How many of the best configurations random search tries first; the other "
        "searches learn from all of them.",
    )

    def read(self) -> list[ExperimentAnalysis]:
        """Read the experiments.

        Raises:
            InvalidArgument: If one cannot be read.
        """
        from prefect_tune.results import ExperimentAnalysis

        read = []
        for path in self.experiments:
            try:
                read.append(ExperimentAnalysis(path))
            except (TuneError, OSError, ValueError) as error:
                raise InvalidArgument(
                    "continue_from.experiments",
                    f"`{path}` cannot be read ({error}).",
                    "Give the directory or URL of an experiment.",
                ) from error
        return read

    def points(
        self,
        experiments: list[ExperimentAnalysis],
        space: Mapping[str, Any],
        metric: str,
        mode: Mode,
    ) -> list[dict[str, Any]]:
        """Return the best configurations, without the parameters that `space` does not have.

        Raises:
            InvalidArgument: If no experiment has a value of the metric, or they have searched other
                parameters.
        """
        scored: list[tuple[float, int, dict[str, Any]]] = []
        for experiment in experiments:
            for trial in experiment.trials:
                value = trial.metric_value(metric, mode, mode)
                if value is not None and math.isfinite(value):
                    scored.append((value if mode == "min" else -value, len(scored), trial.config))
        if not scored:
            raise InvalidArgument(
                "continue_from.experiments",
                f"no trial of {', '.join(self.experiments)} reported `{metric}`.",
                "Name experiments that were tuned by the same metric.",
            )
        searched = [k for k, v in space.items() if is_variable(v) or isinstance(v, dict)]
        if searched and not any(key in config for _, _, config in scored for key in searched):
            raise InvalidArgument(
                "continue_from.experiments",
                f"their trials have none of the parameters {', '.join(searched)}.",
                "Name experiments that searched the same space.",
            )
        best = [config for _, _, config in sorted(scored)[: self.best]]
        return [{key: value for key, value in c.items() if key in space} for c in best]


ContinueFrom = Annotated[NewExperiment | ResumeExperiment | WarmStartExperiment, Tabs()]


class ExperimentSpec(BaseModel):
    """Experiment as plain data, from a form, a YAML file or a deployment's parameters."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    trainable: str = Field(
        description="Import path of a function f(config) or a class, e.g. `my_package.train:train`."
    )
    metric: str = Field(description="Name of the reported metric to optimise.")
    mode: Mode = Field(description="Whether the metric is to be minimised or maximised.")
    space: list[Param] | dict[str, Any] = Field(
        default=[], description="The hyper-parameters, each with the values it may have."
    )
    scheduler: SchedulerOptions = Field(
        default="fifo", validate_default=True, description="What stops bad trials early."
    )
    search: SearcherOptions = Field(
        default="random", validate_default=True, description="How configurations are found."
    )
    budget: Budget = Field(default=Budget(), description="How much the experiment may use.")
    stop: list[StopRule] = Field(
        default=[], description="Rules that end a trial; the first that holds does."
    )
    resources: TrialResources = Field(default=Resources(), description="What a trial needs.")
    storage: Any = Field(
        default=None,
        description="Where the experiment's directory is made: a path, a URL or a block; empty for "
        "TUNE_RESULT_DIR or ~/prefect_tune_results.",
    )
    cluster: Any = Field(
        default=None,
        description="A block, or the address of a Dask scheduler, e.g. tcp://10.0.0.1:8786; empty "
        "for this machine.",
    )
    defaults: Any = Field(
        default=None,
        description="A block, or block://experiment-defaults/NAME, whose storage, cluster and "
        "resources stand for what is left as it is here, and which tells the experiment's end.",
    )
    continue_from: ContinueFrom = Field(
        default=NewExperiment(),
        description="Whether to begin anew, to go on with an experiment, or to learn from earlier "
        "ones. When Prefect executes a flow run again, it goes on with its experiment anyway.",
    )
    name: str | None = Field(
        default=None,
        description="Name of the experiment, its directory and the flow run, in which {date} and "
        "{time} are filled in; empty for a dated one.",
    )
    if_exists: Literal["refuse", "new", "resume"] = Field(
        default="refuse",
        description="If there is an experiment of that name already: refuse to run, make a new one "
        "with a number behind the name, or go on with it.",
    )
    seed: int | None = Field(default=None, description="Seeds the search and every trial.")

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Self:
        """Validate values from a form or a file.

        Raises:
            InvalidArgument: If a value is wrong; names the first wrong one.
        """
        try:
            return cls.model_validate(dict(values))._filled()
        except ValidationError as error:
            first = error.errors()[0]
            cause = first.get("ctx", {}).get("error")
            if isinstance(cause, InvalidArgument):
                raise InvalidArgument(path_of(first), cause.problem, cause.hint) from None
            match first["type"]:
                case "extra_forbidden":
                    problem, hint = "there is no such field.", "Remove or correct it."
                case "missing":
                    problem, hint = "it is missing.", "Give it."
                case _:
                    problem, hint = f"got {first['input']!r}.", f"{first['msg']}."
            raise InvalidArgument(path_of(first), problem, hint) from None

    def _filled(self) -> Self:
        """Fill fields that have their default values from `defaults`; a form gives every field."""
        defaults = self.defaults
        if defaults is None:
            return self
        kind = "experiment-defaults/NAME"
        if isinstance(defaults, str):
            defaults = load_block(defaults, "defaults", "callbacks", kind)
        elif not hasattr(defaults, "callbacks"):
            raise InvalidArgument("defaults", f"got {defaults!r:.80}.", f"Give block://{kind}.")
        given = {
            name: getattr(defaults, name)
            for name in ("storage", "cluster", "resources")
            if getattr(self, name) == type(self).model_fields[name].default
        }
        return self.model_copy(update={**given, "defaults": defaults})

    def run_arguments(
        self, now: datetime.datetime | None = None, *, begun: bool = False
    ) -> dict[str, Any]:
        """Make keyword arguments for `prefect_tune.run`.

        Args:
            now: Time for `{date}` and `{time}` in the name; None is the present.
            begun: True if the flow run is executed again, so that an experiment of that name is to
                be resumed.

        Raises:
            InvalidTrainable: If the trainable cannot be imported.
            InvalidArgument: If the space, the scheduler or the search cannot be built, or there is
                an experiment of that name already.
        """
        space = build_space(self.space)
        budget = self.budget
        search_alg = self.search.build(space)
        name = None if self.name is None else fill_in(self.name, now)
        resume = restore = warm_start_from = None
        match self.continue_from:
            case ResumeExperiment() as resumed:
                resume = resumed.mode
            case NewExperiment() as new:
                restore = new.restore
                name, resume = self._free_name(name, begun)
            case WarmStartExperiment() as warm:
                name, resume = self._free_name(name, begun)
                experiments = warm.read()
                # For each search, as it also checks the experiments.
                points = warm.points(experiments, space, self.metric, self.mode)
                if self.search.registered.name == "random":
                    search_alg = self.search.build(space, points_to_evaluate=points)
                else:
                    warm_start_from = experiments
        return {
            "run_or_experiment": load_trainable(self.trainable),
            "config": space,
            "metric": self.metric,
            "mode": self.mode,
            "scheduler": self.scheduler.build(space),
            "search_alg": search_alg,
            "num_samples": budget.trials,
            "time_budget_s": None if budget.hours is None else budget.hours * 3600,
            "trial_time_limit_s": (
                None if budget.minutes_per_trial is None else budget.minutes_per_trial * 60
            ),
            "max_concurrent_trials": budget.concurrency,
            "max_failures": budget.failures,
            "stop": {rule.metric: rule.value for rule in self.stop} or None,
            "resources_per_trial": self.resources.request(),
            "storage_path": self.storage,
            "callbacks": self.defaults and self.defaults.callbacks(self.metric, self.mode),
            "cluster": self.cluster,
            "name": name,
            "seed": self.seed,
            "resume": resume,
            "restore": restore,
            "warm_start_from": warm_start_from,
        }

    def _free_name(self, name: str | None, begun: bool) -> tuple[str | None, str | None]:
        """Return a name with which no experiment is overwritten, and `run`'s `resume`."""
        if name is None or begun:
            return name, None
        places = make_places(RunConfig(storage_path=self.storage), load_settings(), "")

        def exists(candidate: str) -> bool:
            there = places.location_of(candidate)
            found = [Location(places.root) / candidate, *([] if there is None else [there])]
            return any(map(is_resumable, found))

        if not exists(name):
            return name, None
        match self.if_exists:
            case "resume":
                return name, "AUTO"
            case "new":
                return next(n for k in itertools.count(2) if not exists(n := f"{name}_{k}")), None
        raise InvalidArgument(
            "name",
            f"there is an experiment {name!r} in {places.permanent_location} already.",
            'Give another name, such as "name-{date}", or `if_exists`: "new" for one with a number '
            'behind its name, "resume" to resume the existing one.',
        )


def fill_in(name: str, now: datetime.datetime | None = None) -> str:
    """Replace `{date}` and `{time}` in the name of an experiment.

    Raises:
        InvalidArgument: If the name has something else in braces.
    """
    now = now or datetime.datetime.now().astimezone()
    known = {"date": f"{now:%Y-%m-%d}", "time": f"{now:%H-%M-%S}"}
    try:
        return string.Formatter().vformat(name, (), known)
    except (KeyError, IndexError, ValueError) as error:
        raise InvalidArgument(
            "name", f"{name!r} cannot be filled in ({error!r}).", "It may have {date} and {time}."
        ) from None
