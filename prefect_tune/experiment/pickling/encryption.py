"""Encrypts data that holds secrets with the user's key, before it is written anywhere."""

from __future__ import annotations

import base64
import hashlib
import pickle
import re

from prefect_tune.experiment.pickling.signing import KEY_VARIABLE, Pickles

_MARK = b"prefect_tune encrypted\n"
# Data holds a secret if it has a URL with a password or one of these names. Pickles hold strings
# unchanged, so both can be searched for in the bytes.
_PASSWORD = re.compile(rb"://[^/@:\s\0]{0,200}:[^@\s\0]{1,200}@")
_NAMES = (
    b"password passwd secret credential api_key apikey access_key accesskey auth_token authtoken"
).split()


class EncryptedWithOtherKey(pickle.UnpicklingError):
    """Raised if data is encrypted with another key."""

    def __init__(self) -> None:
        super().__init__(
            "it holds secrets and is encrypted with the key of whoever wrote it. "
            f"Set {KEY_VARIABLE} to that key."
        )


def encrypt_if_secret(pickles: Pickles, data: bytes, *, is_secret: bool = False) -> bytes:
    """Return data encrypted if it holds secrets, else unchanged.

    Args:
        pickles: Has the key.
        data: The data.
        is_secret: True encrypts; False searches the data for what looks like a secret.
    """
    if not (is_secret or is_encrypted(data) or _holds_secret(data)):
        return data
    from cryptography.fernet import Fernet

    return _MARK + Fernet(_key(pickles)).encrypt(data)


def is_encrypted(data: bytes) -> bool:
    """Return True for data that `encrypt_if_secret` has encrypted."""
    return data.startswith(_MARK)


def decrypt(pickles: Pickles, data: bytes) -> bytes:
    """Return data decrypted if it is encrypted, else unchanged.

    Raises:
        EncryptedWithOtherKey: If the data is encrypted with another key.
    """
    if not is_encrypted(data):
        return data
    from cryptography.fernet import Fernet, InvalidToken

    try:
        return Fernet(_key(pickles)).decrypt(data[len(_MARK) :])
    except InvalidToken:
        raise EncryptedWithOtherKey from None


def _holds_secret(data: bytes) -> bool:
    # Data may be large, and a regular expression for the names is slow.
    lower = data.lower()
    return any(name in lower for name in _NAMES) or _PASSWORD.search(data) is not None


def _key(pickles: Pickles) -> bytes:
    return base64.urlsafe_b64encode(hashlib.sha256(b"encryption\0" + pickles.key).digest())
