"""What trials write on nodes comes into their directories on the driver."""

from __future__ import annotations

import asyncio
import os

import pytest

from prefect_tune.execution.driver.trial_files import RECORD_FILE, TrialFileCollector
from prefect_tune.execution.files.chunked_copy import LocalDirectory, Transfers
from prefect_tune.execution.files.node_files import READ_FILES, NodeClient
from tests.execution.experiments import make_env
from tests.execution.loopback import Node, content, make_checkpoint


def env_at(directory):
    return make_env(str, directory, sync_period_s=3600, storage_timeout_s=60.0)


class Driver:
    """Collects the files of the trial `t` from nodes."""

    def __init__(self, directory):
        self.trial = directory / "t"
        self.trial.mkdir(parents=True, exist_ok=True)
        self._here = LocalDirectory(directory)
        self._env = env_at(directory)
        self._loop = asyncio.new_event_loop()
        self._transfers = self._loop.run_until_complete(self._make())

    async def _make(self):
        transfers = Transfers(60.0)
        self._logs = TrialFileCollector(self._here, transfers, self._env)
        return transfers

    def collect(self, node, address="tcp://node:1"):
        async def collect():
            self._logs.watch(NodeClient(node, address, "experiment"), "t")
            await self._logs.close(60)

        self._loop.run_until_complete(collect())

    def files(self):
        found = content(self.trial)
        found.pop(RECORD_FILE, None)
        return found


def write(node, name, data, mode="wb"):
    path = node.directory / "t" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, mode) as file:
        file.write(data)


def bytes_read(node):
    return sum(p[2] for call in node.calls if call["op"] == READ_FILES for p in call["pieces"])


@pytest.fixture
def node(tmp_path):
    return Node(tmp_path / "node")


@pytest.fixture
def driver(tmp_path):
    return Driver(tmp_path / "driver")


def test_everything_but_checkpoints(node, driver):
    write(node, "stdout", b"hello\n")
    write(node, "plots/loss.png", b"\x89PNG")
    write(node, "empty", b"")
    make_checkpoint(node.directory / "t" / "checkpoint_000001", {"a": b"1"})
    make_checkpoint(node.directory / "t" / ".checkpoint_000002.tmp-1", {"a": b"1"})
    driver.collect(node)
    assert driver.files() == {"stdout": b"hello\n", "plots/loss.png": b"\x89PNG", "empty": b""}


def test_only_what_is_new_travels(node, driver):
    write(node, "stdout", b"a" * 100_000)
    write(node, "mine.jsonl", b"b" * 100_000)
    driver.collect(node)
    node.calls.clear()
    driver.collect(node)
    assert bytes_read(node) == 0
    write(node, "stdout", b"c" * 10, "ab")
    write(node, "mine.jsonl", b"d" * 10, "ab")
    driver.collect(node)
    assert bytes_read(node) < 10_000
    assert driver.files() == {
        "stdout": b"a" * 100_000 + b"c" * 10,
        "mine.jsonl": b"b" * 100_000 + b"d" * 10,
    }


@pytest.mark.parametrize("in_place", [True, False])
def test_a_file_that_was_written_anew_is_replaced(node, driver, in_place):
    write(node, "state.json", b"first")
    driver.collect(node)
    if not in_place:
        (node.directory / "t" / "state.json").unlink()
    write(node, "state.json", b"second, and longer")
    driver.collect(node)
    assert driver.files() == {"state.json": b"second, and longer"}
    write(node, "state.json", b"3rd")
    driver.collect(node)
    assert driver.files() == {"state.json": b"3rd"}


def test_an_attempt_on_another_node_adds_to_the_output(node, driver, tmp_path):
    other = Node(tmp_path / "other")
    write(node, "stdout", b"one\n")
    write(node, "mine", b"first")
    driver.collect(node)
    write(other, "stdout", b"two\n")
    write(other, "mine", b"2nd")
    driver.collect(other, "tcp://node:2")
    write(node, "stdout", b"three\n", "ab")
    driver.collect(node)
    assert driver.files() == {"stdout": b"one\ntwo\nthree\n", "mine": b"2nd"}


@pytest.mark.parametrize(
    "name",
    ["result.json", "progress.csv", "params.json", "params.pkl", "error.txt", "error.pkl"],
)
def test_the_results_of_the_driver_are_never_touched(node, driver, name):
    write(node, name, b"of the node")
    driver.collect(node)
    assert driver.files() == {}
    (driver.trial / name).write_bytes(b"of the driver")
    driver.collect(node)
    assert driver.files() == {name: b"of the driver"}


def test_what_others_have_written_on_the_driver_stays_also_after_a_resume(node, driver, tmp_path):
    (driver.trial / "events.out.tfevents.1").write_bytes(b"of a logger")
    write(node, "events.out.tfevents.1", b"of the node")
    write(node, "mine", b"first")
    driver.collect(node)
    write(node, "mine", b"second")
    Driver(tmp_path / "driver").collect(node)
    assert driver.files() == {"events.out.tfevents.1": b"of a logger", "mine": b"second"}


def test_output_is_not_doubled_by_what_went_wrong_before(node, driver):
    write(node, "stdout", b"x" * (3 << 20))
    fail = [True]

    def trouble(number, operation, done):
        if operation == READ_FILES and number == 3 and fail:
            fail.clear()
            node.open = False

    node.trouble = trouble
    driver.collect(node)
    assert len(driver.files()["stdout"]) == 1 << 20
    node.open = True
    driver.collect(node)
    assert driver.files() == {"stdout": b"x" * (3 << 20)}


def test_half_of_a_file_is_never_seen(node, driver):
    write(node, "mine", b"old")
    driver.collect(node)
    write(node, "mine", b"x" * (3 << 20))
    node.trouble = lambda number, *_: setattr(node, "open", number < 7)
    driver.collect(node)
    assert driver.files() == {"mine": b"old"}


def test_a_link_out_of_the_directory_is_left_out(node, driver, tmp_path):
    (tmp_path / "secret").write_text("secret")
    write(node, "stdout", b"x")
    os.symlink(tmp_path / "secret", node.directory / "t" / "link")
    driver.collect(node)
    assert driver.files() == {"stdout": b"x"}


def test_a_node_that_does_not_answer_is_not_asked_more_and_more(node, tmp_path):
    """Each look waits for the one before it: a new one every period would be one too many."""

    class Silent:
        address = "tcp://node:1"
        asked = 0

        async def files(self, directory):
            Silent.asked += 1
            await asyncio.Event().wait()

    async def watch():
        here = LocalDirectory(tmp_path)
        logs = TrialFileCollector(here, Transfers(60.0), env_at(tmp_path))
        logs.watch(Silent(), "t")
        for _ in range(20):
            logs._collect_all()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        under_way = len(logs._work)
        logs.lose_node(Silent.address)
        await logs.close(0)
        return under_way

    assert asyncio.run(watch()) == 1
    assert Silent.asked == 1
