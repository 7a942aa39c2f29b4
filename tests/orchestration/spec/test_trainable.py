"""Trainables by import path."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from prefect_tune.error import InvalidTrainable
from prefect_tune.orchestration.spec.trainable import load_trainable


def test_a_trainable_is_imported() -> None:
    assert load_trainable("json:dumps") is json.dumps


def test_it_is_imported_from_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model_of_mine.py").write_text("def train(config): return 7")
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    monkeypatch.chdir(tmp_path)
    assert load_trainable("model_of_mine:train")({}) == 7


@pytest.mark.parametrize(
    ("path", "what"),
    [
        ("json.dumps", "package.module:function"),
        ("no_such_module_x:f", "`no_such_module_x` cannot be imported"),
        ("json:dump_s", "Did you mean `dumps`"),
        ("json:__doc__", "is a str"),
        (":f", "package.module:function"),
    ],
)
def test_a_bad_import_path_names_module_or_attribute(path: str, what: str) -> None:
    with pytest.raises(InvalidTrainable, match="trainable") as caught:
        load_trainable(path)
    assert what in str(caught.value)
