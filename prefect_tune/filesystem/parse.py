"""Parses a user's path, URL or block into a `Location`."""

from __future__ import annotations

import os
import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

from prefect_tune.error import InvalidArgument
from prefect_tune.filesystem.connect import check_protocol
from prefect_tune.filesystem.location import Location
from prefect_tune.filesystem.providers import S3_PROTOCOLS
from prefect_tune.validation import check_not_blank

_BLOCK = "block://"
_HOST = re.compile(r"(?i)(?:file|local)://(?!localhost/)([a-z0-9][\w.:-]*)/")
# Without a host or with localhost; a single slash means the same as three.
_FILE = re.compile(r"(?i)(?:file|local):(//(localhost(?=/))?|(?=/))")
# A password may hold any character, even "/"; text that may be a port is taken for a port.
_PASSWORD = re.compile(r"(?i)(s3[an]?|[^:/]+(?=://[^/@]*:(?!\d+(/|$))))://[^/@]*:[^@]+@")
_ADVICE = "Give a local path, a URL such as s3://bucket/path, or a TuneStorage block."


def parse_location(value: Any, argument: str = "storage_path", filesystem: Any = None) -> Location:
    """Return the location that a user's path, URL, block or file system stands for.

    Args:
        value: A local path (``~`` is expanded), a URL that fsspec knows, a saved block
            (``block://tune-storage/NAME``, optionally followed by ``/sub/path``), or an
            object with `get_location()`, as blocks have.
        argument: Name of the argument, for errors.
        filesystem: An fsspec file system, on which `value` is then a path.

    Returns:
        The location; no request is made to it.

    Raises:
        InvalidArgument: If `value` is none of these, or needs a package that is not installed.
    """
    if filesystem is not None:
        return _on_filesystem(filesystem, value, argument)
    if hasattr(value, "get_location"):
        location = value.get_location()
        if not isinstance(location, Location):
            raise InvalidArgument(
                argument,
                f"get_location() of {type(value).__name__} returned {type(location).__name__}.",
                "It returns a Location.",
            )
        return location
    if isinstance(value, Location):
        return value
    if not isinstance(value, (str, os.PathLike)):
        raise InvalidArgument(argument, f"got {type(value).__name__}.", _ADVICE)
    text = os.fspath(value)
    if not isinstance(text, str):
        raise InvalidArgument(argument, "it is bytes.", _ADVICE)
    check_not_blank(argument, text, "a local path, a URL or a block")
    try:
        # A local path may have bytes that are not Unicode, which Python escapes as surrogates.
        usable = b"\0" not in (text.encode() if "://" in text else os.fsencode(text))
    except UnicodeEncodeError:
        usable = False
    if not usable:
        raise InvalidArgument(
            argument, f"got {text!r}, which holds NUL or is not Unicode.", _ADVICE
        )
    if text.startswith(_BLOCK):
        return _parse_block(text, argument)
    host = _HOST.match(text)
    if host:
        raise InvalidArgument(
            argument,
            f"{text!r} names the host {host[1]!r}.",
            "Give file:///PATH for a path on this machine.",
        )
    local = _FILE.match(text)
    if local or "://" not in text:
        path = text if local is None else text[local.end() :]
        if not path:
            raise InvalidArgument(argument, f"{text!r} names no directory.", "Give file:///PATH.")
        return Location(os.path.abspath(os.path.expanduser(path)))
    return _parse_url(text, argument)


def _parse_url(text: str, argument: str) -> Location:
    # In names and passwords, "#" is an ordinary character.
    parts = urlsplit(text, allow_fragments=False)
    if _PASSWORD.match(text):
        raise InvalidArgument(
            argument,
            "the URL holds a password.",
            "Keep it in a TuneStorage block, where nothing prints it.",
        )
    check_protocol(parts.scheme, argument)
    if parts.scheme not in S3_PROTOCOLS:
        if not text.partition("://")[2].strip("/"):
            raise InvalidArgument(
                argument, f"{text!r} names no directory.", f"Give {parts.scheme}://PATH."
            )
        return Location(text.rstrip("/"))
    if not parts.netloc:
        raise InvalidArgument(argument, f"{text!r} names no bucket.", "Give s3://bucket/path.")
    return Location(
        f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}",
        _query_options(parts.query, argument) if parts.query else {},
    )


def _query_options(query: str, argument: str) -> dict[str, Any]:
    """Return fsspec's options for the query of an S3 URL, in the form of Arrow and Ray."""
    given = {name: values[-1] for name, values in parse_qs(query).items()}
    options: dict[str, Any] = {}
    endpoint = given.pop("endpoint_override", "")
    scheme = given.pop("scheme", "https")
    if endpoint:
        options["endpoint_url"] = endpoint if "://" in endpoint else f"{scheme}://{endpoint}"
    region = given.pop("region", "")
    if region:
        options["client_kwargs"] = {"region_name": region}
    if given:
        raise InvalidArgument(
            argument,
            f"the URL has the unknown options {', '.join(sorted(given))}.",
            "It may have endpoint_override, scheme and region.",
        )
    return options


def _parse_block(text: str, argument: str) -> Location:
    slug_and_path = text.removeprefix(_BLOCK).strip("/").split("/", 2)
    if len(slug_and_path) < 2:
        raise InvalidArgument(
            argument, f"{text!r} names no block.", "Give block://tune-storage/NAME."
        )
    from prefect_tune.filesystem.blocks import resolve_location

    slug = "/".join(slug_and_path[:2])
    location = resolve_location(slug)
    return location / slug_and_path[2] if len(slug_and_path) == 3 else location


def _on_filesystem(filesystem: Any, value: Any, argument: str) -> Location:
    import fsspec

    if not isinstance(filesystem, fsspec.AbstractFileSystem):
        raise InvalidArgument(
            "storage_filesystem",
            f"got {type(filesystem).__module__}.{type(filesystem).__name__}.",
            "Give an fsspec file system, or give a URL as `storage_path` and its options in a "
            "TuneStorage block.",
        )
    if not isinstance(value, (str, os.PathLike)) or not os.fspath(value):
        raise InvalidArgument(
            argument, "it is missing.", "With `storage_filesystem` it is a path on it."
        )
    protocol = filesystem.protocol
    protocol = protocol if isinstance(protocol, str) else protocol[0]
    path = filesystem._strip_protocol(os.fspath(value))
    if protocol in ("file", "local"):
        return Location(os.path.abspath(path))
    try:
        known = fsspec.get_filesystem_class(protocol)
    except (ImportError, ValueError):
        known = None
    if known is not type(filesystem):
        # Nodes create the file system anew from its protocol: connections cannot be pickled.
        raise InvalidArgument(
            "storage_filesystem",
            f"fsspec does not know {type(filesystem).__name__} as {protocol}://.",
            "Register it with fsspec.register_implementation on every node.",
        )
    return Location(f"{protocol}://{path.rstrip('/')}", dict(filesystem.storage_options))
