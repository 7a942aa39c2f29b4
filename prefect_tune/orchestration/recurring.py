"""Runs sweeps that recur: each learns from earlier ones, and the best model is the champion."""

from __future__ import annotations

import datetime
import hashlib
import json
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from prefect.artifacts import create_table_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.events import emit_event
from prefect.variables import Variable
from pydantic import BaseModel, Field

from prefect_tune.error import InvalidArgument
from prefect_tune.filesystem.parse import parse_location
from prefect_tune.filesystem.store import open_store
from prefect_tune.orchestration.logs import run_log
from prefect_tune.orchestration.record.sweep_result import SweepResult
from prefect_tune.orchestration.record.texts import show_value
from prefect_tune.orchestration.spec.experiment import ExperimentSpec, WarmStartExperiment
from prefect_tune.orchestration.spec.form import FormModel
from prefect_tune.orchestration.spec.trainable import load_trainable
from prefect_tune.storage.fetch import is_resumable

PROMOTED = "prefect-tune.champion.promoted"
DROPPED = "prefect-tune.series.quality-dropped"
#: Characters that a Prefect variable holds.
_LARGEST_VARIABLE = 5000
_MOST_RUNS = 50
_LARGEST_CONFIG = 1500


class SeriesEntry(BaseModel):
    """Sweep of a series.

    Attributes:
        experiment: Name of the experiment.
        directory: Directory or URL of the experiment.
        value: The best value of the metric.
        when: Time of the sweep's end, in UTC.
        promoted: True if the best model became the champion.
        checkpoint: Checkpoint of the best trial; only kept for the champion.
        config: Configuration of the best trial; only kept for the champion.
    """

    experiment: str
    directory: str
    value: float
    when: str
    promoted: bool = False
    checkpoint: str | None = None
    config: dict[str, Any] = {}


class Series(BaseModel):
    """State of a series of sweeps, which is stored in a Prefect variable.

    Attributes:
        champion: The entry of the best model so far.
        runs: An entry for each sweep, the latest last; the oldest are dropped.
        fingerprint: Fingerprint of the data at the last sweep.
    """

    champion: SeriesEntry | None = None
    runs: list[SeriesEntry] = []
    fingerprint: str = ""

    def dump(self) -> dict[str, Any]:
        """Return the variable's value, without parts that make it too large."""
        kept = self.model_copy(update={"runs": self.runs[-_MOST_RUNS:]})
        if kept.champion is not None and len(json.dumps(kept.champion.config)) > _LARGEST_CONFIG:
            # It is in the experiment's directory.
            kept.champion = kept.champion.model_copy(update={"config": {}})
        while kept.runs and len(kept.model_dump_json(exclude_defaults=True)) > _LARGEST_VARIABLE:
            kept.runs = kept.runs[1:]
        return kept.model_dump(exclude_defaults=True)


class Learning(FormModel):
    """Which earlier sweeps a new one begins with."""

    runs: Annotated[int, Field(ge=0)] = Field(
        default=3, description="How many of the last sweeps; 0 begins from nothing."
    )
    best: Annotated[int, Field(ge=1)] = Field(
        default=10, description="How many of their configurations are tried first."
    )


class Promotion(FormModel):
    """When the best model of a sweep replaces the champion."""

    margin: Annotated[float, Field(ge=0)] = Field(
        default=0.0, description="By how much of the metric it has to be better."
    )
    evaluate: str | None = Field(
        default=None,
        description="Import path of a function f(checkpoint, config) -> value that judges both by "
        "the same data; empty compares the values that they reported when they were tuned.",
    )
    alert_drop: Annotated[float, Field(ge=0)] | None = Field(
        default=None,
        description="Send the event prefect-tune.series.quality-dropped if the best value of a "
        "sweep is worse than the champion's by more than this; empty sends none.",
    )


class RecurringSpec(ExperimentSpec):
    """A sweep that recurs."""

    name: str | None = Field(
        default="sweep-{date}",
        description="Name of each experiment, in which {date} and {time} are filled in. What is "
        "left without them names the series.",
    )
    learning: Learning = Field(
        default=Learning(), description="Which earlier sweeps a new one begins with."
    )
    promotion: Promotion = Field(
        default=Promotion(), description="When the best model of a sweep replaces the champion."
    )
    data: str | None = Field(
        default=None,
        description="A local file, a directory as a path or URL, or the import path of a function "
        "that returns a text: while it is what it was at the last sweep, none is run. Empty runs "
        "each.",
    )
    overlap: Literal["skip", "allow"] = Field(
        default="skip", description="What to do while another run of the deployment still runs."
    )

    @property
    def series(self) -> str:
        """Name of the series, in characters that the name of a Prefect variable may have."""
        plain = re.sub(r"\{\w*\}", "", self.name or "sweep").lower()
        return "prefect_tune_" + (re.sub(r"[^a-z0-9]+", "_", plain).strip("_") or "sweep")

    def next_sweep(self, series: Series) -> ExperimentSpec:
        """Return the next sweep, which begins with the best configurations of the last ones."""
        values = {name: getattr(self, name) for name in ExperimentSpec.model_fields}
        last = series.runs[-self.learning.runs :] if self.learning.runs else []
        readable = [run.directory for run in last if is_resumable(_place(run.directory))]
        if readable:
            values["continue_from"] = WarmStartExperiment(
                experiments=readable, best=self.learning.best
            )
        return ExperimentSpec.model_construct(**values)


def load_series(name: str) -> Series:
    """Read the state of a series, which is empty before its first sweep."""
    value: Any = Variable.get(name, default=None)
    return Series() if value is None else Series.model_validate(value)


def why_to_skip(
    spec: RecurringSpec, series: Series, run: FlowRun, others: list[FlowRun], fingerprint: str
) -> str:
    """Return why a run of the flow starts no sweep; "" if it starts one.

    Args:
        spec: The sweep.
        series: State of the series.
        run: The flow run.
        others: Other runs of its deployment that have not ended.
        fingerprint: Fingerprint of the data now.
    """
    if run.run_count > 1:  # its sweep has begun, and is to be resumed
        return ""
    now = datetime.datetime.now(datetime.UTC)
    due = run.expected_start_time
    for other in others:
        later = other.expected_start_time
        if run.auto_scheduled and due is not None and later is not None and due < later <= now:
            return f"it was due at {due:%Y-%m-%d %H:%M}, and so is {other.name} since"
        runs = other.state_type is StateType.RUNNING and other.start_time is not None
        # Of two runs that start at the same time, one has to continue.
        if spec.overlap == "skip" and runs and _began(other) <= _began(run):
            return f"{other.name} still runs"
    if fingerprint and fingerprint == series.fingerprint:
        return f"the data is what it was at {series.runs[-1].when if series.runs else 'the last'}"
    return ""


def _began(run: FlowRun) -> tuple[float, str]:
    return (math.inf if run.start_time is None else run.start_time.timestamp(), str(run.id))


def unfinished_runs(run: FlowRun) -> list[FlowRun]:
    """Read the other runs of a flow run's deployment that have not ended."""
    if run.deployment_id is None:
        return []
    live = [StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING]
    which = FlowRunFilter.model_validate(
        {"deployment_id": {"any_": [run.deployment_id]}, "state": {"type": {"any_": live}}}
    )
    with get_client(sync_client=True) as client:
        return [
            other for other in client.read_flow_runs(flow_run_filter=which) if other.id != run.id
        ]


def fingerprint_of(data: str | None) -> str:
    """Return a text that changes with the data.

    It is a digest of the names and sizes of files, and of the times of local files, or the result
    of the user's function.

    Raises:
        InvalidArgument: If there is no such data.
    """
    if not data:
        return ""
    if re.fullmatch(r"[\w.]+:\w[\w.]*", data):
        return str(load_trainable(data)())
    place = _place(data)
    files: Mapping[str, Any]
    if place.is_local:
        top = Path(place.path)
        found = [top] if top.is_file() else top.rglob("*")
        stats = {str(path): path.stat() for path in found if path.is_file()}
        files = {name: (stat.st_size, stat.st_mtime_ns) for name, stat in stats.items()}
    else:
        files = open_store(place).sizes("")
    if not files:
        raise InvalidArgument("data", f"there is nothing in {data}.", "Give a file or directory.")
    return hashlib.sha256(json.dumps(sorted(files.items())).encode()).hexdigest()[:16]


def judge(
    spec: RecurringSpec,
    series: Series,
    result: SweepResult,
    evaluate: Callable[[str | None, dict[str, Any]], float] | None = None,
) -> tuple[Series, str]:
    """Decide whether the best model of a sweep becomes the champion.

    Args:
        spec: The sweep.
        series: State of the series.
        result: Result of the sweep, with a best value.
        evaluate: Returns the value of a model for the present data; None compares the values that
            were reported.

    Returns:
        The new state of the series, and the verdict as text.
    """
    champion, value = series.champion, result.best_value or 0.0
    best = champion.value if champion is not None else math.nan
    if evaluate is not None:
        value = float(evaluate(result.checkpoint, result.best_config))
        if champion is not None:
            best = float(evaluate(champion.checkpoint, champion.config))
    gain = value - best if spec.mode == "max" else best - value
    promoted = champion is None or math.isnan(best) or gain > spec.promotion.margin
    entry = SeriesEntry(
        experiment=result.experiment,
        directory=result.directory,
        value=value,
        when=f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M}",
        promoted=promoted,
    )
    runs = [*series.runs, entry]
    if champion is None:
        verdict = f"{spec.metric}={value:.6g} is the first champion"
    elif promoted:
        verdict = f"{spec.metric}={value:.6g} replaces the champion's {best:.6g}"
    else:
        verdict = f"{spec.metric}={value:.6g} does not replace the champion's {best:.6g}"
    if promoted:
        more = {"checkpoint": result.checkpoint, "config": result.best_config}
        champion = entry.model_copy(update=more)
    elif evaluate is not None and champion is not None:
        champion = champion.model_copy(update={"value": best})
    return series.model_copy(update={"champion": champion, "runs": runs}), verdict


def judge_and_announce(
    spec: RecurringSpec, series: Series, result: SweepResult, fingerprint: str
) -> str:
    """Judge a sweep that has ended, store and announce the outcome; return the verdict as text."""
    path = spec.promotion.evaluate
    evaluate = None if path is None else load_trainable(path)
    judged, verdict = judge(spec, series, result, evaluate)
    judged = judged.model_copy(update={"fingerprint": fingerprint})
    Variable.set(spec.series, judged.dump(), overwrite=True)
    create_table_artifact(
        [
            entry.model_dump(include={"experiment", "when", "value", "promoted"})
            for entry in judged.runs
        ],
        key=f"{spec.series.replace('_', '-')}-history",
        description=f"The sweeps of this series by {show_value(spec.metric)}; {verdict}.",
    )
    run_log().info("%s.", verdict[0].upper() + verdict[1:])
    latest, champion = judged.runs[-1], judged.champion
    resource = {
        "prefect.resource.id": f"prefect-tune.series.{spec.series}",
        "prefect.resource.name": spec.series,
    }
    payload = {"verdict": verdict, "value": latest.value, **result.model_dump()}
    if latest.promoted:
        emit_event(PROMOTED, resource=resource, payload=payload)
    elif spec.promotion.alert_drop is not None and champion is not None:
        drop = (
            latest.value - champion.value if spec.mode == "min" else champion.value - latest.value
        )
        if drop > spec.promotion.alert_drop:
            run_log().warning(
                "The best %s is worse than the champion's by %.6g.", spec.metric, drop
            )
            emit_event(DROPPED, resource=resource, payload={**payload, "drop": drop})
    return verdict


def _place(path: str) -> Any:
    return parse_location(path, "data")
