import json
import sys
from pathlib import Path

import pytest

from benchmarks.measure import Bench, Outcome, Subject, compare, format_row, run_subject, write_json
from benchmarks.subject import percentile

SUBJECT = """
import os, sys, time
from benchmarks.subject import seconds_since_start, serve

def figures(*, n):
    print("noise")
    os.system("echo noise of a child")
    return {"n": n, "age": seconds_since_start()}

def broken():
    raise RuntimeError("no luck")

def stuck():
    time.sleep(60)

if __name__ == "__main__":
    serve({f.__name__: f for f in (figures, broken, stuck)}, requires=REQUIRES)
"""


@pytest.fixture
def subject(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Subject:
    return _subject(tmp_path, monkeypatch, requires=("pytest",))


def _subject(folder: Path, monkeypatch: pytest.MonkeyPatch, requires: tuple[str, ...]) -> Subject:
    (folder / "a_subject.py").write_text(SUBJECT.replace("REQUIRES", repr(requires)))
    monkeypatch.setattr("benchmarks.measure.REPOSITORY", f"{_repository()}:{folder}")
    return Subject("theirs", sys.executable, "a_subject")


def _repository() -> Path:
    return Path(__file__).resolve().parents[2]


def _run(subject: Subject, workload: str, timeout_s: float = 30, **arguments: int) -> Outcome:
    return run_subject(subject, workload, arguments, timeout_s, {})


def test_values_are_read_from_the_only_line_whatever_else_is_printed(subject: Subject) -> None:
    outcome = _run(subject, "figures", n=3)
    assert outcome.problem is None
    assert outcome.values["n"] == 3
    assert outcome.values["age"] > 0
    assert set(outcome.versions) == {"python", "pytest"}


def test_a_failure_tells_its_last_line_and_gives_no_values(subject: Subject) -> None:
    outcome = _run(subject, "broken")
    assert outcome.values == {}
    assert outcome.problem == "failed with exit code 1: RuntimeError: no luck"


def test_a_subject_that_hangs_is_ended(subject: Subject) -> None:
    outcome = _run(subject, "stuck", timeout_s=1)
    assert outcome.problem is not None
    assert outcome.problem.startswith("not finished within 1 s")


def test_a_missing_distribution_is_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome = _run(_subject(tmp_path, monkeypatch, requires=("no-such-thing",)), "figures", n=1)
    assert outcome.problem == "not installed (no-such-thing)"
    assert outcome.values == {}


def test_a_missing_interpreter_is_not_installed() -> None:
    outcome = _run(Subject("theirs", "/no/such/python", "a_subject"), "figures")
    assert outcome.problem == "not installed (no interpreter /no/such/python)"


@pytest.mark.parametrize(("better", "ratio"), [("lower", 4.0), ("higher", 0.25)])
def test_the_ratio_tells_how_many_times_better_ours_is(better: str, ratio: float) -> None:
    ours = Outcome("prefect_tune", "w", {}, {"x": 5.0})
    theirs = Outcome("theirs", "w", {"trials": 8}, {"x": 20.0})
    (row,) = compare("figure", "x", "ms", ours, [theirs], better=better)  # type: ignore[arg-type]
    assert row.ratio == ratio
    assert row.note == "n=8"


def test_a_missing_figure_is_shown_with_its_reason_and_never_made_up() -> None:
    ours = Outcome("prefect_tune", "w", {}, {"x": 5.0})
    theirs = Outcome("theirs", "w", {}, problem="not installed (theirs)")
    (row,) = compare("figure", "x", "ms", ours, [theirs])
    assert row.theirs is None
    assert row.ratio is None
    assert "theirs: not installed (theirs)" in format_row(row)


def test_skipped_peers_are_not_started() -> None:
    bench = Bench(skip_peers=True)
    assert bench.peer("ray_tune", "trial_overhead", label="Ray Tune").problem == "skipped"


def test_json_holds_rows_outcomes_and_the_machine(tmp_path: Path) -> None:
    ours = Outcome("prefect_tune", "w", {"trials": 2}, {"x": 5.0}, {"python": "3"})
    write_json(tmp_path / "new" / "w.json", list(compare("figure", "x", "ms", ours, [])), [ours])
    content = json.loads((tmp_path / "new" / "w.json").read_text())
    assert content["machine"]["cores"] > 0
    assert content["rows"][0]["ours"] == 5.0
    assert content["outcomes"][0]["versions"] == {"python": "3"}


def test_percentile_is_the_nearest_rank() -> None:
    values = [float(n) for n in range(1, 101)]
    assert percentile(values, 50) == 50
    assert percentile(values, 99) == 99
    assert percentile([7.0], 99) == 7
