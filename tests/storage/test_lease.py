from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from dataclasses import replace

import psutil
import pytest

from prefect_tune.error import ExperimentLocked
from prefect_tune.storage import lease as leases
from prefect_tune.storage.lease import LEASE_FILE, Holder, Lease

from .stores import DictStore


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "_CONFIRM_S", 0.05)
    monkeypatch.setattr(leases, "_released", set())


@pytest.fixture
def store() -> DictStore:
    return DictStore()


def holder(name: str, **changes: object) -> Holder:
    return replace(Holder.this_process(name), **changes)


def held(store: DictStore) -> Holder | None:
    data = store.files.get(LEASE_FILE)
    return None if data is None else Holder.decode(data)


def test_taken_and_given_back(store: DictStore) -> None:
    lease = Lease(store, holder("one"))
    lease.acquire()
    assert held(store).experiment_id == "one"
    assert held(store).expires > time.time()
    lease.close()
    assert held(store) is None


def test_a_second_one_is_told_who_holds_it(store: DictStore) -> None:
    first = Lease(store, holder("one", user="ada"))
    first.acquire()
    with pytest.raises(ExperimentLocked) as caught:
        Lease(store, holder("two")).acquire()
    text = str(caught.value)
    for part in (f"process {os.getpid()} of ada on ", "until", "`name`"):
        assert part in text
    first.close()
    second = Lease(store, holder("two"))
    second.acquire()
    second.close()


def test_one_that_has_expired_is_taken(store: DictStore) -> None:
    store.files[LEASE_FILE] = holder("old", machine="elsewhere", expires=time.time() - 1).encode()
    lease = Lease(store, holder("new"))
    lease.acquire()
    assert held(store).experiment_id == "new"
    lease.close()


def test_one_of_a_process_that_ended_here_is_taken(store: DictStore) -> None:
    later = time.time() + 3600
    store.files[LEASE_FILE] = holder("old", pid=2**22 + 1, expires=later).encode()
    lease = Lease(store, holder("new"))
    lease.acquire()
    lease.close()
    # A number that another process has by now.
    store.files[LEASE_FILE] = holder("old", started=1.0, expires=later).encode()
    lease = Lease(store, holder("new"))
    lease.acquire()
    lease.close()


def test_one_of_a_killed_process_whose_parent_has_not_noticed_is_taken(store: DictStore) -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    dead = holder("old", pid=process.pid, started=psutil.Process(process.pid).create_time())
    assert not dead.has_ended()
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and is not reaped
    assert dead.has_ended()
    store.files[LEASE_FILE] = replace(dead, expires=time.time() + 3600).encode()
    lease = Lease(store, holder("new"))
    lease.acquire()
    lease.close()
    process.communicate()


def test_one_of_another_machine_is_not(store: DictStore) -> None:
    later = time.time() + 3600
    there = holder("old", pid=2**22 + 1, machine="elsewhere", expires=later)
    store.files[LEASE_FILE] = there.encode()
    with pytest.raises(ExperimentLocked):
        Lease(store, holder("new")).acquire()


def test_one_that_is_not_renewed_is_waited_for(store: DictStore) -> None:
    there = holder("old", machine="elsewhere", expires=time.time() + 0.5)
    store.files[LEASE_FILE] = there.encode()
    lease = Lease(store, holder("new"))
    lease.acquire()
    assert time.time() >= there.expires
    lease.close()


def test_one_that_is_renewed_while_waited_for(store: DictStore) -> None:
    there = holder("old", machine="elsewhere", expires=time.time() + 2)
    store.files[LEASE_FILE] = there.encode()
    reads = []
    read = store.read

    def renew_at_the_third(rel: str) -> bytes | None:
        reads.append(rel)
        if len(reads) == 2:
            store.files[rel] = replace(there, expires=time.time() + 60).encode()
        return read(rel)

    store.read = renew_at_the_third
    with pytest.raises(ExperimentLocked):
        Lease(store, holder("new")).acquire()


def test_of_two_at_the_same_time_one_gets_it(store: DictStore) -> None:
    start = threading.Barrier(4)
    outcomes: list[object] = []

    def compete(number: int) -> None:
        lease = Lease(store, holder(f"number-{number}"))
        start.wait()
        try:
            lease.acquire()
            outcomes.append(lease)
        except ExperimentLocked as error:
            outcomes.append(error)

    threads = [threading.Thread(target=compete, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winners = [outcome for outcome in outcomes if isinstance(outcome, Lease)]
    assert len(winners) == 1
    winners[0].close()


def test_it_is_renewed_and_survives_an_outage(store: DictStore) -> None:
    lease = Lease(store, holder("one"), duration_s=0.3)
    lease.acquire()
    store.go_away()
    failed = []
    store.wait_until(lambda: failed.append(1) or len(failed) > 3)
    store.come_back()
    before = held(store).expires
    assert store.wait_until(lambda: held(store).expires > before)
    assert held(store).experiment_id == "one"
    lease.close()


def test_one_that_was_taken_over_is_lost(store: DictStore) -> None:
    lost: list[ExperimentLocked] = []
    heard = threading.Event()

    def hear(error: ExperimentLocked) -> None:
        lost.append(error)
        heard.set()

    lease = Lease(store, holder("one"), duration_s=0.3, on_lost=hear)
    lease.acquire()
    store.files[LEASE_FILE] = holder("other", user="eve", expires=time.time() + 60).encode()
    assert heard.wait(30)
    assert "eve" in str(lost[0])
    lease.close()
    assert held(store).experiment_id == "other"


def test_one_that_could_not_be_given_back_is_taken_back(store: DictStore) -> None:
    lease = Lease(store, holder("one"))
    lease.acquire()
    store.go_away()
    lease.close()
    store.come_back()
    assert held(store).experiment_id == "one"
    lease = Lease(store, holder("two"))
    lease.acquire()
    lease.close()


def test_a_lease_that_nobody_can_read_is_taken(store: DictStore) -> None:
    store.files[LEASE_FILE] = b"{nonsense"
    lease = Lease(store, holder("one"))
    lease.acquire()
    lease.close()
