import types

import pytest

from prefect_tune.cli import main as cli
from prefect_tune.error import (
    ClusterError,
    InsufficientResources,
    InvalidArgument,
    PrefectUnavailable,
    StorageError,
)


@pytest.fixture
def started(monkeypatch):
    """Replaces the quickstart; holds the options it was started with."""
    options = []

    def run(given):
        options.append(given)
        return types.SimpleNamespace(interrupted=False)

    _install(monkeypatch, run)
    return options


def _install(monkeypatch, run):
    from prefect_tune.cli.quickstart import sweep

    monkeypatch.setattr(sweep, "run", run)


@pytest.fixture
def ending_with(monkeypatch):
    """Makes the quickstart raise an error."""

    def install(error):
        def run(options):
            raise error

        _install(monkeypatch, run)

    return install


def error_of(capsys, *options):
    with pytest.raises(SystemExit) as ended:
        cli.main(["quickstart", *options])
    assert ended.value.code == 2
    return capsys.readouterr().err


def test_defaults(started):
    from prefect_tune.cli.quickstart.sweep import SweepOptions

    assert cli.main(["quickstart"]) == 0
    assert started == [SweepOptions()]


def test_every_option_arrives(started):
    from prefect_tune.cli.quickstart.sweep import SweepOptions

    line = (
        "quickstart --trials 3 --epochs 5 --seed 7 --search random --storage /tmp/x "
        "--cluster tcp://127.0.0.1:8786 --cpus-per-trial 0.5 --no-prefect"
    )
    assert cli.main(line.split()) == 0
    assert started == [
        SweepOptions(
            trials=3,
            epochs=5,
            seed=7,
            search="random",
            storage="/tmp/x",
            cluster="tcp://127.0.0.1:8786",
            orchestrate=False,
            cpus_per_trial=0.5,
        )
    ]


@pytest.mark.parametrize(
    ("option", "value", "right"),
    [
        ("--trials", "0", "a whole number of at least 1"),
        ("--trials", "many", "a whole number of at least 1"),
        ("--epochs", "-3", "a whole number of at least 1"),
        ("--seed", "1.5", "a whole number from 0 to 4,294,967,295"),
        ("--seed", "4294967296", "a whole number from 0 to 4,294,967,295"),
        ("--cpus-per-trial", "0", "a number greater than 0"),
        ("--cpus-per-trial", "nan", "a number greater than 0"),
        ("--cluster", "localhost:8786", "such as tcp://127.0.0.1:8786"),
        ("--cluster", "http://localhost", "such as tcp://127.0.0.1:8786"),
        ("--storage", "", "give a directory"),
        ("--search", "grid", "optuna, random"),
    ],
)
def test_a_wrong_value_names_the_option_and_says_what_is_right(
    option, value, right, started, capsys
):
    error = error_of(capsys, f"{option}={value}")
    assert f"argument {option}: " in error
    assert right in error.replace("'", "")
    assert not started


def test_a_misspelt_option_is_answered_with_the_nearest(started, capsys):
    assert "unknown argument --trails; did you mean --trials?" in error_of(capsys, "--trails=3")
    assert not started


@pytest.mark.parametrize(
    ("error", "option"),
    [
        (StorageError("cannot write /proc/x"), "--storage"),
        (ClusterError("`cluster`: no answer"), "--cluster"),
        (InsufficientResources("no node has 99 CPUs"), "--cpus-per-trial"),
        (InvalidArgument("storage_path", "no.", "Give a path."), "--storage"),
    ],
)
def test_what_the_sweep_refuses_is_blamed_on_the_option(error, option, ending_with, capsys):
    ending_with(error)
    said = error_of(capsys)
    assert f"argument {option}: " in said
    assert "`" not in said


def test_without_prefect_api_the_way_out_is_named(ending_with, capsys):
    ending_with(PrefectUnavailable("http://nowhere/api does not answer."))
    assert cli.main(["quickstart"]) == 1
    assert "--no-prefect" in capsys.readouterr().err


def test_without_scikit_learn_it_says_what_to_install(monkeypatch, capsys):
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert cli.main(["quickstart"]) == 1
    assert "pip install 'prefect-tune[quickstart]'" in capsys.readouterr().err


def test_an_interrupted_sweep_has_an_exit_code_of_its_own(monkeypatch):
    _install(monkeypatch, lambda options: types.SimpleNamespace(interrupted=True))
    assert cli.main(["quickstart"]) == 130


def test_an_interruption_is_not_a_traceback(ending_with, capsys):
    ending_with(KeyboardInterrupt())
    assert cli.main(["quickstart"]) == 130
    assert "interrupted" in capsys.readouterr().err
