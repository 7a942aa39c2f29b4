"""Trials that use more memory than their worker is to have."""

from __future__ import annotations

import asyncio
import subprocess
import sys

from prefect_tune.execution.node import memory_watch
from prefect_tune.execution.node.memory_watch import watch_memory


def test_children_count_and_it_is_told_once(monkeypatch):
    monkeypatch.setattr(memory_watch, "_PERIOD_S", 0.01)
    told = []
    limit = memory_watch._used(0) + 50_000_000

    async def main():
        watch = asyncio.create_task(watch_memory(limit, told.append))
        assert not (await asyncio.wait({watch}, timeout=0.2))[0]
        code = "block = bytearray(120_000_000); print(flush=True); input()"
        with subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as child:
            child.stdout.readline()
            await watch
            child.stdin.close()

    asyncio.run(main())
    (warning,) = told
    assert "more than the worker's memory limit" in warning.text


def test_pages_that_forks_share_count_once():
    code = (
        "import os, sys\n"
        "block = b'x' * 80_000_000\n"
        "if os.fork() == 0: os.pause() if hasattr(os, 'pause') else __import__('signal').pause()\n"
        "from prefect_tune.execution.node import memory_watch\n"
        "try: print(memory_watch._used(0))\n"
        "finally: import psutil; [c.kill() for c in psutil.Process().children()]\n"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(said.stdout) < 150_000_000
