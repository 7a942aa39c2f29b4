"""Trial processes that serve one trial after another."""

import asyncio
import json
import os
import pickle
import random
import re
from pathlib import Path

import pytest

import prefect_tune as tune
from prefect_tune.coordinator.events import Outcome
from prefect_tune.execution.launch.spawner import AttemptSpawner
from prefect_tune.execution.protocol.frames import FrameBuffer, FrameKind, encode_decision
from prefect_tune.experiment.attempt import AttemptError
from prefect_tune.experiment.decision import Action
from prefect_tune.trainable.runtime.attempt import Decision
from prefect_tune.trainable.runtime.result_codec import decode_line
from prefect_tune.trainable.shipping.packing import pack_trainable


class Counts(tune.Trainable):
    """Counts trials and steps, and notes down what it sees."""

    def setup(self, config):
        self.trials = 1
        self.n = 0

    def reset_config(self, new_config):
        self.trials += 1
        self.n = 0
        if new_config.get("breaks"):
            raise RuntimeError("cannot be reset")
        return new_config.get("able", True)

    def step(self):
        self.n += 1
        print("step of", self.trial_id)
        return {
            "n": self.n,
            "trials": self.trials,
            "iteration": self.iteration,
            "a": self.config["a"],
            "trial": self.trial_id,
            "cwd": os.getcwd(),
            "logdir": self.logdir,
            "random": random.random(),
            "gpus": os.environ["CUDA_VISIBLE_DEVICES"],
            "done": self.n == 2,
        }

    def save_checkpoint(self, checkpoint_dir):
        return {"n": self.n}

    def load_checkpoint(self, checkpoint):
        self.n = checkpoint["n"]

    def cleanup(self):
        with Path(self.config["log"]).open("a") as log:
            log.write(f"{os.getpid()} {self.trials}\n")


class Node:
    """Runs one attempt after the other."""

    def __init__(self, agent, start_method="fork", trainable=Counts):
        self.agent = agent
        self.start_method = start_method
        self.trainable = trainable
        self.log = agent.directory / "log"

    async def __aenter__(self):
        self.spawner = AttemptSpawner()
        await self.spawner.load(pack_trainable(self.trainable), self.start_method)
        return self

    async def __aexit__(self, *_):
        self.spawner.close()
        await self.spawner.wait_closed()

    async def run(self, trial_id, gpus="", usable=True, **config):
        context = self.agent.context(
            trial_id,
            config={"a": 1, "log": str(self.log), **config},
            env={"CUDA_VISIBLE_DEVICES": gpus},
            seed=1,
        )
        directory = Path(context.trial_dir)
        handle = await self.spawner.spawn(context, directory / "out", directory / "err", reuse=True)
        results, end, buffer = [], None, FrameBuffer()
        loop = asyncio.get_running_loop()
        while end is None:
            data = await loop.sock_recv(handle.sock, 1 << 16)
            assert data, "the process is gone"
            for frame in buffer.feed(data):
                if frame.kind in (FrameKind.RESULT, FrameKind.RESULT_AWAITING):
                    results.append(decode_line(frame.payload))
                if frame.kind == FrameKind.RESULT_AWAITING:
                    stop = encode_decision(Decision(frame.seq, Action.STOP))
                    await loop.sock_sendall(handle.sock, stop)
                elif frame.kind == FrameKind.ENDED:
                    end = Outcome(json.loads(frame.payload)["outcome"])
                    handle.over.set_result(None)
                elif frame.kind == FrameKind.FAILED:
                    end = pickle.loads(frame.payload)
        await handle.wait()
        handle.release(usable)
        return handle.pid, results, end

    def cleaned_up(self):
        return [line.split() for line in self.log.read_text().splitlines()]


@pytest.mark.parametrize("start_method", ["fork", "spawn"])
def test_one_object_serves_all_trials_and_is_cleaned_up_once(agent, start_method):
    async def course():
        async with Node(agent, start_method) as node:
            runs = [await node.run(f"t{number}", a=number) for number in range(3)]
            assert not node.log.exists()
        return node, runs

    node, runs = asyncio.run(course())

    assert len({pid for pid, _, _ in runs}) == 1
    for number, (_, results, end) in enumerate(runs):
        assert end is Outcome.STOPPED
        assert [r["n"] for r in results] == [1, 2]
        assert [r["training_iteration"] for r in results] == [1, 2]
        assert [r["iteration"] for r in results] == [0, 1]
        directory = str(agent.directory / f"t{number}")
        expected = {
            "trials": number + 1,
            "a": number,
            "trial": f"t{number}",
            "cwd": directory,
            "logdir": directory,
        }
        assert {key: results[0][key] for key in expected} == expected
        assert Path(directory, "out").read_text() == f"step of t{number}\n" * 2
        assert results[-1]["time_total_s"] == pytest.approx(
            sum(r["time_this_iter_s"] for r in results)
        )
    assert len({results[0]["random"] for _, results, _ in runs}) == 3
    assert node.cleaned_up() == [[str(runs[0][0]), "3"]]


def test_random_state_is_that_of_a_fresh_process(agent):
    async def course():
        async with Node(agent) as node:
            await node.run("t0")
            _, reused, _ = await node.run("t1")
        async with Node(agent) as node:
            _, fresh, _ = await node.run("t1")
        return reused, fresh

    reused, fresh = asyncio.run(course())

    assert [r["random"] for r in reused] == [r["random"] for r in fresh]


@pytest.mark.parametrize(
    ("config", "message"),
    [({"able": False}, r"Counts\.reset_config\(\)"), ({"breaks": True}, "cannot be reset")],
)
def test_an_object_that_cannot_be_reset_fails_the_trial_and_the_next_gets_another(
    agent, config, message
):
    async def course():
        async with Node(agent) as node:
            return [await node.run("t0"), await node.run("t1", **config), await node.run("t2")]

    (_, _, first), (_, results, end), (_, after, last) = asyncio.run(course())

    assert first is last is Outcome.STOPPED
    assert results == []
    assert isinstance(end, AttemptError)
    assert re.search(message, end.message)
    assert after[0]["trials"] == 1


def test_other_gpus_need_another_process_and_the_waiting_one_is_let_go(agent):
    async def course():
        async with Node(agent) as node:
            runs = [await node.run("t0", gpus="0"), await node.run("t1", gpus="1")]
        return node, runs

    node, runs = asyncio.run(course())

    assert runs[0][0] != runs[1][0]
    assert [results[0]["gpus"] for _, results, _ in runs] == ["0", "1"]
    assert sorted(node.cleaned_up()) == sorted([str(pid), "1"] for pid, _, _ in runs)


def test_a_process_with_something_left_in_its_connection_is_not_used_again(agent):
    async def course():
        async with Node(agent) as node:
            return [await node.run("t0", usable=False), await node.run("t1")]

    (first, _, _), (second, _, _) = asyncio.run(course())

    assert first != second


def test_a_process_that_has_died_while_it_waited_is_replaced(agent, ends):
    async def course():
        async with Node(agent) as node:
            first, _, _ = await node.run("t0")
            os.kill(first, 9)
            assert await asyncio.to_thread(ends, first)
            return first, await node.run("t1")

    first, (second, _, end) = asyncio.run(course())

    assert first != second
    assert end is Outcome.STOPPED
