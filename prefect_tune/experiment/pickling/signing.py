"""Pickles that are loaded only if their signature says that this user has written them.

Who can write to an experiment directory or a bucket could plant a pickle there, and loading one
runs code. So each pickle that a resume loads is signed with a key that is kept elsewhere.
"""

from __future__ import annotations

import hashlib
import hmac
import pickle
import secrets
from dataclasses import dataclass, field
from typing import Any

from prefect_tune.experiment.pickling.large import LargeValues
from prefect_tune.experiment.pickling.plain import NotPlain, load_all, load_plain

KEY_VARIABLE = "PREFECT_TUNE_SIGNING_KEY"
TRUST_VARIABLE = "PREFECT_TUNE_TRUST_PICKLES"
#: What to do about a pickle that is not trusted, for people.
ADVICE = (
    f"Set {KEY_VARIABLE} to the key of the machine that wrote it, or, if you trust everybody who "
    f"can write there, {TRUST_VARIABLE}=1."
)
_MARK = b"\nhmac-sha256:"
_SIGNATURE_SIZE = 64


class Untrusted(pickle.UnpicklingError):
    """A pickle holds more than plain data, and is not signed with this user's key."""

    def __init__(self, problem: str = "") -> None:
        because = f" ({problem})" if problem else ""
        super().__init__(
            f"it is a pickle{because} that is not signed with this user's key: an earlier version, "
            f"another machine or somebody else wrote it. {ADVICE}"
        )


@dataclass(frozen=True)
class Pickles:
    """Signs pickles, and loads those that carry its signature, or are plain data.

    Attributes:
        key: What signatures are made with.
        trusts_all: True loads everything.
        large: Where the large values of an experiment are.
    """

    key: bytes = field(repr=False)
    trusts_all: bool = False
    large: LargeValues | None = field(default=None, repr=False, compare=False)

    def sign(self, purpose: str, data: bytes) -> str:
        """The signature of a pickle that serves a purpose."""
        return hmac.new(self.key, purpose.encode() + b"\0" + data, hashlib.sha256).hexdigest()

    def accepts(self, purpose: str, data: bytes, signature: str | None) -> bool:
        """True if everything that a pickle refers to may be loaded."""
        if self.trusts_all:
            return True
        return signature is not None and hmac.compare_digest(
            self.sign(purpose, data).encode(), signature.encode()
        )

    def load(self, purpose: str, data: bytes, signature: str | None) -> Any:
        """Load a pickle.

        Raises:
            Untrusted: If it is not plain data, and not signed.
            Exception: Whatever unpickling raises.
        """
        if self.accepts(purpose, data, signature):
            return load_all(data, self.large)
        try:
            return load_plain(data, self.large)
        except NotPlain as problem:
            raise Untrusted(str(problem)) from None

    def sealed(self, purpose: str, data: bytes) -> bytes:
        """A pickle with its signature behind it, where `pickle.load` does not look."""
        return data + _MARK + self.sign(purpose, data).encode()

    def load_sealed(self, purpose: str, sealed: bytes) -> Any:
        """Load what `sealed` has written, or a pickle without a signature.

        Raises:
            Untrusted: If it is not plain data, and not signed.
            Exception: Whatever unpickling raises.
        """
        data, mark, signature = sealed.rpartition(_MARK)
        if not mark or len(signature) != _SIGNATURE_SIZE:
            return self.load(purpose, sealed, None)
        return self.load(purpose, data, signature.decode(errors="replace"))


#: For what does not outlive this process.
OF_THIS_PROCESS = Pickles(secrets.token_bytes(32))
