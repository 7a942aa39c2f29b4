"""Data that holds secrets is encrypted with the user's key before it is written anywhere."""

from __future__ import annotations

import base64
import hashlib
import pickle
import re

from prefect_tune.experiment.pickling.signing import KEY_VARIABLE, Pickles

_MARK = b"prefect_tune encrypted\n"
# A URL with a password, or a name that goes with a secret. Texts stand in pickles as they are.
_PASSWORD = re.compile(rb"://[^/@:\s\0]{0,200}:[^@\s\0]{1,200}@")
_NAMES = (
    b"password",
    b"passwd",
    b"secret",
    b"credential",
    b"api_key",
    b"apikey",
    b"access_key",
    b"accesskey",
    b"auth_token",
    b"authtoken",
)


class Concealed(pickle.UnpicklingError):
    """Data is encrypted with another key."""

    def __init__(self) -> None:
        super().__init__(
            "it holds secrets and is encrypted with the key of whoever wrote it. "
            f"Set {KEY_VARIABLE} to that key."
        )


def conceal(pickles: Pickles, data: bytes, *, is_secret: bool = False) -> bytes:
    """Encrypt data that holds secrets; other data stays as it is.

    Args:
        pickles: Has the key.
        data: Anything.
        is_secret: True if it does; else its looks decide.
    """
    if not (is_secret or is_concealed(data) or _holds_secret(data)):
        return data
    from cryptography.fernet import Fernet

    return _MARK + Fernet(_key(pickles)).encrypt(data)


def is_concealed(data: bytes) -> bool:
    """True for what `conceal` has encrypted."""
    return data.startswith(_MARK)


def reveal(pickles: Pickles, data: bytes) -> bytes:
    """What `conceal` was given.

    Raises:
        Concealed: If it was encrypted with another key.
    """
    if not is_concealed(data):
        return data
    from cryptography.fernet import Fernet, InvalidToken

    try:
        return Fernet(_key(pickles)).decrypt(data[len(_MARK) :])
    except InvalidToken:
        raise Concealed from None


def _holds_secret(data: bytes) -> bool:
    # Data may be large, and a regular expression of all of it is slow.
    lower = data.lower()
    return any(name in lower for name in _NAMES) or _PASSWORD.search(data) is not None


def _key(pickles: Pickles) -> bytes:
    return base64.urlsafe_b64encode(hashlib.sha256(b"encryption\0" + pickles.key).digest())
