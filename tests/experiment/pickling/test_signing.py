"""What is signed with the own key is loaded; nothing else is."""

from __future__ import annotations

import pickle
import stat
from pathlib import Path

import pytest
from pydantic import SecretStr

from prefect_tune.error import InvalidArgument
from prefect_tune.experiment.pickling.key import key_file, own_pickles
from prefect_tune.experiment.pickling.signing import (
    KEY_VARIABLE,
    TRUST_VARIABLE,
    Pickles,
    Untrusted,
)

OWN, OTHER = Pickles(b"own"), Pickles(b"other")
FUNCTION = pickle.dumps(len)


def test_a_signed_pickle_is_loaded_with_the_same_key_only():
    signed = OWN.with_signature("tuner", FUNCTION)
    assert OWN.load_signed("tuner", signed) is len
    assert pickle.loads(signed) is len
    for pickles, purpose, data in (
        (OTHER, "tuner", signed),
        (OWN, "callback", signed),
        (OWN, "tuner", FUNCTION),
        (OWN, "tuner", pickle.dumps(print) + signed[len(FUNCTION) :]),
        (OWN, "tuner", signed[:-1] + "é".encode()),
    ):
        with pytest.raises(Untrusted, match=f"builtins.*{KEY_VARIABLE}.*{TRUST_VARIABLE}"):
            pickles.load_signed(purpose, data)


def test_plain_data_needs_no_signature():
    assert OWN.load("search", pickle.dumps({"a": (1, 2)}), None) == {"a": (1, 2)}


def test_who_trusts_everybody_loads_everything():
    assert Pickles(b"own", trusts_all=True).load("search", FUNCTION, None) is len


def test_each_user_has_a_key_that_only_they_can_read(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    first = own_pickles(None, False)
    assert key_file().is_relative_to(tmp_path)
    assert stat.S_IMODE(key_file().stat().st_mode) == 0o600
    assert [path.name for path in key_file().parent.iterdir()] == [key_file().name]
    assert own_pickles(None, False) == first
    assert "key" not in repr(first)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "another"))
    assert own_pickles(None, False) != first


def test_a_key_of_the_environment(tmp_path):
    key = SecretStr("a long enough secret")
    assert own_pickles(key, False) == own_pickles(key, False)
    with pytest.raises(InvalidArgument, match=f"{KEY_VARIABLE}.*5 characters") as caught:
        own_pickles(SecretStr("short"), False)
    assert "short" not in str(caught.value)


def test_without_a_place_for_a_key(tmp_path, monkeypatch, caplog):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "file"))
    pickles = own_pickles(None, False)
    assert pickles.load("a", FUNCTION, pickles.sign("a", FUNCTION)) is len
    assert KEY_VARIABLE in caplog.text


def test_a_damaged_key_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    key_file().parent.mkdir()
    key_file().write_text("\n")
    with pytest.raises(InvalidArgument, match=r"damaged.*Remove"):
        own_pickles(None, False)
    assert Path(key_file()).exists()
