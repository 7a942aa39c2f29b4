"""The arguments of a sweep as the user gave them, from `run`, `Tuner` or a flow."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

from prefect_tune.config import ResumeConfig, RunConfig, TuneConfig


@dataclass
class ExperimentRequest:
    """The arguments of `run` or of `Tuner`, not yet validated.

    Attributes:
        trainable: The trainable to tune.
        param_space: The search space.
        tune_config: How the space is searched.
        run_config: How the experiment runs.
        resources_per_trial: Resources of each trial; None is one CPU.
        space_argument: Name of the search space's argument in the user's call, for error messages.
        resume: Whether to go on with an interrupted experiment.
        restore: The checkpoint that trials start from.
        resume_config: Which trials of the resumed experiment run again.
        export_formats: The formats in which trials export their models at their end.
        saved: The state of the `Tuner`, to be written into the experiment directory for
            `Tuner.restore`; None writes nothing.
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
        """Return the code of the call that resumes the experiment, for messages."""
        if self.saved is not None:
            return f"Tuner.restore({os.path.join(root, name)!r}, trainable).fit()"
        return f"tune.run(..., name={name!r}, storage_path={root!r}, resume=True)"
