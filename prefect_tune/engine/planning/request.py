"""What a user asked for, in one place, whichever call it came through."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

from prefect_tune.config import ResumeConfig, RunConfig, TuneConfig


@dataclass
class ExperimentRequest:
    """The arguments of `run` or of `Tuner`, not yet validated.

    Attributes:
        trainable: What to tune.
        param_space: The search space.
        tune_config: How it is searched.
        run_config: How it runs.
        resources_per_trial: As the user wrote them; None is one CPU.
        space_argument: What the user's call names the space, for error messages.
        resume: As the user wrote it: whether to go on with an interrupted experiment.
        restore: As the user wrote it: the checkpoint that trials start from.
        resume_config: As the user wrote it: which of its trials run again.
        export_formats: As the user wrote them: what trials export at their end.
        saved: What `Tuner.restore` needs, to be written into the experiment directory; None writes
            nothing.
    """

    trainable: Any
    param_space: Any = None
    tune_config: TuneConfig = field(default_factory=TuneConfig)
    run_config: RunConfig = field(default_factory=RunConfig)
    resources_per_trial: Any = None
    space_argument: str = "param_space"
    resume: Any = None
    restore: Any = None
    resume_config: ResumeConfig | None = None
    export_formats: Any = None
    saved: bytes | None = None

    def resume_call(self, name: str, root: str) -> str:
        """The call that goes on with the experiment, for people."""
        if self.saved is not None:
            return f"Tuner.restore({os.path.join(root, name)!r}, trainable).fit()"
        return f"tune.run(..., name={name!r}, storage_path={root!r}, resume=True)"
