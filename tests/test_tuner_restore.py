"""`Tuner.restore`: the arguments come from the directory."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path
from typing import Any

import pytest

import prefect_tune as tune
from prefect_tune.air import Checkpoint
from prefect_tune.error import InvalidArgument, TuneError
from prefect_tune.storage.journal.file import JOURNAL_FILE


def train(config: dict[str, Any]) -> dict[str, float]:
    return {"score": config["x"]}


def tuner(path: Path, trainable: Any = train, **run: Any) -> tune.Tuner:
    return tune.Tuner(
        trainable,
        param_space={"x": tune.grid_search([1, 2, 3])},
        tune_config=tune.TuneConfig(metric="score", mode="max"),
        run_config=tune.RunConfig(
            name="t", storage_path=str(path), orchestrate=False, verbose=0, **run
        ),
    )


@pytest.fixture(autouse=True, scope="module")
def cluster() -> Any:
    tune.init(num_cpus=2)
    yield
    tune.shutdown()


def cut_behind_the_first_end(directory: Path) -> None:
    """Make it look as if the process had been killed when one trial had ended."""
    journal = directory / JOURNAL_FILE
    lines = journal.read_bytes().splitlines(keepends=True)
    ends = [i for i, line in enumerate(lines) if b'"AttemptEnded"' in line]
    journal.write_bytes(b"".join(lines[: ends[0] + 1]))


@pytest.mark.parametrize("trainable", [train, None])
def test_an_interrupted_experiment_goes_on_where_it_is_now(tmp_path, trainable):
    assert not tune.Tuner.can_restore(tmp_path / "t")
    first = tuner(tmp_path).fit()
    cut_behind_the_first_end(tmp_path / "t")
    moved = tmp_path / "elsewhere"
    (tmp_path / "t").rename(moved)
    assert tune.Tuner.can_restore(moved)
    results = tune.Tuner.restore(str(moved), trainable).fit()
    assert sorted(r.config["x"] for r in results) == [1, 2, 3]
    assert results.get_best_result().config == {"x": 3} == first.get_best_result().config
    assert not (tmp_path / "t").exists()


def test_straight_from_a_url(tmp_path, request):
    url = f"memory://{request.node.name}"
    config = tune.RunConfig(
        name="t",
        storage_path=url,
        local_dir=str(tmp_path / "here"),
        orchestrate=False,
        verbose=0,
    )
    space = {"x": tune.grid_search([1, 2, 3])}
    assert not tune.Tuner.can_restore(f"{url}/t")
    tune.Tuner(train, param_space=space, run_config=config).fit()
    assert tune.Tuner.can_restore(f"{url}/t")
    # Another machine: nothing is here.
    (tmp_path / "here").rename(tmp_path / "gone")
    restored = tune.Tuner.restore(f"{url}/t", train)
    assert len(restored.get_results()) == 3
    results = restored.fit()
    assert sorted(r.config["x"] for r in results) == [1, 2, 3]
    assert [r.metrics["score"] for r in results] == [1, 2, 3]


def test_what_cannot_be_restored(tmp_path):
    with pytest.raises(InvalidArgument, match="no experiment of a Tuner"):
        tune.Tuner.restore(str(tmp_path / "nothing"), train)
    tuner(tmp_path).fit()
    path = str(tmp_path / "t")
    with pytest.raises(InvalidArgument, match=r"`restart_errored`.*Give only one of the two"):
        tune.Tuner.restore(path, train, resume_errored=True, restart_errored=True)
    with pytest.raises(InvalidArgument, match=r"`param_space`.*'y'"):
        tune.Tuner.restore(path, train, param_space={"x": 1, "y": 2})

    def another(config: dict[str, Any]) -> None: ...

    with pytest.raises(InvalidArgument, match="'train', not 'another'"):
        tune.Tuner.restore(path, another).fit()
    with pytest.raises(AttributeError, match="called on the class"):
        tuner(tmp_path).restore(path, train)


def test_results_before_and_after(tmp_path):
    with pytest.raises(RuntimeError, match="no results yet"):
        tuner(tmp_path).get_results()
    with pytest.raises(TuneError):
        tuner(tmp_path).get_results()
    tuner(tmp_path).fit()
    restored = tune.Tuner.restore(tmp_path / "t", train)
    so_far = restored.get_results()
    assert len(so_far) == 3
    assert so_far.get_best_result().config["x"] == 3
    assert restored.fit() is restored.get_results()


def test_more_samples_and_more_time(tmp_path):
    first = tuner(tmp_path)
    first.fit()
    more = tune.Tuner.restore(tmp_path / "t", train, num_samples=2, time_budget_s=3600)
    assert len(more.fit()) == 6


def test_arguments_that_cannot_be_pickled_are_warned_about(tmp_path, caplog):
    class Holds(tune.Callback):
        def __init__(self) -> None:
            self.lock = threading.Lock()

    results = tuner(tmp_path, callbacks=[Holds()]).fit()
    assert len(results) == 3
    assert "Tuner.restore will not work" in caplog.text
    assert not tune.Tuner.can_restore(tmp_path / "t")


def test_credentials_are_not_saved(tmp_path):
    import fsspec

    options = {"storage_filesystem": fsspec.filesystem("memory", secret="hush-hush")}
    config = tune.RunConfig(name="t", storage_path="/place", local_dir=str(tmp_path), **options)
    quiet = {"orchestrate": False, "verbose": 0}
    for name, value in quiet.items():
        setattr(config, name, value)
    tune.Tuner(train, param_space={"x": 1}, run_config=config).fit()
    assert b"hush-hush" not in (tmp_path / "t" / "tuner.pkl").read_bytes()
    restored = tune.Tuner.restore("/place/t", train, **options)
    assert len(restored.fit()) == 1


def test_arguments_that_another_user_wrote_are_loaded_only_if_trusted(tmp_path, monkeypatch):
    tuner(tmp_path).fit()
    monkeypatch.setenv("PREFECT_TUNE_SIGNING_KEY", "the key of somebody else")
    how = r"tuner\.pkl.*not signed.*PREFECT_TUNE_TRUST_PICKLES=1.*resume=True"
    with pytest.raises(InvalidArgument, match=how):
        tune.Tuner.restore(tmp_path / "t", train)
    monkeypatch.setenv("PREFECT_TUNE_TRUST_PICKLES", "1")
    assert len(tune.Tuner.restore(tmp_path / "t").get_results()) == 3


def test_secrets_are_kept_where_only_this_user_can_read_them(tmp_path, monkeypatch):
    variables = {"DATABASE": "hush-hush"}
    config = tuner(tmp_path, env_vars=variables)._request.run_config
    assert "hush" not in repr(config)

    def shows(config: dict[str, Any]) -> dict[str, Any]:
        return {"score": config["x"], "length": len(os.environ["DATABASE"])}

    tuner(tmp_path, shows, env_vars=variables).fit()
    for path in (tmp_path / "t").rglob("*"):
        assert not path.is_file() or b"hush-hush" not in path.read_bytes()
    assert stat.S_IMODE((tmp_path / "t" / "tuner.pkl").stat().st_mode) == 0o600
    restored = tune.Tuner.restore(tmp_path / "t", shows, num_samples=2).fit()
    assert [result.metrics["length"] for result in restored] == [9] * 6
    monkeypatch.setenv("PREFECT_TUNE_SIGNING_KEY", "the key of somebody else")
    with pytest.raises(InvalidArgument, match="holds secrets and is encrypted"):
        tune.Tuner.restore(tmp_path / "t", shows)


def test_the_password_of_an_optuna_storage_is_nowhere(tmp_path, monkeypatch):
    from prefect_tune.search import OptunaSearch

    search = OptunaSearch(metric="score", mode="max")
    search.unused = "postgresql://me:hush-hush@host/studies"
    config = tune.RunConfig(name="t", storage_path=str(tmp_path), orchestrate=False, verbose=0)
    space, chosen = {"x": tune.uniform(0, 1)}, tune.TuneConfig(search_alg=search, num_samples=2)
    tune.Tuner(train, param_space=space, tune_config=chosen, run_config=config).fit()
    for path in (tmp_path / "t").rglob("*"):
        assert not path.is_file() or b"hush-hush" not in path.read_bytes()
    restored = tune.Tuner.restore(tmp_path / "t", train, num_samples=3)
    assert len(restored.fit()) == 3


def test_files_may_be_written_by_a_group_if_the_umask_says_so(tmp_path):
    before = os.umask(0o002)
    try:
        tuner(tmp_path).fit()
    finally:
        os.umask(before)
    modes = {path: path.stat().st_mode for path in (tmp_path / "t").rglob("*")}
    assert [path for path, mode in modes.items() if not mode & stat.S_IWGRP] == []


# -- failed trials: the tables of the contract ----------------------------------------------------


def counting(config: dict[str, Any]) -> None:
    """Counts from its checkpoint up by two; the second and fourth trial fail at first."""
    checkpoint = tune.get_checkpoint()
    begin = 0 if checkpoint is None else checkpoint.to_dict()["count"]
    for count in range(begin + 1, begin + 3):
        tune.report({"count": count}, checkpoint=Checkpoint.from_dict({"count": count}))
        if config["number"] % 2 == 0 and Path(config["fails"]).exists():
            raise RuntimeError("as planned")


def first_run(path: Path) -> tune.ResultGrid:
    marker = path / "fails"
    marker.touch()
    space = {"number": tune.grid_search([1, 2, 3, 4]), "fails": str(marker)}
    config = tune.RunConfig(name="t", storage_path=str(path), orchestrate=False, verbose=0)
    results = tune.Tuner(counting, param_space=space, run_config=config).fit()
    assert counts(results) == [2, 1, 2, 1]
    assert results.num_errors == 2
    marker.unlink()
    return results


def counts(results: tune.ResultGrid) -> list[int]:
    by_number = {result.config["number"]: result.metrics for result in results}
    assert all(m["count"] == m["training_iteration"] for m in by_number.values())
    return [by_number[number]["count"] for number in sorted(by_number)]


@pytest.mark.parametrize(
    ("errored", "expected", "errors"),
    [
        ({}, [2, 1, 2, 1], 2),
        ({"resume_errored": True}, [2, 3, 2, 3], 0),
        ({"restart_errored": True}, [2, 2, 2, 2], 0),
    ],
)
def test_failed_trials(tmp_path, errored, expected, errors):
    first_run(tmp_path)
    results = tune.Tuner.restore(tmp_path / "t", counting, **errored).fit()
    assert counts(results) == expected
    assert results.num_errors == errors
    # And a third time nothing is left to do.
    again = tune.Tuner.restore(tmp_path / "t", counting).fit()
    assert counts(again) == expected


@pytest.mark.parametrize(
    ("resume", "expected"),
    [
        ("AUTO", [2, 1, 2, 1]),
        ("AUTO+ERRORED", [2, 3, 2, 3]),
        ("LOCAL+ERRORED_ONLY", [2, 3, 2, 3]),
        ("LOCAL+RESTART_ERRORED", [2, 2, 2, 2]),
        ("ERRORED_ONLY", [2, 2, 2, 2]),
    ],
)
def test_failed_trials_by_text(tmp_path, resume, expected):
    first_run(tmp_path)
    space = {"number": tune.grid_search([1, 2, 3, 4]), "fails": str(tmp_path / "fails")}
    analysis = tune.run(
        counting,
        config=space,
        name="t",
        storage_path=str(tmp_path),
        orchestrate=False,
        verbose=0,
        resume=resume,
        raise_on_failed_trial=False,
    )
    assert counts(tune.ResultGrid(analysis)) == expected


# -- restore= -------------------------------------------------------------------------------------


def restored_counts(path: Path, name: str, restore: Any) -> list[int]:
    analysis = tune.run(
        counting,
        config={"number": tune.grid_search([1, 3]), "fails": str(path / "nothing")},
        name=name,
        storage_path=str(path),
        orchestrate=False,
        verbose=0,
        restore=restore,
    )
    return [trial.last_result["count"] for trial in analysis.trials]


def test_every_trial_starts_from_a_checkpoint(tmp_path):
    best = first_run(tmp_path)[0].checkpoint
    assert restored_counts(tmp_path, "a", best) == [4, 4]
    assert restored_counts(tmp_path, "b", best.path) == [4, 4]
    assert restored_counts(tmp_path, "c", Checkpoint.from_dict({"count": 5})) == [7, 7]
    url = f"memory://{tmp_path.name}/checkpoint"
    best.to_uri(url)
    assert restored_counts(tmp_path, "d", url) == [4, 4]
    plain = tmp_path / "plain"
    Checkpoint.from_dict({"count": 8}).to_directory(plain)
    assert restored_counts(tmp_path, "e", plain) == [10, 10]


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda path: path / "nothing", "does not exist"),
        (lambda path: empty(path / "empty"), "is empty"),
        (lambda path: incomplete(path), "no complete checkpoint: .*is missing"),
        (lambda path: "memory://no-such-place/checkpoint", "there is nothing in"),
        (lambda path: 3, "got 3"),
        (lambda path: __file__, "is a file"),
    ],
)
def test_restore_from_nothing(tmp_path, make, problem):
    with pytest.raises(InvalidArgument, match=f"`restore`.*{problem}"):
        restored_counts(tmp_path, "a", make(tmp_path))
    assert not (tmp_path / "a").exists()


def empty(path: Path) -> Path:
    path.mkdir()
    return path


def incomplete(path: Path) -> Path:
    from prefect_tune.checkpoint.manifest import write_manifest

    directory = empty(path / "incomplete")
    (directory / "data").write_bytes(b"123")
    write_manifest(directory)
    (directory / "data").unlink()
    return directory
