"""Whatever dies, whenever: the journal in storage is always a prefix of what was acknowledged."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from prefect_tune.storage import fetch
from prefect_tune.storage.fetch import begin_run, fetch_experiment
from prefect_tune.storage.journal import remote, shipper
from prefect_tune.storage.journal.file import JOURNAL_FILE, LocalJournal, good_length
from prefect_tune.storage.journal.header import JournalHeader, parse_header
from prefect_tune.storage.journal.journal_copies import LastRunText
from prefect_tune.storage.journal.remote import read_remote
from prefect_tune.storage.journal.shipper import Shipment
from tests.storage.stores import DictStore


class Process:
    """One process that runs the experiment, on a machine."""

    def __init__(self, store: DictStore, directory: Path, number: int, resume: bool):
        self.directory = directory
        self.id = f"{number:08x}"
        opened = (fetch_experiment if resume else begin_run)(store, directory)
        self.alive = True
        path = directory / JOURNAL_FILE
        self.journal = LocalJournal(path)
        list(self.journal.read())
        self.journal.cut_damage()
        #: What it found, and so acknowledges: the rest of its life builds on this.
        self.found = path.read_bytes()[opened.run_start :]
        self.run_start = opened.run_start
        origin = LastRunText.of(self.found).origin or self.id
        header = JournalHeader(self.id, origin, "exp", float(number))
        self.shipment = Shipment(store, path, opened, self.id)
        self.journal.append([header.encode()])

    @property
    def acknowledged(self) -> bytes:
        """The run as this process knows it."""
        return self.journal.path.read_bytes()[self.run_start :]


class Sweep(RuleBasedStateMachine):
    """One experiment, run by one process after the other; earlier ones may not know they died."""

    processes = Bundle("processes")

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        self.store = DictStore()
        self.count = 0
        self.current: Process | None = None
        self.all: list[Process] = []

    def teardown(self) -> None:
        for process in self.all:
            process.journal.close()
        shutil.rmtree(self.root)

    def _begin(self, directory: Path, resume: bool) -> Process:
        self.count += 1
        directory.mkdir(exist_ok=True)
        self._die_in(directory)  # the lock of the directory sees to that
        self.current = Process(self.store, directory, self.count, resume)
        self.all.append(self.current)
        return self.current

    def _die_in(self, directory: Path) -> None:
        for process in self.all:
            process.alive = process.alive and process.directory != directory

    @initialize(target=processes)
    def begin(self):
        return self.begin_a_new_run()

    def begin_a_new_run(self):
        return self._begin(self.root / f"machine-{self.count}", resume=False)

    @rule(target=processes)
    def replace_by_a_new_run(self):
        return self.begin_a_new_run()

    @rule(target=processes)
    def resume_on_a_new_machine(self):
        if not read_remote(self.store).data:
            return self.begin_a_new_run()
        before = read_remote(self.store).data
        process = self._begin(self.root / f"machine-{self.count}", resume=True)
        assert process.found == before
        return process

    @rule(target=processes, old=processes)
    def resume_on_an_old_machine(self, old: Process):
        before = read_remote(self.store).data
        local = LastRunText.of(old.journal.path.read_bytes()).data
        if not before and not local:
            return self.begin_a_new_run()
        process = self._begin(old.directory, resume=True)
        # It goes on with one of both, whole.
        assert process.found in (before, local)
        if local.startswith(before):
            assert process.found == local
        if before.startswith(local):
            assert process.found == before
        return process

    @rule(process=processes, size=st.integers(1, 40))
    def append(self, process: Process, size: int):
        """Also a process that was thought dead may go on."""
        if not process.alive:
            return
        process.journal.append([b'{"%s":"%s"}' % (process.id.encode(), b"x" * size)])

    @rule(process=processes)
    def ship(self, process: Process):
        if process.alive:
            process.shipment.step()

    @rule(process=processes)
    def ship_with_a_lost_answer(self, process: Process):
        """The object arrives, the process does not hear of it, and sends more the next time."""
        if not process.alive:
            return
        before = (
            process.shipment._position,
            process.shipment._next,
            list(process.shipment._segments),
        )
        process.shipment.step()
        process.shipment._position, process.shipment._next, process.shipment._segments = before
        process.journal.append([b'{"after":1}'])  # so that the next try differs

    @rule(process=processes, times=st.integers(1, 9))
    def ship_a_lot(self, process: Process, times: int):
        for number in range(times if process.alive else 0):
            process.journal.append([b'{"n":%d}' % number])
            process.shipment.step()
            process.shipment.merge()

    @rule(process=processes)
    def merge_and_die_before_deleting(self, process: Process):
        kept = dict(self.store.files)
        if process.alive and process.shipment.merge():
            self.store.files = {**kept, **self.store.files}

    @rule(process=processes, cut=st.floats(0, 1))
    def lose_the_end_of_a_local_journal(self, process: Process, cut: float):
        """As a power failure does; all processes of that machine are dead then."""
        if process.directory == self.current.directory:
            return
        self._die_in(process.directory)
        path = process.journal.path
        data = path.read_bytes()
        path.write_bytes(data[: int(len(data) * cut)])

    @invariant()
    def storage_holds_a_prefix_of_what_the_newest_knows(self):
        found = read_remote(self.store)
        assert not found.problem
        assert good_length(found.data) == (len(found.data), "")
        if self.current is None:
            return
        newest = self.current.acknowledged
        if found.writer == self.current.id:
            assert newest.startswith(found.data)
            assert found.data.startswith(self.current.found)
        if found.data:
            # One run, begun by its own header, and openings in the order of their numbers.
            lines = found.data.splitlines()
            headers = [h for line in lines if (h := parse_header(line[9:])) is not None]
            assert headers[0].is_first
            assert [h.time for h in headers] == sorted(h.time for h in headers)
            assert len({h.origin for h in headers}) == 1


Sweep.TestCase.settings = settings(
    max_examples=120,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


class InTurn:
    """Stands for a pool of threads: starting those takes longest."""

    def __init__(self, *_: object) -> None:
        self.map = map

    def __enter__(self) -> InTurn:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class TestSweep(Sweep.TestCase):
    @pytest.fixture(autouse=True)
    def _small_merges(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(shipper, "MERGED", 3)
        monkeypatch.setattr(remote, "ThreadPoolExecutor", InTurn)
        # It warns of each journal that another one replaces.
        monkeypatch.setattr(fetch.log, "disabled", True)
