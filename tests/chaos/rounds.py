"""One run: start the sweep, strike, resume until it is finished, look at what is left."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.s3.endpoint import Bucket

from . import processes
from .audit import Evidence, Findings, audit
from .evidence import Key, read_diary, read_journal, read_lines
from .home import BucketHome, Home, LocalHome
from .scenario import FATAL, NEEDED, S3, Kind, Scenario, Strike
from .strikes import Striker, Targets
from .sweep import DIARY, NAME, RESULTS_FILE, SCENARIO_FILE, WITNESS_FILE
from .world import LEASE_S, ROOT, World, can_have_small_disks, small_disk

#: A call that shows nothing new for so long hangs, and one that takes so long goes in circles.
_STUCK_S = 60.0
#: For so long the end of a sweep waits for a Prefect server that has gone away.
_PREFECT_BACK_S = 60.0
_CALL_S = 200.0
_MAX_CALLS = 10
_POLL_S = 0.02
_TAIL_LINES = 25
#: Where in its bucket a sweep is stored.
_PREFIX = "some/where"


@dataclass
class Outcome:
    """How a run went.

    Attributes:
        scenario: What it was.
        done: What was done to it, by kind.
        skipped: What could not be done here.
        calls: How often the sweep was started.
        findings: What the audit has found.
        seconds: How long it took.
        directory: What it has left.
    """

    scenario: Scenario
    done: Counter[Kind]
    skipped: Counter[Kind]
    calls: int
    findings: Findings
    seconds: float
    directory: Path

    @property
    def failed(self) -> bool:
        """Whether anything is wrong."""
        return bool(self.findings.faults)


class CallFailed(Exception):
    """The sweep did not go on as it should have."""


@dataclass
class Round:
    """A run in progress.

    Args:
        world: What is around it.
        scenario: What is run.
        directory: Takes what it notes.
    """

    world: World
    scenario: Scenario
    directory: Path
    calls: int = 0
    acknowledged: set[Key] = field(default_factory=set)
    completed: set[str] = field(default_factory=set)
    skipped: Counter[Kind] = field(default_factory=Counter)
    _witnessed: int = 0
    _disk: Path | None = None
    _bucket: Bucket | None = None
    _remote: BucketHome | None = None
    _forgetful: bool = False

    def __post_init__(self) -> None:
        self._pending = list(dict.fromkeys(self.scenario.strikes))
        self._armed: dict[Strike, float] = {}
        self._striker = Striker(random.Random(f"victims {self.scenario.seed}"))
        self._results = self.world.results / self.directory.name
        self._experiment_dir = self._results / NAME

    def run(self) -> Outcome:
        """Do all of it."""
        begin = time.monotonic()
        (self.directory / DIARY).mkdir(parents=True)
        self._results.mkdir(parents=True)
        (self.directory / SCENARIO_FILE).write_text(self.scenario.encode())
        with ExitStack() as exit_stack:
            self._prepare(exit_stack)
            problem = ""
            try:
                while not self._call():
                    pass
            except CallFailed as error:
                problem = str(error)
            except Exception:  # of the harness itself; other runs go on
                problem = traceback.format_exc()
            finally:
                self._striker.tend(at_once=True)
            findings = self._audit()
            if problem:
                findings.other.insert(0, problem)
            if findings.faults:
                shutil.copytree(self._results, self.directory / "results", symlinks=True)
        shutil.rmtree(self._results, ignore_errors=True)
        return Outcome(
            self.scenario,
            self._striker.done,
            self.skipped,
            self.calls,
            findings,
            time.monotonic() - begin,
            self.directory,
        )

    def _prepare(self, exit_stack: ExitStack) -> None:
        if self.scenario.storage == S3:
            self._bucket = exit_stack.enter_context(self.world.bucket())
            self._remote = BucketHome(self._bucket, f"{_PREFIX}/{NAME}/")
        if any(strike.kind is Kind.DISK_FULL for strike in self._pending):
            if can_have_small_disks():
                self._disk = self._results
                exit_stack.enter_context(small_disk(self._disk))
            else:
                self._pending = [s for s in self._pending if s.kind is not Kind.DISK_FULL]
                self.skipped[Kind.DISK_FULL] += 1

    def _call(self) -> bool:
        """Start the sweep or go on with it; True if it has come to its end."""
        self.calls += 1
        if self.calls > _MAX_CALLS:
            raise CallFailed(f"the sweep is not finished after {_MAX_CALLS} calls")
        cluster = self.world.cluster(self.scenario)
        prefect = self.world.prefect() if self.scenario.prefect else None
        arguments = [str(self.directory), self._storage()]
        if cluster is not None:
            arguments.append(cluster.address)
        environ = self.world.environ(self.scenario) | {"TUNE_RESULT_DIR": str(self._results)}
        if prefect is not None:
            environ["PREFECT_API_URL"] = prefect.api_url
        with (self.directory / f"flow-{self.calls}.log").open("wb") as log:
            flow = subprocess.Popen(
                [sys.executable, "-m", "tests.chaos.sweep", *arguments],
                cwd=ROOT,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        proxy = self.world.proxy if self._bucket is not None else None
        targets = Targets(flow.pid, cluster, prefect, proxy, self._disk, self._results)
        try:
            excused = self._accompany(flow, targets)
        finally:
            flow.kill()
            flow.wait()
        self._striker.tend(at_once=True)
        if flow.returncode == 0:
            return True
        self.acknowledged.update(read_journal(self._experiment_dir).keys())
        if not excused:
            raise CallFailed(f"call {self.calls} ended with {flow.returncode}:\n{self._tail()}")
        return False

    def _storage(self) -> str:
        return str(self._results) if self._bucket is None else f"{self._bucket.url}/{_PREFIX}"

    def _accompany(self, flow: subprocess.Popen[bytes], targets: Targets) -> bool:
        """Strike until the flow process ends; True if a strike may have ended it."""
        excused = False
        shown = self._witnessed
        begin = news = time.monotonic()
        stuck_s = _STUCK_S + (0.0 if targets.prefect is None else _PREFECT_BACK_S)
        while flow.poll() is None:
            time.sleep(_POLL_S)
            if self.world.stopping.is_set():
                raise KeyboardInterrupt
            if self._read_witness():
                news = time.monotonic()
            self._striker.tend()
            if targets.cluster is not None:
                targets.cluster.tend()
            if targets.prefect is not None:
                targets.prefect.tend()
            for strike in self._due():
                if self._carry_out(strike, targets):
                    news = time.monotonic()
                    starting = self._witnessed == shown
                    excused |= strike.kind in FATAL or (starting and strike.kind in NEEDED)
            now = time.monotonic()
            if now - news > stuck_s or now - begin > _CALL_S:
                flow.send_signal(signal.SIGABRT)
                flow.wait()
                raise CallFailed(f"call {self.calls} does not end:\n{self._tail()}")
        self._read_witness()
        return excused

    def _due(self) -> list[Strike]:
        """The strikes whose time has come."""
        now = time.monotonic()
        for strike in self._pending:
            if self._witnessed >= strike.after:
                self._armed.setdefault(strike, now + strike.delay)
        return [strike for strike, at in self._armed.items() if at <= now]

    def _carry_out(self, strike: Strike, targets: Targets) -> bool:
        """Strike; False if there was nothing to hit: it is tried again then."""
        if not self._striker.strike(strike, targets):
            return False
        del self._armed[strike]
        self._pending.remove(strike)
        with (self.directory / "strikes.log").open("a") as log:
            log.write(f"{time.time():.3f} call {self.calls}: {strike}\n")
        if strike.kind is Kind.MACHINE and self._remote is not None:
            # What had not reached the store yet is gone; what it has is what counts.
            self._forgetful = True
            self._read_witness()
            told = self._remote.told()
            self.acknowledged = set(told.keys())
            self.completed = told.finished()
        return True

    def _read_witness(self) -> bool:
        entries = read_lines(self.directory / WITNESS_FILE)
        new = entries[self._witnessed :]
        self._witnessed = len(entries)
        for entry in new:
            if entry["event"] == "result":
                self.acknowledged.add(Key(entry["trial_id"], entry["token"], entry["n"]))
            else:
                self.completed.add(entry["trial_id"])
        return bool(new)

    def _audit(self) -> Findings:
        diary = read_diary(self.directory / DIARY)
        findings = self._audit_at(LocalHome(self._experiment_dir, self._remote), diary)
        if self._remote is not None:
            findings.add(self._audit_at(self._remote, diary), self._remote.name)
        findings.other += self._orphans({entry["pid"] for entry in diary})
        return findings

    def _audit_at(self, home: Home, diary: list[dict[str, Any]]) -> Findings:
        with home.files() as files:
            return audit(
                Evidence(
                    self.scenario,
                    home.told(),
                    self.acknowledged,
                    self.completed,
                    files,
                    diary,
                    home.shelf(),
                    self._forgetful,
                    self._results_seen(),
                )
            )

    def _results_seen(self) -> dict[str, list[Any]]:
        path = self.directory / RESULTS_FILE
        return json.loads(path.read_text()) if path.exists() else {}

    def _orphans(self, pids: set[int]) -> list[str]:
        """Trials that run on though nobody is there any more for whom."""
        deadline = time.monotonic() + LEASE_S + 15
        while left := [pid for pid in pids if processes.is_trial(pid)]:
            if time.monotonic() > deadline:
                break
            time.sleep(0.1)
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return [f"the trial process {pid} runs on" for pid in left]

    def _tail(self) -> str:
        log = self.directory / f"flow-{self.calls}.log"
        text = log.read_text(errors="replace").partition("Fatal Python error")[0]
        lines = [line for line in text.splitlines() if not line.startswith("  File ")]
        return "\n".join(f"    {line}" for line in lines[-_TAIL_LINES:])


def run_one(world: World, scenario: Scenario) -> Outcome:
    """Run a scenario; what it leaves is kept only if something is wrong."""
    directory = world.directory / f"run-{scenario.seed}"
    outcome = Round(world, scenario, directory).run()
    if not outcome.failed:
        shutil.rmtree(directory)
    return outcome
