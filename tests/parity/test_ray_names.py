"""Every public name of Ray Tune that scripts import: it is here, or it says why it is not."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from prefect_tune._ray import missing_names

TABLE = Path(__file__).with_name("ray_names.txt")


def table(kind):
    lines = [line.split() for line in TABLE.read_text().splitlines() if line[0] != "#"]
    return [(line[1], name) for line in lines if line[0] == kind for name in line[2:]]


def import_name(module, name):
    scope = {}
    exec(f"from {module} import {name}", scope)
    return scope[name]


@pytest.mark.parametrize(("module", "name"), table("here"))
def test_the_name_is_here(module, name):
    assert import_name(module, name) is getattr(importlib.import_module(module), name)


@pytest.mark.parametrize(("module", "name"), table("later"))
def test_the_name_says_that_it_is_still_to_come(module, name):
    with pytest.raises(ImportError, match=r"is not in prefect_tune yet.*still to come"):
        import_name(module, name)


@pytest.mark.parametrize(("module", "name"), table("never"))
def test_what_belongs_to_ray_itself_says_why_it_is_not_here(module, name):
    with pytest.raises(ImportError, match=r" is not in prefect_tune: \S"):
        import_name(module, name)


@pytest.mark.parametrize("name", ["put", "get", "remote", "cluster_resources"])
def test_what_scripts_call_on_ray_itself_says_what_there_is_instead(name):
    tune = importlib.import_module("prefect_tune")
    with pytest.raises(AttributeError, match=f"prefect_tune.{name} is not in prefect_tune: .*`"):
        getattr(tune, name)


@pytest.mark.parametrize("name", missing_names.INSTEAD)
def test_nothing_that_is_said_not_to_come_is_here(name):
    package, _, last = name.rpartition(".")
    try:
        module = importlib.import_module(package)
    except ImportError:
        return
    assert not hasattr(module, last)


@pytest.mark.parametrize(
    ("package", "name"),
    [
        (package, name)
        for package, (_, modules) in missing_names.LATER.items()
        for name in sorted(
            {name for names in modules.values() for name in names} | set(modules) - {""}
        )
    ],
)
def test_nothing_that_is_said_to_come_is_here_already(package, name):
    """Whoever adds one takes it off the list."""
    module = importlib.import_module(package)
    assert not hasattr(module, name)
    with pytest.raises(AttributeError, match=f"{package}.{name} is not in prefect_tune yet"):
        getattr(module, name)


def test_an_unknown_name_is_an_ordinary_error():
    with pytest.raises(ImportError, match="cannot import name 'Nothing'"):
        import_name("prefect_tune.schedulers", "Nothing")
    with pytest.raises(ModuleNotFoundError, match=r"No module named 'prefect_tune.nothing'"):
        import_name("prefect_tune.nothing", "Nothing")
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        _ = importlib.import_module("prefect_tune.schedulers").Nothing


def test_a_whole_dotted_name_works_after_one_import():
    script = (
        "import prefect_tune as tune\n"
        "tune.schedulers.ASHAScheduler, tune.logger.LoggerCallback, tune.stopper.NoopStopper\n"
        "tune.search.sample.Domain, tune.air.config.RunConfig\n"
        "tune.search.Repeater, tune.integration, tune.syncer.SyncConfig, tune.trainable.Trainable\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
