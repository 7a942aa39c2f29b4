"""Storage options kept in a saved block: looked up by its slug where they are needed.

What looks them up needs Prefect, which nothing here imports: it registers itself, or is imported
when the first block is asked for.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Mapping
from typing import Any

from prefect_tune.error import StorageError, TuneError
from prefect_tune.filesystem.failures import scrub
from prefect_tune.filesystem.location import Location

#: From the slug of a saved block (``tune-storage/NAME``) to storage options for fsspec, and under
#: the key ``url`` the URL that the block stands for.
BlockResolver = Callable[[str], Mapping[str, Any]]

_URL = "url"
_REGISTERING_MODULE = "prefect_tune.blocks"
_lock = threading.Lock()
_resolver: BlockResolver | None = None


def set_block_resolver(resolver: BlockResolver | None) -> None:
    """Say what looks up blocks.

    Args:
        resolver: Takes a slug, returns storage options; None forgets the one there is.
    """
    global _resolver
    _resolver = resolver


def resolve_block(slug: str) -> dict[str, Any]:
    """The storage options in a block; secrets are among them.

    Args:
        slug: Slug of a saved block: ``tune-storage/NAME``.

    Raises:
        StorageError: If there is no such block or it cannot be loaded.
    """
    options = _resolve(slug)
    options.pop(_URL, None)
    return options


def resolve_location(slug: str) -> Location:
    """The location that a block stands for; it names the block and holds no secrets.

    Args:
        slug: Slug of a saved block: ``tune-storage/NAME``.

    Raises:
        StorageError: If there is no such block, it cannot be loaded or has no URL.
    """
    url = _resolve(slug).get(_URL)
    if not url:
        raise StorageError(f"the block {slug} has no URL: give it one, such as s3://bucket/path.")
    return Location(str(url).rstrip("/"), {}, slug)


def _resolve(slug: str) -> dict[str, Any]:
    with _lock:
        if _resolver is None:
            _register()
        resolver = _resolver
    if resolver is None:
        raise StorageError(
            f"cannot load the block {slug}: {_REGISTERING_MODULE} registered nothing that can."
        )
    try:
        return dict(resolver(slug))
    except TuneError:
        raise
    except Exception as error:
        # Whatever a Prefect client raises if the block or the server is not there.
        raise StorageError(
            f"cannot load the block {slug} ({type(error).__name__}: {scrub(str(error))}). It has "
            "to be saved on the Prefect server that this process uses (PREFECT_API_URL)."
        ) from error


def _register() -> None:
    try:
        importlib.import_module(_REGISTERING_MODULE)
    except ImportError as error:
        raise StorageError(
            f"a storage block is used, and {_REGISTERING_MODULE} cannot be imported here: {error}. "
            "Install prefect-tune with Prefect wherever the block is needed."
        ) from error
