"""``python -m tests.chaos --runs 200 --seed 0 --workers 2``: kill sweeps at random moments.

Exits with 1 if anything was lost, duplicated or repeated, or went wrong otherwise.
"""

from __future__ import annotations

import argparse
import itertools
import signal
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from . import scenario as words
from .rounds import Outcome, run_one
from .scenario import Limits, draw
from .services import can_mount
from .summary import report, summary
from .world import World


def main(arguments: list[str] | None = None) -> int:
    """Run; returns the exit status."""
    options = _parser().parse_args(arguments)
    # As Ctrl-C: all that was started is ended.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    base = Path(options.keep or tempfile.mkdtemp(prefix="prefect_tune_chaos_")).absolute()
    clusters = list(options.cluster)
    if words.APART in clusters and not can_mount():
        print("Workers on another machine are left out: this user may not mount anything.")
        clusters.remove(words.APART)
    limits = Limits(
        trainables=options.trainable,
        schedulers=options.scheduler,
        storages=options.storage,
        clusters=clusters,
        kinds=options.kind,
        prefect=options.prefect,
    )
    outcomes = run_many(
        base, range(options.seed, options.seed + options.runs), limits, options.workers
    )
    print(summary(outcomes), flush=True)
    failed = [str(outcome.scenario.seed) for outcome in outcomes if outcome.failed]
    if failed:
        print(f"went wrong: seeds {', '.join(failed)}; kept in {base}")
    return bool(failed)


def run_many(base: Path, seeds: range, limits: Limits, workers: int) -> list[Outcome]:
    """Run the scenarios of some seeds, several side by side."""
    numbers = itertools.count()
    local = threading.local()
    worlds: list[World] = []
    stopping = threading.Event()

    def one(seed: int) -> Outcome:
        if not hasattr(local, "world"):
            local.world = World(base / f"worker-{next(numbers)}", stopping)
            worlds.append(local.world)
        outcome = run_one(local.world, draw(seed, limits))
        print(report(outcome), flush=True)
        return outcome

    try:
        with ThreadPoolExecutor(workers) as pool:
            running = [pool.submit(one, seed) for seed in seeds]
            try:
                return [future.result() for future in running]
            except BaseException:
                stopping.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    finally:
        for world in worlds:
            world.close()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--runs", type=int, default=200, help="how many sweeps")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first one")
    parser.add_argument("--workers", type=int, default=2, help="how many side by side")
    parser.add_argument("--keep", help="where to write; default: a temporary directory")
    parser.add_argument("--prefect", type=float, default=0.2, help="share with a Prefect server")
    for name, choices in (
        ("trainable", words.TRAINABLES),
        ("scheduler", words.SCHEDULERS),
        ("storage", words.STORAGES),
        ("cluster", words.CLUSTERS),
        ("kind", [str(kind) for kind in words.Kind]),
    ):
        parser.add_argument(
            f"--{name}", nargs="+", choices=choices, default=choices, help="only these"
        )
    return parser


if __name__ == "__main__":
    sys.exit(main())
