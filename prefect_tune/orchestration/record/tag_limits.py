"""What the concurrency limits of tags mean for a sweep.

Prefect lets as many tasks with a tag run as its limit says; the others wait. A sweep is one such
task as a whole, its coordinator, which waits for its slot. Its trials take none: they would wait
for the slot of the very sweep that waits for them. Instead, no more of them run at a time than a
limit says.
"""

from __future__ import annotations

import contextlib
import contextvars
import logging
from collections.abc import Collection, Iterator
from typing import NamedTuple

from prefect.context import SyncClientContext, TagsContext, TaskRunContext
from prefect.exceptions import ObjectNotFound

_logger = logging.getLogger("prefect_tune")


class TagLimit(NamedTuple):
    """The concurrency limit of a tag."""

    limit: int
    tag: str
    taken: int


def tags_of_caller() -> Collection[str]:
    """The tags of the surrounding task run, which has its slots."""
    context = TaskRunContext.get()
    return () if context is None else context.task_run.tags


@contextlib.contextmanager
def without_tags(tags: Collection[str]) -> Iterator[None]:
    """Have the task runs inside take no slots of these tags."""
    left = TagsContext.get().current_tags.difference(tags)
    with TagsContext(current_tags=left):
        yield


def forget_tags(context: contextvars.Context) -> None:
    """Have the task runs in a context take no slots at all."""
    context.run(TagsContext().__enter__)


def tag_limits() -> list[TagLimit]:
    """The limits that the tags in effect have, the smallest first."""
    found = []
    try:
        for tag in sorted(TagsContext.get().current_tags):
            with contextlib.suppress(ObjectNotFound), SyncClientContext.get_or_create() as context:
                known = context.client.read_global_concurrency_limit_by_name(f"tag:{tag}")
                if known.active:
                    found.append(TagLimit(known.limit, tag, known.active_slots))
    except Exception:
        _logger.debug("The limits of the tags could not be read.", exc_info=True)
    return sorted(found)
