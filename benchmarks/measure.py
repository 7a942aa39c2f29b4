"""Runs subjects in processes of their own and turns their values into rows, a table and JSON."""

from __future__ import annotations

import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from benchmarks.subject import STARTED_VARIABLE

REPOSITORY = Path(__file__).resolve().parent.parent
PEER_PYTHON_VARIABLE = "PREFECT_TUNE_BENCH_PYTHON"
"""Interpreter of the virtual environment with the peers; default: the one that runs this."""

OURS = "prefect_tune"
SKIPPED = "skipped"
TERM_GRACE_S = 15.0

# Nothing a benchmark starts may report home, and no subject may find another one's state.
QUIET_ENVIRONMENT = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_LOGGING_LEVEL": "ERROR",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    "RAY_USAGE_STATS_ENABLED": "0",
}

Better = Literal["lower", "higher"]


@dataclass(frozen=True)
class Subject:
    """A system under test: its name in the table, its interpreter, and the module to run."""

    name: str
    python: str
    module: str


@dataclass(frozen=True)
class Outcome:
    """What came out of one subject process.

    Attributes:
        subject: Whose process it was, as shown in the table.
        workload: Name of the measurement.
        arguments: What the workload was called with.
        values: The numbers it returned; empty if there is a problem.
        versions: Versions of Python and of the distributions measured.
        problem: Why there are no values, or None.
    """

    subject: str
    workload: str
    arguments: dict[str, Any]
    values: dict[str, float] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    problem: str | None = None


@dataclass(frozen=True)
class Row:
    """One line of the table: a quantity, ours beside one peer's.

    Attributes:
        what: The quantity measured.
        unit: Its unit.
        ours: Our figure, or None if there is none.
        peer: The peer's name; empty where nothing is compared.
        theirs: The peer's figure, or None if there is none.
        ratio: How many times better ours is (below 1: worse), or None without both figures.
        note: Sizes where they differ, or why a figure is missing.
    """

    what: str
    unit: str
    ours: float | None
    peer: str
    theirs: float | None
    ratio: float | None
    note: str


@dataclass
class Bench:
    """What a benchmark module gets: how long to measure, and how to run a subject.

    Attributes:
        quick: Use the small sizes.
        skip_peers: Measure ours only; peers are reported as skipped.
        outcomes: Everything measured so far, for the JSON file.
    """

    quick: bool = False
    skip_peers: bool = False
    outcomes: list[Outcome] = field(default_factory=list)

    def size(self, full: int, *, quick: int) -> int:
        return quick if self.quick else full

    def ours(
        self,
        workload: str,
        *,
        timeout_s: float = 600,
        environment: Mapping[str, str] | None = None,
        **arguments: Any,
    ) -> Outcome:
        """Measure ourselves: `workload` is the benchmark module whose `measure` is called."""
        subject = Subject(OURS, sys.executable, "benchmarks.ours")
        outcome = run_subject(subject, workload, arguments, timeout_s, environment or {})
        self.outcomes.append(outcome)
        return outcome

    def peer(
        self,
        module: str,
        workload: str,
        *,
        label: str = "",
        timeout_s: float = 600,
        environment: Mapping[str, str] | None = None,
        **arguments: Any,
    ) -> Outcome:
        """Measure the peer in `benchmarks.peers.<module>`, shown in the table as `label`."""
        python = os.environ.get(PEER_PYTHON_VARIABLE) or sys.executable
        subject = Subject(label or module, python, f"benchmarks.peers.{module}")
        if self.skip_peers:
            outcome = Outcome(subject.name, workload, arguments, problem=SKIPPED)
        else:
            outcome = run_subject(subject, workload, arguments, timeout_s, environment or {})
        self.outcomes.append(outcome)
        return outcome


def compare(
    what: str,
    value: str,
    unit: str,
    ours: Outcome,
    peers: Sequence[Outcome],
    *,
    better: Better = "lower",
) -> Iterator[Row]:
    """Rows that put the figure named `value` of ours beside that of each peer.

    Without peers, or if they were skipped, there is one row with our figure alone.
    """
    mine = ours.values.get(value)
    beside: Sequence[Outcome | None] = [peer for peer in peers if peer.problem != SKIPPED] or [None]
    for peer in beside:
        theirs = peer.values.get(value) if peer else None
        ratio = None
        if mine is not None and theirs is not None and mine > 0 and theirs > 0:
            ratio = theirs / mine if better == "lower" else mine / theirs
        notes = [_note(outcome) for outcome in (ours, peer) if outcome]
        yield Row(
            what=what,
            unit=unit,
            ours=mine,
            peer=peer.subject if peer else "",
            theirs=theirs,
            ratio=ratio,
            note=" | ".join(note for note in notes if note),
        )


def _note(outcome: Outcome) -> str:
    if outcome.problem:
        return f"{outcome.subject}: {outcome.problem}"
    if "trials" in outcome.arguments:
        return f"n={outcome.arguments['trials']}"
    return ""


def run_subject(
    subject: Subject,
    workload: str,
    arguments: dict[str, Any],
    timeout_s: float,
    environment: Mapping[str, str],
) -> Outcome:
    """Run one workload in a fresh process and directory and read its JSON line.

    A subject that fails, hangs or is not installed becomes an outcome with a problem.
    """
    scratch = Path(tempfile.mkdtemp(prefix="bench-"))
    stdout, stderr = scratch / "stdout", scratch / "stderr"
    command = [subject.python, "-m", subject.module, workload, json.dumps(arguments)]
    try:
        # Files rather than pipes: a stray grandchild that holds a pipe would keep us waiting.
        with stdout.open("wb") as out, stderr.open("wb") as err:
            process = subprocess.Popen(
                command,
                stdout=out,
                stderr=err,
                cwd=scratch,
                env={**_environment(scratch), **environment},
                start_new_session=True,
            )
            problem = _wait(process, timeout_s)
        if problem is None:
            answer = json.loads(stdout.read_text())
            if "values" in answer:
                values, versions = answer["values"], answer["versions"]
                return Outcome(subject.name, workload, arguments, values, versions)
            problem = f"not installed ({answer['not_installed']})"
        else:
            problem = f"{problem}: {_last_line(stderr)}"
    except FileNotFoundError:
        problem = f"not installed (no interpreter {subject.python})"
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return Outcome(subject.name, workload, arguments, problem=problem)


def _environment(scratch: Path) -> dict[str, str]:
    environment = {**os.environ, **QUIET_ENVIRONMENT}
    # A server of the person who runs this must neither be loaded nor skew the figures.
    environment.pop("PREFECT_API_URL", None)
    environment["PYTHONPATH"] = str(REPOSITORY)
    environment["PREFECT_HOME"] = str(scratch / "prefect")
    environment["SYNETUNE_FOLDER"] = str(scratch / "syne-tune")
    environment["TMPDIR"] = str(scratch)
    environment[STARTED_VARIABLE] = repr(time.time())
    return environment


def _wait(process: subprocess.Popen[bytes], timeout_s: float) -> str | None:
    try:
        code = process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        return f"not finished within {timeout_s:.0f} s"
    else:
        return f"failed with exit code {code}" if code else None
    finally:
        _end_group(process)


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """End the subject and what is left of its children; the leader may be gone already."""
    with suppress(ProcessLookupError):
        if process.poll() is None:
            # A subject such as Ray has daemons outside the group that only it can end.
            os.killpg(process.pid, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(TERM_GRACE_S)
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _last_line(path: Path) -> str:
    lines = path.read_text(errors="replace").strip().splitlines()
    return lines[-1][:200] if lines else "no message"


def machine() -> dict[str, Any]:
    """What the figures depend on: cores, Python and the platform."""
    return {
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "platform": platform.platform(),
    }


HEADER = f"{'what':<59} {'ours':>12} {'peer':<24} {'theirs':>12} {'ratio':>8}  note"


def format_row(row: Row) -> str:
    ours, theirs = _figure(row.ours, row.unit), _figure(row.theirs, row.unit)
    ratio = "-" if row.ratio is None else f"x{row.ratio:.3g}"
    return f"{row.what:<59} {ours:>12} {row.peer:<24} {theirs:>12} {ratio:>8}  {row.note}"


def _figure(value: float | None, unit: str) -> str:
    if value is None:
        return "-"
    digits = 0 if isinstance(value, int) or abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f} {unit}"


def write_json(path: Path, rows: Sequence[Row], outcomes: Sequence[Outcome]) -> None:
    """Write the rows and everything measured for them, with the machine, to `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "machine": machine(),
        "rows": [asdict(row) for row in rows],
        "outcomes": [asdict(outcome) for outcome in outcomes],
    }
    path.write_text(json.dumps(content, indent=2) + "\n")
