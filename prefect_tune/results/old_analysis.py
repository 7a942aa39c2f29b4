"""`Analysis`, the class of Ray Tune 1 that reads an experiment directory."""

from __future__ import annotations

import os
from typing import Any

from typing_extensions import override

from prefect_tune.results.analysis import ExperimentAnalysis


class Analysis(ExperimentAnalysis):
    """The trials in an experiment directory, ranked by the best of all their results.

    `ExperimentAnalysis` ranks trials by their last results instead.

    Args:
        experiment_dir: The directory.
        default_metric: As for `ExperimentAnalysis`.
        default_mode: As for `ExperimentAnalysis`.

    Raises:
        StorageError: If the directory cannot be read, or there is no experiment in it.
        InvalidArgument: If `default_mode` has another value.
    """

    def __init__(
        self,
        experiment_dir: str | os.PathLike[str],
        default_metric: str | None = None,
        default_mode: str | None = None,
    ) -> None:
        super().__init__(experiment_dir, None, default_metric, default_mode)

    @override
    def get_best_config(
        self, metric: str | None = None, mode: str | None = None, scope: str = "all"
    ) -> dict[str, Any] | None:
        return super().get_best_config(metric, mode, scope)

    @override
    def get_best_logdir(
        self, metric: str | None = None, mode: str | None = None, scope: str = "all"
    ) -> str | None:
        return super().get_best_logdir(metric, mode, scope)
