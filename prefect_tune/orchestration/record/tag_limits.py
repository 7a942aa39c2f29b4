"""Applies the concurrency limits of tags to a sweep.

Prefect runs as many tasks with a tag as its limit says; others wait. The coordinator task of a
sweep waits for a slot. Task runs of trials take no slots, for which they would wait for their own
sweep. Instead, the sweep runs no more trials at a time than the limit says.
"""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Collection, Iterator
from typing import NamedTuple

from prefect.context import SyncClientContext, TagsContext, TaskRunContext
from prefect.exceptions import ObjectNotFound

from prefect_tune.orchestration.logs import log_failure


class TagLimit(NamedTuple):
    """Concurrency limit of a tag, with the number of taken slots."""

    limit: int
    tag: str
    taken: int


def tags_of_caller() -> Collection[str]:
    """Return the tags of the surrounding task run, which has slots of them."""
    context = TaskRunContext.get()
    return () if context is None else context.task_run.tags


@contextlib.contextmanager
def without_tags(tags: Collection[str]) -> Iterator[None]:
    """Let the task runs inside take no slots of these tags."""
    left = TagsContext.get().current_tags.difference(tags)
    with TagsContext(current_tags=left):
        yield


def forget_tags(context: contextvars.Context) -> None:
    """Let the task runs in a context take no slots at all."""
    context.run(TagsContext().__enter__)


def tag_limits() -> list[TagLimit]:
    """Read the limits of the tags in effect, the smallest first."""
    found = []
    with log_failure("The limits of the tags could not be read."):
        for tag in sorted(TagsContext.get().current_tags):
            with contextlib.suppress(ObjectNotFound), SyncClientContext.get_or_create() as context:
                known = context.client.read_global_concurrency_limit_by_name(f"tag:{tag}")
                if known.active:
                    found.append(TagLimit(known.limit, tag, known.active_slots))
    return sorted(found)
