"""What all tests of stores share."""

from __future__ import annotations

import pytest

from prefect_tune.filesystem import backend, s3

#: The smallest part that S3 takes.
_PART = 5 * 2**20
#: A size of three parts, the last of which is shorter.
LARGE = 2 * _PART + 2**20 + 17


@pytest.fixture(autouse=True)
def _parts_are_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of several parts need not be so large, which saves most of the time."""
    monkeypatch.setattr(backend, "_SMALL_PART", _PART)
    monkeypatch.setattr(s3, "SINGLE_REQUEST_SIZE", 2 * _PART)
