"""Names of directories."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefect_tune.error import InvalidArgument
from prefect_tune.experiment.trial import Trial
from prefect_tune.storage.layout import (
    TrialDirNamer,
    date_string,
    default_root,
    experiment_dir_name,
    trial_dir_name,
)

NOON = time.mktime((2026, 1, 31, 12, 0, 1, 0, 0, -1))


def trial(number: int = 0, tag: str = "1_lr=0.1000", name: str | None = None) -> Trial:
    return Trial(
        f"c0ffe_{number:05d}", {}, trainable_name="train", experiment_tag=tag, custom_name=name
    )


def test_experiments_are_dated() -> None:
    assert experiment_dir_name("train", NOON) == "train_2026-01-31_12-00-01"
    assert experiment_dir_name("a/b(c)", NOON) == "a_b_c__2026-01-31_12-00-01"


def test_default_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert default_root() == "/home/me/prefect_tune_results"
    assert default_root("~/elsewhere") == "/home/me/elsewhere"
    assert default_root("/data/../runs") == "/runs"
    assert default_root("here") == os.path.join(os.getcwd(), "here")


def test_trials_are_named_by_tag_and_date(tmp_path: Path) -> None:
    name = TrialDirNamer(tmp_path).name(trial(), NOON)
    assert name == "train_c0ffe_00000_1_lr=0.1000_2026-01-31_12-00-01"


def test_a_name_of_the_users_own(tmp_path: Path) -> None:
    namer = TrialDirNamer(tmp_path)
    assert namer.name(trial(name="mine (1)"), NOON).startswith("mine _1__1_lr")
    assert namer.name(trial(), NOON, custom="t0") == "t0"


@pytest.mark.parametrize("wrong", ["a/b", "/", "", ".", ".."])
def test_a_name_that_is_no_directory(tmp_path: Path, wrong: str) -> None:
    with pytest.raises(InvalidArgument, match="trial_dirname_creator") as caught:
        TrialDirNamer(tmp_path).name(trial(), NOON, custom=wrong)
    assert repr(wrong) in str(caught.value)


def test_long_names_are_cut(tmp_path: Path) -> None:
    long = trial(tag="1_" + "x" * 500)
    assert len(TrialDirNamer(tmp_path).name(long, NOON)) == 130 + len("_2026-01-31_12-00-01")
    assert len(TrialDirNamer(tmp_path, max_length=20).name(long, NOON)) == 20 + 20


def test_a_directory_that_exists_gets_a_suffix(tmp_path: Path) -> None:
    first = TrialDirNamer(tmp_path).name(trial(), NOON)
    (tmp_path / first).mkdir()
    second = TrialDirNamer(tmp_path).name(trial(), NOON)
    assert re.fullmatch(re.escape(first) + "_[0-9a-f]{4}", second)


def test_no_two_trials_share_a_directory(tmp_path: Path) -> None:
    namer = TrialDirNamer(tmp_path)
    assert len({namer.name(trial(number), NOON, custom="same") for number in range(50)}) == 50
    assert len({namer.name(trial(0), NOON) for _ in range(50)}) == 50


@settings(deadline=None)
@given(
    st.text(st.characters(blacklist_categories=("Cs",)), max_size=300),
    st.text(st.characters(blacklist_categories=("Cs",)), max_size=300),
    st.integers(1, 300),
)
def test_every_name_can_be_a_directory(name: str, tag: str, length: int) -> None:
    made = trial_dir_name(name, tag, NOON, length)
    assert made.endswith("_" + date_string(NOON))
    assert len(made) <= length + 20
    assert len(made.encode()) + len("_0000") <= 255
    assert not set(made) & set('/()\\:*?"<>|\x00\n\r')


def test_the_name_of_a_trial_without_a_directory_is_not_given_again(tmp_path: Path) -> None:
    namer = TrialDirNamer(tmp_path, taken=["same"])
    assert namer.name(trial(1), NOON, "same") not in ("same", namer.name(trial(2), NOON, "same"))
