"""Shows the progress, leaderboard and summary of an experiment as Prefect artifacts."""

from __future__ import annotations

import json
import logging
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate
from prefect.client.schemas.filters import ArtifactFilter
from prefect.client.schemas.objects import Artifact
from prefect.client.schemas.sorting import ArtifactSort
from prefect.context import FlowRunContext, SyncClientContext, TaskRunContext
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from prefect_tune.experiment.plain import finite_number
from prefect_tune.orchestration.record.texts import show_value, showable
from prefect_tune.orchestration.threads import make_thread

_logger = logging.getLogger("prefect_tune")

#: Seconds between two updates.
INTERVAL = 5.0
_DIGITS = 6
_CLOSE_SECONDS = 5.0
#: Characters that the key of an artifact must not have.
_NO_KEY = re.compile("[^a-z0-9]+")
_LONGEST_KEY = 100


@dataclass(frozen=True, slots=True)
class Snapshot:
    """State of an experiment, for artifacts.

    Attributes:
        done: Number of finished trials.
        total: Number of trials in all; None if not known.
        counts: Number of trials by status.
        rows: The best trials, best first: column heading -> JSON-able value.
    """

    done: int
    total: int | None
    counts: Mapping[str, int] = field(default_factory=dict)
    rows: Sequence[Mapping[str, Any]] = ()

    @property
    def percent(self) -> float:
        """Share of the trials that are finished; 0 while their number is not known."""
        return min(100.0, 100.0 * self.done / self.total) if self.total else 0.0

    def __str__(self) -> str:
        total = "" if self.total is None else f" of {self.total}"
        by_status = ", ".join(f"{number} {status}" for status, number in self.counts.items())
        return f"{self.done}{total} trials done" + (f" ({by_status})" if by_status else "")


class ArtifactReporter:
    """Context manager that keeps the artifacts of the surrounding task run up to date in a thread.

    A slow API delays nothing. A failure is logged once, and the next update tries again. To be used
    inside the coordinator task.

    Args:
        experiment: Name of the experiment, with which the keys of its artifacts begin.
        interval: Least number of seconds between two updates.
    """

    def __init__(self, experiment: str, interval: float = INTERVAL) -> None:
        prefix = _NO_KEY.sub("-", experiment.lower()).strip("-")[:_LONGEST_KEY]
        self._prefix = prefix or "experiment"
        self._interval = interval
        self._newest: Snapshot | None = None
        self._summary = ""
        self._pages: dict[UUID, str] = {}
        self._draw: Callable[[], str] | None = None
        self._next_update = 0.0
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._ids: dict[str, UUID] = {}
        self._complained = False
        self._thread = make_thread("prefect-artifacts", self._work)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._closing.set()
        self._wake.set()
        self._thread.join(timeout=_CLOSE_SECONDS * (1 if self._draw is None else 4))

    @property
    def due(self) -> bool:
        """True if `update` would show a snapshot now, so that none is made in vain."""
        return time.monotonic() >= self._next_update

    def update(self, snapshot: Snapshot) -> None:
        """Show a snapshot."""
        self._next_update = time.monotonic() + self._interval
        self._newest = snapshot
        self._wake.set()

    def conclude(
        self,
        snapshot: Snapshot,
        summary: str,
        pages: Mapping[UUID, str] | None = None,
        draw: Callable[[], str] | None = None,
    ) -> None:
        """Set what is shown at the end.

        Args:
            snapshot: The final state.
            summary: Markdown.
            pages: Markdown for the pages of task runs.
            draw: Returns further markdown for the summary; called when all else is shown.
        """
        self._pages = dict(pages or {})
        self._draw = draw
        self._newest = snapshot
        self._summary = summary

    def _work(self) -> None:
        # There is always a next update, so the client need not insist on this one.
        with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}):
            closing = False
            while not closing:
                self._wake.wait()
                self._wake.clear()
                # Read before publishing, because what `conclude` has set must be shown.
                closing = self._closing.is_set()
                self._try_to_publish()
                if closing and self._draw is not None:
                    self._try_to_draw(self._draw)
                self._closing.wait(self._interval)

    def _try_to_draw(self, draw: Callable[[], str]) -> None:
        try:
            drawn = draw()
        except Exception as error:
            _logger.warning("The sweep could not be drawn for its summary: %s", error)
            return
        if drawn:
            self._summary = f"{self._summary}\n\n{drawn}"
            self._try_to_publish()

    def _try_to_publish(self) -> None:
        try:
            self._publish()
        except Exception as error:
            if not self._complained:
                _logger.warning("The Prefect artifacts could not be updated: %s", error)
            self._complained = True

    def _publish(self) -> None:
        snapshot = self._newest
        if snapshot is None:
            return
        with SyncClientContext.get_or_create() as context:
            client = context.client
            self._put(client, "trials-done", "progress", snapshot.percent, str(snapshot))
            rows = [{showable(k): _rounded(v) for k, v in row.items()} for row in snapshot.rows]
            table = json.dumps(rows)
            self._put(client, "leaderboard", "table", table, "The best trials")
            if self._summary:
                self._put(client, "summary", "markdown", showable(self._summary), "The result")
            while self._pages:
                # Without a key: with one it would appear among the artifacts of all runs.
                task_run_id, text = self._pages.popitem()
                client.create_artifact(
                    ArtifactCreate(type="markdown", data=showable(text), task_run_id=task_run_id)
                )

    def _put(
        self, client: SyncPrefectClient, key: str, kind: str, data: Any, description: str
    ) -> None:
        key = f"{self._prefix}-{key}"
        flow, task = FlowRunContext.get(), TaskRunContext.get()
        if key not in self._ids and flow is not None and flow.flow_run is not None:
            # Artifacts of an earlier execution of the flow run are updated, too.
            earlier = find_artifact(client, flow.flow_run.id, key)
            if earlier is not None:
                self._ids[key] = earlier.id
        if key in self._ids:
            update = ArtifactUpdate(data=data, description=description)
            client.update_artifact(self._ids[key], update)
            return
        created = client.create_artifact(
            ArtifactCreate(
                key=key,
                type=kind,
                data=data,
                description=description,
                flow_run_id=flow.flow_run.id if flow and flow.flow_run else None,
                task_run_id=task.task_run.id if task else None,
            )
        )
        self._ids[key] = created.id


def find_artifact(client: SyncPrefectClient, flow_run_id: UUID, key: str) -> Artifact | None:
    """Return the artifact of a flow run with this key, the one updated last; None if none is."""
    which = {"flow_run_id": {"any_": [flow_run_id]}, "key": {"any_": [key]}}
    found = client.read_artifacts(
        artifact_filter=ArtifactFilter.model_validate(which),
        sort=ArtifactSort.UPDATED_DESC,
        limit=1,
    )
    return found[0] if found else None


def _rounded(value: Any) -> Any:
    number = finite_number(value)
    if value is None or isinstance(value, bool):
        return value
    if number is None:
        return show_value(value)
    # A page has no room for all digits of doubles; the results have them.
    return float(f"{number:.{_DIGITS}g}") if isinstance(number, float) else number
