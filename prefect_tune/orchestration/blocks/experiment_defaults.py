"""`ExperimentDefaults`: a block with values that the experiments of a team share."""

# Annotations must stay objects, because Prefect makes the form from them.
import inspect
import logging
from typing import Any, Literal

from prefect.blocks.abstract import NotificationBlock
from prefect.blocks.core import Block
from prefect.utilities.asyncutils import run_coro_as_sync
from pydantic import BaseModel, ConfigDict, Field

from prefect_tune.callback import Callback
from prefect_tune.experiment.trial import Trial
from prefect_tune.orchestration.blocks.dask_cluster import DaskCluster
from prefect_tune.orchestration.blocks.tune_storage import TuneStorage
from prefect_tune.orchestration.prefect_internals import load_block
from prefect_tune.orchestration.spec.experiment import Resources, TrialResources
from prefect_tune.reporters.progress import SweepProgress

_logger = logging.getLogger("prefect_tune")


class Notification(BaseModel):
    """Notification at the end of a sweep."""

    model_config = ConfigDict(extra="forbid")

    block: str = Field(
        description="The notification block that tells it.",
        examples=["slack-webhook/team"],
        pattern=r"^(block://)?[^/]+/[^/]+$",
    )
    when: Literal["a trial failed", "always"] = Field(
        default="always", description="After which sweeps."
    )


class ExperimentDefaults(Block):
    """Default values that the experiments of a team share.

    Give it, or ``block://experiment-defaults/NAME``, as the `defaults` of an experiment: it fills
    what the experiment leaves empty.

    Example:
        Load a saved block and use it:
        ```python
        from prefect_tune.blocks import ExperimentDefaults

        defaults = ExperimentDefaults.load("BLOCK_NAME")
        ```
    """

    _block_type_name = "Experiment Defaults"
    _block_type_slug = "experiment-defaults"
    _logo_url = TuneStorage._logo_url  # type: ignore[assignment]
    _documentation_url = "https://docs.prefect.io/v3/concepts/blocks"  # type: ignore[assignment]

    storage: TuneStorage | str | None = Field(
        default=None, description="Where experiments are stored: a block, a path or a URL."
    )
    cluster: DaskCluster | str | None = Field(
        default=None, description="Where trials run: a block or the address of a Dask scheduler."
    )
    resources: TrialResources = Field(default=Resources(), description="What a trial needs.")
    notifications: list[Notification] = Field(
        default=[], description="Who is told when a sweep has ended."
    )

    def callbacks(self, metric: str, mode: str) -> list[Callback]:
        """Make the callbacks that send notifications at the end of a sweep.

        Args:
            metric: The metric of its trials.
            mode: ``min`` or ``max``.

        Raises:
            InvalidArgument: If a notification block does not exist.
        """
        return [NotifyOnEnd(told, metric, mode) for told in self.notifications]


class NotifyOnEnd(Callback):
    """Callback that notifies somebody how a sweep has ended; errors are only logged.

    Args:
        notification: The block, and after which sweeps.
        metric: The metric of the sweep.
        mode: ``min`` or ``max``.

    Raises:
        InvalidArgument: If the block does not exist.
    """

    def __init__(self, notification: Notification, metric: str, mode: str) -> None:
        self._notification = notification
        self._metric = metric
        self._mode = mode
        self._load()

    def on_experiment_end(self, trials: list[Trial], **info: Any) -> None:
        """Send the notification."""
        progress = SweepProgress(self._metric, self._mode)
        progress.update(trials)
        if not trials or (self._notification.when == "a trial failed" and not progress.errors):
            return
        best = progress.best
        found = "no result" if best is None else f"best {self._metric}={best.value:.6g}"
        shown = ", ".join(f"{number} {status}" for status, number in progress.counts().items())
        place = trials[0].local_experiment_path
        try:
            sent: Any = self._load().notify(
                f"{found}; {len(trials)} trials ({shown}). Results: {place}",
                f"The sweep in {place} has ended",
            )
            if inspect.iscoroutine(sent):
                run_coro_as_sync(sent)
        except Exception as error:
            _logger.warning("%s could not tell the end: %r", self._notification.block, error)

    def _load(self) -> NotificationBlock:
        block: NotificationBlock = load_block(
            self._notification.block, "defaults.notifications", "notify", "slack-webhook/NAME"
        )
        return block
