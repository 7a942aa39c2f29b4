"""The driver's answers to what nodes ask for."""

from __future__ import annotations

import asyncio

import pytest

from prefect_tune.execution.base import ExperimentEnv
from prefect_tune.execution.driver.driver_files import DriverFiles
from prefect_tune.execution.files.node_files import PUBLISH_FILES, READ_FILES
from prefect_tune.execution.protocol.reports import CopyToDriver, CopyToNode
from prefect_tune.trainable.shipping.packing import TrainableSource
from tests.execution.loopback import Node, content, make_checkpoint

NODE = "tcp://node:1"
PATH = "t/checkpoint_000001"
TO = ".fetched/checkpoint_000001"
FILES = {"a": b"1", "b": b"x" * (3 << 20)}


@pytest.fixture
def node(tmp_path):
    return Node(tmp_path / "node")


@pytest.fixture
def driver(tmp_path):
    directory = tmp_path / "driver"
    directory.mkdir()
    return directory


def serve(node, driver, work):
    """Run `work(files)` with a driver that serves the node."""
    source = TrainableSource("train", b"", "train", (), "")
    env = ExperimentEnv("experiment", "test", source, str(driver))

    async def run():
        files = DriverFiles(node, env)
        files.add_node(NODE)
        rest = work(files)
        rest = await rest if asyncio.iscoroutine(rest) else rest
        await files.close(60)
        return rest

    return asyncio.run(run())


def ask(*requests, checkpoint=None):
    def work(files):
        files.attempt_launched(NODE, "t", checkpoint)
        for request in requests:
            files.on_request(NODE, request)

    return work


def test_it_fetches_what_is_to_be_kept_and_says_so(node, driver):
    make_checkpoint(node.directory / PATH, FILES)
    serve(node, driver, ask(CopyToDriver(PATH)))
    assert content(driver / PATH) == content(node.directory / PATH)
    assert node.answers == [(True, PATH, "", False)]


def test_it_says_why_it_cannot_fetch(node, driver):
    serve(node, driver, ask(CopyToDriver(PATH)))
    ((is_upload, path, problem, damaged),) = node.answers
    assert (is_upload, path, damaged) == (True, PATH, True)
    assert ".is_checkpoint is missing" in problem


@pytest.mark.parametrize("path", ["../t/checkpoint_000001", "/etc", "t/../../x"])
def test_it_writes_nowhere_else(node, driver, path):
    serve(node, driver, ask(CopyToDriver(path)))
    assert node.answers[0][2]
    assert [p.name for p in driver.parent.iterdir()] == ["driver"]


def test_it_brings_what_an_attempt_was_given_and_nothing_else(node, driver, tmp_path):
    here = make_checkpoint(driver / PATH, FILES)
    elsewhere = make_checkpoint(tmp_path / "elsewhere", FILES)
    for path in (PATH, str(elsewhere), f"file://{elsewhere}"):
        serve(node, driver, ask(CopyToNode(path.removeprefix("file://"), TO), checkpoint=path))
        assert node.answers.pop() == (False, path.removeprefix("file://"), "", False)
        assert content(node.directory / TO) == content(here)
        (node.directory / TO).rename(node.directory / f"done{len(node.calls)}")
    for path in (PATH, str(elsewhere)):
        serve(node, driver, ask(CopyToNode(path, TO), checkpoint="t/checkpoint_000009"))
        assert "no attempt was given" in node.answers.pop()[2]
        assert not (node.directory / TO).exists()


def test_checkpoints_of_a_trial_come_in_order(node, driver):
    paths = [f"t/checkpoint_00000{n}" for n in range(5)]
    for number, path in enumerate(paths):
        make_checkpoint(node.directory / path, {"a": b"x" * (5 - number << 19)})
    serve(node, driver, ask(*(CopyToDriver(path) for path in paths)))
    assert [answer[1] for answer in node.answers] == paths


def test_what_a_killed_driver_was_fetching_is_removed(node, driver):
    make_checkpoint(node.directory / PATH, FILES)
    make_checkpoint(driver / "t" / ".checkpoint_000009.tmp-arriving-ab", FILES)
    (driver / "t" / ".checkpoint_000009.tmp-of-a-trial").mkdir()
    serve(node, driver, ask(CopyToDriver(PATH)))
    names = sorted(p.name for p in (driver / "t").iterdir())
    assert names == [".checkpoint_000009.tmp-of-a-trial", "checkpoint_000001"]


def test_a_lost_node_leaves_nothing_that_nobody_hears_of(node, driver):
    make_checkpoint(node.directory / PATH, FILES)
    make_checkpoint(node.directory / "t/checkpoint_000002", FILES)

    async def lose_it(files):
        files.on_request(NODE, CopyToDriver(PATH))
        files.on_request(NODE, CopyToDriver("t/checkpoint_000002"))
        while len(node.answers) < 2:
            await asyncio.sleep(0.001)
        files.confirm(PATH)
        files.lose_node(NODE)
        while (driver / "t" / "checkpoint_000002").exists():
            await asyncio.sleep(0.001)

    serve(node, driver, lose_it)
    assert content(driver / PATH) == content(node.directory / PATH)


@pytest.mark.parametrize("operation", [READ_FILES, PUBLISH_FILES])
def test_a_node_that_is_lost_in_the_middle(node, driver, operation):
    make_checkpoint(driver / PATH, FILES)
    make_checkpoint(node.directory / "t/checkpoint_000002", FILES)

    async def lose_it(files):
        reached = asyncio.Event()
        node.trouble = lambda _, op, done: reached.set() if op == operation else None
        files.attempt_launched(NODE, "t", PATH)
        files.on_request(NODE, CopyToNode(PATH, TO))
        files.on_request(NODE, CopyToDriver("t/checkpoint_000002"))
        await reached.wait()
        files.lose_node(NODE)

    serve(node, driver, lose_it)
    assert not list((driver / "t").glob(".*"))
