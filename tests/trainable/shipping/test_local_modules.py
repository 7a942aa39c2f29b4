"""Modules beside the script are there on nodes that lack their files."""

from __future__ import annotations

import importlib
import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from prefect_tune.trainable.shipping.local_modules import local_modules
from prefect_tune.trainable.shipping.packing import pack_trainable

_FILES = {
    "beside_helpers.py": "RATE = 3\n\ndef scale(x):\n    return RATE * x\n",
    "beside_models/parts/layer.py": "class Layer:\n    width = 7\n",
    "beside_models/training.py": """
from beside_helpers import scale
import prefect_tune as tune
from .parts.layer import Layer

def function(config):
    import beside_helpers
    tune.report(score=scale(Layer.width) + beside_helpers.RATE)

class Trainable(tune.Trainable):
    def step(self):
        return {"score": scale(Layer.width), "done": True}
""",
}


@pytest.fixture
def beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module of a project in the working directory."""
    project = tmp_path / "project"
    for name, text in _FILES.items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(text)
    monkeypatch.chdir(project)
    monkeypatch.syspath_prepend(str(project))
    yield importlib.import_module("beside_models.training")
    for name in [name for name in sys.modules if name.startswith("beside_")]:
        del sys.modules[name]


def test_only_what_lies_beside_the_script_goes_along(beside: Any) -> None:
    assert {module.name for module in local_modules()} == {
        "beside_helpers",
        "beside_models",
        "beside_models.parts",
        "beside_models.parts.layer",
        "beside_models.training",
    }


def test_what_is_imported_later_goes_along(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {
        "later_main.py": "def train(config):\n    import later_a.b as b, later_c\n",
        "later_a/__init__.py": "def f():\n  from . import d\n  from .e import (g,\n    h)\n",
        "later_a/b.py": "if False:\n    import json as j, later_f as f\n",
        "later_a/d.py": "",
        "later_a/e/g.py": "g = h = 1",
        "later_c.py": "from ..... import nowhere\nfrom later_main import train\n",
        "later_data/values.csv": "",
        "later_f.py": "import no, later_data\nfrom later_g import *\nfrom later_h import (\nx)",
        "later_g.py": "",
        "later_h.py": "x = 1",
        "later_unused.py": "",
        "later_a/unused.py": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.import_module("later_main")
    try:
        found = {module.name: module.source.decode() for module in local_modules()}
    finally:
        del sys.modules["later_main"]
    names = {
        "later_main": "later_main.py",
        "later_a": "later_a/__init__.py",
        "later_a.b": "later_a/b.py",
        "later_a.d": "later_a/d.py",
        "later_a.e": None,
        "later_a.e.g": "later_a/e/g.py",
        "later_c": "later_c.py",
        "later_f": "later_f.py",
        "later_g": "later_g.py",
        "later_h": "later_h.py",
    }
    assert found == {name: files.get(path, "") for name, path in names.items()}


def test_later_imports_do_not_keep_the_others_from_being_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "later_small.py").write_text("def f():\n    import later_large\n")
    (tmp_path / "later_large.py").write_text("#" * (4 << 20))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.import_module("later_small")
    try:
        assert [module.name for module in local_modules()] == ["later_small"]
    finally:
        del sys.modules["later_small"]


def _on_a_node(trainable: Any, code: str, cwd: Path) -> str:
    packed = pickle.dumps(pack_trainable(trainable))
    shutil.rmtree(cwd / "project")
    start = (
        "import inspect, pickle, sys\n"
        "from prefect_tune.trainable.shipping.packing import load_for_trials\n"
        "trainable = load_for_trials(pickle.load(sys.stdin.buffer))\n"
    )
    said = subprocess.run(
        [sys.executable, "-c", start + code], input=packed, cwd=cwd, stdout=-1, check=True
    )
    return said.stdout.decode()


def test_a_node_without_the_files_has_the_modules(beside: Any, tmp_path: Path) -> None:
    code = (
        "import beside_models.parts.layer\n"
        "print(trainable.__module__, beside_models.parts.layer.Layer.width, "
        "'tune.report(' in inspect.getsource(trainable))\n"
    )
    said = _on_a_node(beside.function, code, tmp_path)
    assert said == "beside_models.training 7 True\n"


def test_a_file_that_is_there_comes_first(beside: Any, tmp_path: Path) -> None:
    (tmp_path / "beside_helpers.py").write_text("RATE = 5\n\ndef scale(x):\n    return RATE * x\n")
    said = _on_a_node(beside.Trainable, "print(sys.modules['beside_helpers'].RATE)", tmp_path)
    assert said == "5\n"


def test_objects_that_only_call_themselves_modules_are_left_alone(
    beside: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Library:
        __slots__ = ()
        __class__ = type(sys)  # type: ignore[assignment]

    monkeypatch.setitem(sys.modules, "beside_library", Library())
    assert "beside_library" not in {module.name for module in local_modules()}
