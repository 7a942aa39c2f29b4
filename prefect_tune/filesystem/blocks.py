"""Loads storage options from a saved Prefect block by its slug.

This package does not import Prefect. The function that loads blocks registers itself, or its module
is imported when the first block is needed.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Mapping
from typing import Any

from prefect_tune.error import StorageError, TuneError
from prefect_tune.filesystem.failures import scrub
from prefect_tune.filesystem.location import Location

#: Returns the options for fsspec in a saved block (slug ``tune-storage/NAME``), and the block's URL
#: under the key ``url``.
BlockResolver = Callable[[str], Mapping[str, Any]]

_URL = "url"
_REGISTERING_MODULE = "prefect_tune.blocks"
_lock = threading.Lock()
_resolver: BlockResolver | None = None


def set_block_resolver(resolver: BlockResolver | None) -> None:
    """Register the function that loads blocks.

    Args:
        resolver: Returns the storage options for a slug; None removes the registered one.
    """
    global _resolver
    _resolver = resolver


def resolve_block(slug: str) -> dict[str, Any]:
    """Return the storage options in a block, including secrets.

    Args:
        slug: Slug of a saved block: ``tune-storage/NAME``.

    Raises:
        StorageError: If the block does not exist or cannot be loaded.
    """
    options = _resolve(slug)
    options.pop(_URL, None)
    return options


def resolve_location(slug: str) -> Location:
    """Return the location of a block's URL, which refers to the block for its secrets.

    Args:
        slug: Slug of a saved block: ``tune-storage/NAME``.

    Raises:
        StorageError: If the block does not exist, cannot be loaded or has no URL.
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
            f"cannot load the block {slug}: {_REGISTERING_MODULE} did not register a resolver."
        )
    try:
        return dict(resolver(slug))
    except TuneError:
        raise
    except Exception as error:
        # A Prefect client may raise anything if the block or the server is missing.
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
