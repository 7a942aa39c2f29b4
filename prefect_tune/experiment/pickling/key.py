"""The user's signing key: from a setting, or from a file that is created when first needed."""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
from pathlib import Path

from pydantic import SecretStr

from prefect_tune.error import InvalidArgument
from prefect_tune.experiment.pickling.signing import KEY_VARIABLE, OF_THIS_PROCESS, Pickles

_logger = logging.getLogger(__name__)
_SHORTEST = 16


def own_pickles(key: SecretStr | None, trusts_all: bool) -> Pickles:
    """Return `Pickles` with the user's key, which load only what the user has signed.

    Args:
        key: The key of the settings; None is the key in the user's configuration directory.
        trusts_all: True also loads pickles that are not signed.

    Raises:
        InvalidArgument: If the key is too short.
    """
    if key is None:
        return Pickles(_key_of_file(), trusts_all)
    text = key.get_secret_value().strip()
    if len(text) < _SHORTEST:
        raise InvalidArgument(
            KEY_VARIABLE,
            f"it has {len(text)} characters.",
            f"Give at least {_SHORTEST} that nobody can guess.",
        )
    return Pickles(hashlib.sha256(text.encode()).digest(), trusts_all)


def key_file() -> Path:
    """Return the path of the file with the user's key.

    Raises:
        RuntimeError: If the user has no home directory.
    """
    configuration = os.environ.get("XDG_CONFIG_HOME", "")
    root = Path(configuration) if os.path.isabs(configuration) else Path.home() / ".config"
    return root / "prefect_tune" / "signing_key"


def _key_of_file() -> bytes:
    """Return the key of the file; if there can be no file, warn and return a temporary key."""
    try:
        path = key_file()
        if not path.exists():
            _make(path)
        text = path.read_text().strip()
    except (OSError, RuntimeError, UnicodeDecodeError) as error:
        _logger.warning(
            "There is no place for the key that signs what a resume loads (%s): another process "
            "will not load it. Set %s.",
            error,
            KEY_VARIABLE,
        )
        return OF_THIS_PROCESS.key
    if len(text) < _SHORTEST:
        raise InvalidArgument(
            KEY_VARIABLE, f"the key in {path} is damaged.", "Remove the file to have a new one."
        )
    return hashlib.sha256(text.encode()).digest()


def _make(path: Path) -> None:
    """Create the key file atomically; of several processes the first one wins."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(32) + "\n")
        try:
            os.link(temporary, path)
        except FileExistsError:
            pass
        except OSError:
            # The file system has no hard links.
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
