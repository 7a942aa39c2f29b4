"""Forms of the requests to a running sweep, one tab for each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from prefect_tune import control
from prefect_tune.orchestration.spec.experiment import StopRule
from prefect_tune.orchestration.spec.form import FormModel, Tabs


class _Action(FormModel):
    def ask(self, experiment: str) -> str:
        """Send the request to an experiment; return what was done."""
        kind, *arguments = self.model_dump().values()
        request: Callable[..., str] = getattr(control, kind.replace("-", "_"))
        return request(experiment, *arguments)


class Pause(_Action):
    """Starts no trial until the sweep is resumed."""

    kind: Literal["pause"] = Field(default="pause", description="Do not change.")


class Resume(_Action):
    """Goes on after a pause."""

    kind: Literal["resume"] = Field(default="resume", description="Do not change.")


class Stop(_Action):
    """Ends the sweep when the trials that run have ended."""

    kind: Literal["stop"] = Field(default="stop", description="Do not change.")


class Cancel(_Action):
    """Ends the sweep now; it can be resumed later."""

    kind: Literal["cancel"] = Field(default="cancel", description="Do not change.")


class StopTrial(_Action):
    """Ends one trial."""

    model_config = ConfigDict(title="Stop a trial")
    kind: Literal["stop-trial"] = Field(default="stop-trial", description="Do not change.")
    trial: str = Field(description="Its id or name.")


class AddSamples(_Action):
    """Samples the search space more often."""

    model_config = ConfigDict(title="Add samples")
    kind: Literal["add-samples"] = Field(default="add-samples", description="Do not change.")
    samples: Annotated[int, Field(ge=1)] = Field(default=10, description="How many samples more.")


class SetLimits(_Action):
    """Changes limits of the sweep."""

    model_config = ConfigDict(title="Set limits")
    kind: Literal["set"] = Field(default="set", description="Do not change.")
    max_concurrent: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="Most trials at a time; empty leaves it."
    )
    hours_left: Annotated[float, Field(gt=0)] | None = Field(
        default=None, description="Hours from now after which the sweep ends; empty leaves it."
    )
    stop: list[StopRule] = Field(default=[], description="Further rules that end a trial.")

    def ask(self, experiment: str) -> str:
        """Send the request to an experiment; return what was done."""
        return control.set(
            experiment,
            max_concurrent=self.max_concurrent,
            time_left_s=None if self.hours_left is None else self.hours_left * 3600,
            stop={rule.metric: rule.value for rule in self.stop},
        )


Action = Annotated[Pause | Resume | Stop | Cancel | StopTrial | AddSamples | SetLimits, Tabs()]
