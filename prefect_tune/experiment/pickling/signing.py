"""Signs pickles, and loads only those that the user has signed or that hold plain data.

Anyone who can write to an experiment directory or a bucket could plant a pickle there, and loading
a pickle runs code. So each pickle that a resume loads is signed with a key that is kept elsewhere.
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
#: The end of an error message about a pickle that is not trusted.
ADVICE = (
    f"Set {KEY_VARIABLE} to the key of the machine that wrote it, or, if you trust everybody who "
    f"can write there, {TRUST_VARIABLE}=1."
)
_MARK = b"\nhmac-sha256:"
_SIGNATURE_SIZE = 64


class Untrusted(pickle.UnpicklingError):
    """Raised for a pickle that holds more than plain data and is not signed by this user."""

    def __init__(self, problem: str = "") -> None:
        because = f" ({problem})" if problem else ""
        super().__init__(
            f"it is a pickle{because} that is not signed with this user's key: an earlier version, "
            f"another machine or somebody else wrote it. {ADVICE}"
        )


@dataclass(frozen=True)
class Pickles:
    """Signs pickles, and loads pickles with its signature or of plain data.

    Attributes:
        key: The key of the signatures.
        trusts_all: True loads any pickle.
        large: Has the large values of the experiment.
    """

    key: bytes = field(repr=False)
    trusts_all: bool = False
    large: LargeValues | None = field(default=None, repr=False, compare=False)

    def sign(self, purpose: str, data: bytes) -> str:
        """Return the signature of a pickle for the given purpose."""
        return hmac.new(self.key, purpose.encode() + b"\0" + data, hashlib.sha256).hexdigest()

    def accepts(self, purpose: str, data: bytes, signature: str | None) -> bool:
        """Return True if the pickle is signed for the purpose, so that it may run code."""
        if self.trusts_all:
            return True
        return signature is not None and hmac.compare_digest(
            self.sign(purpose, data).encode(), signature.encode()
        )

    def load(self, purpose: str, data: bytes, signature: str | None) -> Any:
        """Load a pickle that is signed for the purpose or holds plain data.

        Raises:
            Untrusted: If the pickle is neither signed nor plain data.
            Exception: What unpickling raises.
        """
        if self.accepts(purpose, data, signature):
            return load_all(data, self.large)
        try:
            return load_plain(data, self.large)
        except NotPlain as problem:
            raise Untrusted(str(problem)) from None

    def with_signature(self, purpose: str, data: bytes) -> bytes:
        """Return a pickle with its signature appended, which `pickle.load` ignores."""
        return data + _MARK + self.sign(purpose, data).encode()

    def load_signed(self, purpose: str, signed: bytes) -> Any:
        """Load a pickle that may have its signature appended.

        Raises:
            Untrusted: If the pickle is neither signed nor plain data.
            Exception: What unpickling raises.
        """
        data, mark, signature = signed.rpartition(_MARK)
        if not mark or len(signature) != _SIGNATURE_SIZE:
            return self.load(purpose, signed, None)
        return self.load(purpose, data, signature.decode(errors="replace"))


#: Has a random key, for pickles that do not outlive this process.
OF_THIS_PROCESS = Pickles(secrets.token_bytes(32))
