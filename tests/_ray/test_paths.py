"""Ray's import paths without a module of their own, and modules that earlier pickles name."""

from __future__ import annotations

import importlib
import importlib.util
import pickle

import pytest

from prefect_tune._ray.paths import EARLIER, PATHS
from tests.new_process import output_of

NAMES = [
    (path, home, name)
    for path, homes in PATHS.items()
    for home, names in homes.items()
    for name in names.split()
]


@pytest.mark.parametrize(("path", "home", "name"), NAMES)
def test_a_name_is_the_object_of_its_home(path: str, home: str, name: str) -> None:
    module = importlib.import_module(f"prefect_tune.{path}")
    there = importlib.import_module(f"prefect_tune.{home}")
    assert getattr(module, name) is getattr(there, name)
    assert name in module.__all__
    assert name in dir(module)


@pytest.mark.parametrize("path", [*PATHS, *EARLIER])
def test_no_file_takes_the_place_of_a_path(path: str) -> None:
    spec = importlib.util.find_spec(f"prefect_tune.{path}")
    assert spec is not None
    assert spec.origin is not None
    assert spec.origin.endswith("_ray/paths.py")


@pytest.mark.parametrize(
    "line",
    [
        "import prefect_tune.suggest.optuna",
        "import prefect_tune.air.config as c; c.RunConfig",
        "import prefect_tune.utils.util as u; u.Tee",
        "import prefect_tune; prefect_tune.search.sample.Domain",
        "from prefect_tune.air import session; session.report",
        "from prefect_tune.search import sample; sample.uniform",
        "from prefect_tune.sample import *; uniform, Categorical",
        "from prefect_tune.execution.placement_groups import PlacementGroupFactory",
    ],
)
def test_a_path_is_there_before_anything_else_is_imported(line: str) -> None:
    output_of(line)


def test_importing_a_path_loads_nothing_that_is_not_used() -> None:
    script = "import sys, prefect_tune.suggest.optuna; print('prefect_tune.search' in sys.modules)"
    assert output_of(script).strip() == "False"


def test_a_path_is_one_module_however_it_is_reached() -> None:
    script = """
import prefect_tune as tune
import prefect_tune.suggest.basic_variant as by_import
from prefect_tune import suggest
from prefect_tune.suggest import basic_variant
assert suggest is tune.suggest
assert basic_variant is by_import is tune.suggest.basic_variant
assert basic_variant.BasicVariantGenerator is tune.search.BasicVariantGenerator
"""
    output_of(script)


def test_an_object_of_a_path_is_pickled_by_its_home() -> None:
    from prefect_tune.suggest import ConcurrencyLimiter

    assert pickle.loads(pickle.dumps(ConcurrencyLimiter)) is ConcurrencyLimiter
    assert b"suggest" not in pickle.dumps(ConcurrencyLimiter)


def test_an_unknown_name_of_a_path_is_an_ordinary_error() -> None:
    with pytest.raises(ImportError, match=r"cannot import name 'Nothing' from 'prefect_tune\.air'"):
        exec("from prefect_tune.air import Nothing")
    with pytest.raises(ModuleNotFoundError, match=r"No module named 'prefect_tune.air.nothing'"):
        importlib.import_module("prefect_tune.air.nothing")
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        _ = importlib.import_module("prefect_tune.air").Nothing


@pytest.mark.parametrize("earlier", EARLIER)
def test_a_pickle_that_names_an_earlier_module_finds_what_it_has_become(earlier: str) -> None:
    today = importlib.import_module(f"prefect_tune.{EARLIER[earlier]}")
    script = (
        f"import pickle, prefect_tune; found = pickle.loads({_named(earlier, today)!r}); "
        "print(found.__module__)"
    )
    assert output_of(script).strip() == today.__name__


def _named(earlier: str, today: object) -> bytes:
    name = next(name for name, value in vars(today).items() if _is_its_own(value, today))
    return f"cprefect_tune.{earlier}\n{name}\n.".encode()


def _is_its_own(value: object, module: object) -> bool:
    own = getattr(value, "__module__", None) == getattr(module, "__name__", "")
    return own and callable(value) and hasattr(value, "__qualname__")
