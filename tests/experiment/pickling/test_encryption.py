"""Secrets are written in a form that only the key turns back."""

from __future__ import annotations

import cloudpickle
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefect_tune.experiment.pickling.encryption import (
    EncryptedWithOtherKey,
    decrypt,
    encrypt_if_secret,
    is_encrypted,
)
from prefect_tune.experiment.pickling.signing import KEY_VARIABLE, Pickles

OWN, OTHER = Pickles(b"own"), Pickles(b"other")


@given(st.binary(), st.booleans())
def test_what_was_concealed_comes_back(data, is_secret):
    written = encrypt_if_secret(OWN, data, is_secret=is_secret)
    assert is_encrypted(written) or not is_secret
    assert decrypt(OWN, written) == data


@pytest.mark.parametrize(
    "value",
    ["postgresql://me:hush@host/db", {"password": "hush"}, lambda: {"api_key": "hush"}],
)
def test_what_looks_like_a_secret_is_concealed(value):
    written = encrypt_if_secret(OWN, cloudpickle.dumps(value))
    assert b"hush" not in written
    with pytest.raises(EncryptedWithOtherKey, match=KEY_VARIABLE):
        decrypt(OTHER, written)


@pytest.mark.parametrize("value", ["http://host:8080/a", "sqlite:///a.db", {"tokens": 3}])
def test_what_does_not_stays_as_it_is(value):
    data = cloudpickle.dumps(value)
    assert encrypt_if_secret(OWN, data) is data
