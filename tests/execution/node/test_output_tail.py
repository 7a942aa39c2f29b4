"""Following what attempts print."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from prefect_tune.execution.node import output_tail
from prefect_tune.execution.node.output_tail import OutputTail
from prefect_tune.execution.protocol.reports import Outbox
from prefect_tune.experiment.attempt import AttemptKey

KEY = AttemptKey("t0", 1)


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output_tail, "_PERIOD_S", 0.001)


async def taken(outbox: Outbox) -> list[tuple[Any, ...]]:
    """What the outbox has to say: (trial, pid, stderr, lines, left out)."""
    number = outbox._number
    _, entries = await outbox.next_batch(number, 5.0)
    return [(o.trial_id, o.pid, o.stderr, list(o.lines), o.left_out) for o in entries]


def write(path: Path, text: str) -> None:
    with open(path, "a", encoding="utf-8") as file:
        file.write(text)


def test_only_what_is_new_and_whole(tmp_path: Path) -> None:
    async def main() -> None:
        outbox = Outbox()
        tail = OutputTail(outbox)
        out, err = tmp_path / "stdout", tmp_path / "stderr"
        write(out, "of an earlier attempt\n")
        tail.watch(KEY, tmp_path, out, err)
        tail.started(KEY, 42)
        write(out, "one\ntwo\nthr")
        assert await taken(outbox) == [("t0", 42, False, ["one", "two"], 0)]
        write(out, "ee\nlast")
        write(err, "bad\n")
        tail.unwatch(KEY)
        lines = {entry[2]: entry[3] for entry in await taken(outbox)}
        assert lines == {False: ["three", "last"], True: ["bad"]}
        tail.close()

    asyncio.run(main())


def test_progress_bars_are_seen_as_they_were_at_last(tmp_path: Path) -> None:
    async def main() -> None:
        outbox = Outbox()
        tail = OutputTail(outbox)
        tail.watch(KEY, tmp_path, tmp_path / "a", tmp_path / "a")
        write(tmp_path / "a", "\r 1 %\r 50 %\r100 %\r\n\n" + "x" * 5000 + "\n")
        tail.unwatch(KEY)
        [(_, _, stderr, lines, _)] = await taken(outbox)
        assert lines[0] == "100 %"
        assert len(lines[1]) < 1100
        assert not stderr
        tail.close()

    asyncio.run(main())


def test_who_prints_too_much_is_cut_short_and_the_end_is_kept(tmp_path: Path) -> None:
    async def main() -> None:
        outbox = Outbox()
        tail = OutputTail(outbox)
        tail.watch(KEY, tmp_path, tmp_path / "o", tmp_path / "e")
        text = "".join(f"line {number}\n" for number in range(1_000_000))
        write(tmp_path / "o", text)
        tail.unwatch(KEY)
        [(_, _, _, lines, left_out)] = await taken(outbox)
        assert lines[-1] == "line 999999"
        assert left_out + sum(len(line) + 1 for line in lines) == len(text)
        assert len(lines) < 2000
        tail.close()

    asyncio.run(main())


def test_a_file_that_trials_share_is_followed_once(tmp_path: Path) -> None:
    async def main() -> None:
        outbox = Outbox()
        tail = OutputTail(outbox)
        shared = tmp_path / "all"
        for name in ("a", "b"):
            tail.watch((name, 1), tmp_path / name, shared, shared)
            tail.started((name, 1), 7)
        write(shared, "hello\n")
        tail.unwatch(("a", 1))
        tail.unwatch(("b", 1))
        assert await taken(outbox) == [("", 0, False, ["hello"], 0)]
        tail.close()

    asyncio.run(main())
