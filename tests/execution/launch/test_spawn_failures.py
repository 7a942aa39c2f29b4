"""What happens when loading fails, a fork would be unsafe, or a process of ours dies."""

import asyncio
import importlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import prefect_tune as tune
from prefect_tune.coordinator.events import Outcome
from prefect_tune.error import ClusterError, InvalidArgument, InvalidTrainable
from prefect_tune.execution.launch.spawner import AttemptSpawner
from prefect_tune.trainable.shipping.packing import TrainableSource, pack_trainable


@pytest.fixture
def module_source(tmp_path, monkeypatch):
    """Packs `train` of a module with the given text."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def make(text: str, name: str) -> TrainableSource:
        file = tmp_path / f"{name}.py"
        file.write_text("def train(config): pass\n")
        source = pack_trainable(importlib.import_module(name).train)
        file.write_text(text)
        # Compiled code of the same second would hide the new text.
        Path(importlib.util.cache_from_source(str(file))).unlink(missing_ok=True)
        return source

    yield make
    for name in [name for name in sys.modules if name.startswith("sample_")]:
        del sys.modules[name]


def load(source, start_method="auto", isolation="process"):
    async def run():
        spawner = AttemptSpawner()
        try:
            return await spawner.load(source, start_method, isolation)
        finally:
            spawner.close()

    return asyncio.run(run())


@pytest.mark.parametrize("isolation", ["process", "thread"])
def test_a_missing_module_is_named_with_the_node(module_source, isolation, tmp_path):
    source = module_source("import sample_not_there\ndef train(config): pass\n", "sample_missing")
    sys.modules.pop("sample_missing")

    with pytest.raises(InvalidTrainable) as caught:
        load(source, isolation=isolation)

    for part in ("`trainable`", "sample_missing", "'sample_not_there'", os.uname().nodename):
        assert part in str(caught.value)


def test_an_import_that_fails_shows_where(module_source):
    source = module_source("raise SystemExit('no licence')", "sample_exits")

    with pytest.raises(InvalidTrainable, match="SystemExit: no licence") as caught:
        load(source)

    assert "sample_exits.py" in str(caught.value)


def test_auto_forks_what_is_safe():
    info = load(pack_trainable(lambda config: None))

    assert (info.method, info.note) == ("fork", None)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("import sys, types; sys.modules['jax'] = types.ModuleType('jax')", "jax is imported"),
        (
            "import sys, types; torch = sys.modules['torch'] = types.ModuleType('torch'); "
            "torch.cuda = types.SimpleNamespace(is_initialized=lambda: True)",
            "CUDA was initialised",
        ),
        (
            "import threading; threading.Thread(target=threading.Event().wait, daemon=True, "
            "name='poller').start()",
            r"threads \(poller\)",
        ),
    ],
)
def test_auto_spawns_where_a_fork_is_unsafe_and_says_why(module_source, text, reason):
    source = module_source(f"{text}\ndef train(config): pass\n", "sample_unsafe")

    info = load(source)

    assert info.method == "spawn"
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError(info.note)
    assert "\n" not in info.note


def test_a_start_method_can_be_forced(module_source):
    source = module_source(
        "import sys, types; sys.modules['tensorflow'] = types.ModuleType('tensorflow')\n"
        "def train(config): pass\n",
        "sample_forced",
    )

    forked, spawned = load(source, "fork"), load(source, "spawn")

    assert (forked.method, spawned.method) == ("fork", "spawn")
    assert "unsafe" in forked.note


def test_an_unknown_start_method_is_refused():
    with pytest.raises(InvalidArgument, match="`start_method`"):
        load(pack_trainable(lambda config: None), "forkserver")


KILLED_AT_ITS_IMPORT = """
import os, pathlib, signal
times = pathlib.Path({times!r})
times.write_text(times.read_text() + "x")
if len(times.read_text()) <= {deaths}:
    os.kill(os.getpid(), signal.SIGKILL)
def train(config): pass
"""


@pytest.mark.parametrize("deaths", [1, 2])
def test_a_zygote_that_is_killed_while_it_loads_is_replaced_once(module_source, tmp_path, deaths):
    times = tmp_path / "times"
    times.write_text("")
    text = KILLED_AT_ITS_IMPORT.format(times=str(times), deaths=deaths)
    source = module_source(text, f"sample_killed_{deaths}")

    if deaths == 1:
        assert load(source, "fork").method == "fork"
    else:
        with pytest.raises(ClusterError, match=r"that starts trials on .* ended"):
            load(source, "fork")
    assert times.read_text() == "xx"


def test_trials_die_with_the_zygote_and_the_next_one_gets_a_new_zygote(agent):
    def train(config):
        tune.report(x=1)
        if config["hang"]:
            signal.pause()

    async def run():
        spawner = AttemptSpawner()
        await spawner.load(pack_trainable(train), "fork")
        zygotes = [spawner._zygote.pid]

        def kill_zygote(_handle, _frame):
            os.kill(zygotes[0], signal.SIGKILL)

        hanging = agent.context("hanging", config={"hang": True})
        lost = await agent.follow(spawner, hanging, on_result=kill_zygote)
        after = await agent.follow(spawner, agent.context("after", config={"hang": False}))
        zygotes.append(spawner._zygote.pid)
        spawner.close()
        return lost, after, zygotes

    lost, after, zygotes = asyncio.run(run())

    assert lost.end is None
    assert lost.exit_code is None
    assert after.end is Outcome.FINISHED
    assert zygotes[0] != zygotes[1]


def test_closing_ends_running_trials_and_refuses_new_ones(agent, ends):
    async def run():
        spawner = AttemptSpawner()
        await spawner.load(pack_trainable(lambda config: signal.pause()), "fork")
        handle = await spawner.spawn(agent.context(), agent.directory / "o", agent.directory / "e")
        spawner.close()
        code = await handle.wait()
        handle.sock.close()
        with pytest.raises(ClusterError, match="closed"):
            await spawner.spawn(agent.context(), agent.directory / "o", agent.directory / "e")
        return handle.pid, code

    pid, code = asyncio.run(run())

    assert code is None
    assert ends(pid)


def test_trials_end_when_the_agent_is_killed(agent, ends):
    script = f"""
import asyncio, signal, sys
from prefect_tune.coordinator.commands import Launch
from prefect_tune.resources import Resources
from prefect_tune.execution.launch.spawner import AttemptSpawner
from prefect_tune.trainable.runtime.attempt import AttemptContext
from prefect_tune.trainable.shipping.packing import pack_trainable

def train(config):
    signal.pause()

async def main():
    spawner = AttemptSpawner()
    await spawner.load(pack_trainable(train), "fork")
    launch = Launch("t", 1, "t", {{}}, "", Resources.of(CPU=1))
    context = AttemptContext(launch, "e", "e", "", {str(agent.directory)!r})
    handle = await spawner.spawn(context, "{agent.directory}/out", "{agent.directory}/err")
    print(spawner._zygote.pid, handle.pid, flush=True)
    await handle.wait()

asyncio.run(main())
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as process:
        zygote, trial = map(int, process.stdout.readline().split())
        os.kill(trial, 0)
        process.kill()

    assert ends(trial)
    assert ends(zygote)


def test_large_trainables_and_configs_travel(agent):
    weights = os.urandom(5_000_000)

    def train(config):
        return len(weights) + len(config["data"])

    record = agent.run_one(train, context=agent.context(config={"data": os.urandom(3_000_000)}))

    assert record.results[0]["_metric"] == 8_000_000


def test_many_attempts_at_once(agent):
    records = agent.run(
        lambda config: config["x"],
        *(agent.context(f"t{index}", config={"x": index}) for index in range(60)),
    )

    assert [record.results[0]["_metric"] for record in records] == list(range(60))


def test_the_zygote_imports_neither_dask_nor_prefect(agent):
    def train(config):
        tune.report(modules=sorted(sys.modules))

    modules = agent.run_one(train).results[0]["modules"]

    assert not {"dask", "distributed", "prefect", "fsspec"} & set(modules)


def watch_imports():
    before = []
    os.register_at_fork(after_in_child=lambda: before.extend(sys.modules))

    def train(config):
        tune.report(later=sorted(set(sys.modules) - set(before)))

    return train


class Watched:
    """Becomes, where it is loaded, a trainable that knows what was imported at the fork."""

    def __reduce__(self):
        return watch_imports, ()

    def __call__(self, config):
        raise NotImplementedError


def test_a_forked_trial_need_not_import_anything(agent):
    assert agent.run_one(Watched(), start_method="fork").results[0]["later"] == []
