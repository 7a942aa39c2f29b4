"""The same streams of results through Ray Tune's schedulers and ours: how many decisions differ."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.measure import Bench, Row
from benchmarks.scheduler_streams import BATCHES, DRAWN, FACTORS, write
from benchmarks.subject import Values
from prefect_tune import schedulers

#: What is compared, how many streams of it, and why decisions may differ.
_KINDS = {
    "fifo": ("FIFO", 300, ""),
    "asha": ("ASHA", 200, ""),
    "median": ("median rule", 300, ""),
    "median_odd": (
        "median rule, 10 % not finite",
        300,
        "Ray leaves out a trial with a value that is not finite, we leave out the value",
    ),
    "hyperband": ("HyperBand", 150, ""),
    "hyperband_ends": (
        "HyperBand, trials end early",
        150,
        "Ray goes on waiting for trials that have ended",
    ),
    "bohb": (
        "HyperBandForBOHB",
        150,
        "Ray pauses the last trial of a bracket that is not filled before it ends it",
    ),
    "pbt": ("PBT", 60, ""),
    "pbt_odd": (
        "PBT, 5 % not finite",
        60,
        "NaN counts as the worst score, and Ray has it where its sort happens to leave it",
    ),
    "pbt_synch": ("synchronous PBT", 60, ""),
}
_RESAMPLED = 0.25


def measure(*, kind: str, runs: int, path: str) -> Values:
    """Write what our scheduler of a kind decides in each stream to a file."""
    return write(schedulers, schedulers.PopulationBasedTraining, kind, runs, path)


def rows(bench: Bench) -> Iterator[Row]:
    for kind, (title, full, why) in _KINDS.items():
        runs = bench.size(full, quick=10)
        with tempfile.TemporaryDirectory() as directory:
            paths = [f"{directory}/{name}.json" for name in ("ours", "theirs")]
            ours = bench.ours("schedulers", kind=kind, runs=runs, path=paths[0])
            ray = bench.peer(
                "ray_tune", "schedulers", label="Ray Tune", kind=kind, runs=runs, path=paths[1]
            )
            logs = [
                json.loads(Path(path).read_text()) if one.values else None
                for path, one in zip(paths, (ours, ray), strict=True)
            ]
        problem = ours.problem or ray.problem
        if logs[0] is None or logs[1] is None:
            count = ours.values.get("decisions")
            yield Row(f"{title}: decisions", "", count, "", None, None, problem or "")
            continue
        differ, compared, apart = differences(logs[0], logs[1])
        note = f"{apart} of {runs} streams go apart: {why}" if apart else ""
        yield _row(f"{title}: decisions that differ", f"of {compared:,}", differ, None, note)
        stuck = ours.values["stuck"], ray.values["stuck"]
        yield _row(f"{title}: streams that leave trials", f"of {runs}", *stuck)
        if kind == "pbt":
            yield from _copies(*([copy for _, copies in log for copy in copies] for log in logs))


def _row(what: str, unit: str, ours: float, theirs: float | None, note: str = "") -> Row:
    return Row(what, unit, ours, "Ray Tune", theirs, None, note)


def differences(ours: Sequence[Any], theirs: Sequence[Any]) -> tuple[int, int, int]:
    """How many decisions differ, of how many, and in how many streams.

    A stream is compared up to the first difference: after that it is another one. When trials were
    ended that waited is not compared: which ones they were shows in what runs later and is left.
    """
    differ = compared = apart = 0
    for (mine, _), (other, _) in zip(ours, theirs, strict=True):
        steps = ([entry for entry in log if entry[0] != "removed"] for log in (mine, other))
        for one, two in zip(*steps, strict=False):
            compared += len(one) == 3
            if one != two:
                differ += len(one) == 3
                apart += 1
                break
    return differ, compared, apart


def _copies(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> Iterator[Row]:
    """How the changed copies of PBT came about; what was copied is among the decisions."""
    possible = [sum(map(_is_possible, copies)) for copies in (ours, theirs)]
    yield _row("PBT: copies with a possible configuration", f"of {len(ours):,}", *possible)
    for name, degrees, measured in (
        ("drawn anew / up / down", 2, _chi_square_of_numbers),
        ("places in a list", len(BATCHES) - 1, _chi_square_of_places),
    ):
        squares = [measured(copies) for copies in (ours, theirs)]
        yield _row(f"PBT: chi-square, {name}", f"({degrees} df)", *squares)


def _is_possible(copy: dict[str, Any]) -> bool:
    """Whether the rules of PBT can make this configuration of that one."""
    before, after = copy["of"], copy["is"]
    numbers = [DRAWN, *(before["lr"] * factor for factor in FACTORS)]
    return after["lr"] in numbers and after["batch"] in BATCHES


def _chi_square_of_numbers(copies: list[dict[str, Any]]) -> float:
    """How far the shares of numbers that were drawn anew, raised and lowered are from the rule."""
    found = Counter(
        0 if copy["is"]["lr"] == DRAWN else 1 if copy["is"]["lr"] > copy["of"]["lr"] else 2
        for copy in copies
    )
    changed = (1 - _RESAMPLED) / 2
    return _chi_square(found, [_RESAMPLED, changed, changed], len(copies))


def _chi_square_of_places(copies: list[dict[str, Any]]) -> float:
    """The same for places in a list, of copies of a trial with the one in its middle."""
    middle = len(BATCHES) // 2
    inner = [copy for copy in copies if copy["of"]["batch"] == BATCHES[middle]]
    found = Counter(BATCHES.index(copy["is"]["batch"]) for copy in inner)
    shares = [_RESAMPLED / len(BATCHES)] * len(BATCHES)
    for place in (middle - 1, middle + 1):
        shares[place] += (1 - _RESAMPLED) / 2
    return _chi_square(found, shares, len(inner))


def _chi_square(found: Counter[int], shares: Sequence[float], total: int) -> float:
    return sum((found[i] - share * total) ** 2 / (share * total) for i, share in enumerate(shares))
