"""Command line of the benchmarks: `python -m benchmarks [name ...] [--quick] [--json DIR]`."""

from __future__ import annotations

import argparse
import compileall
import importlib
import sys
from pathlib import Path

from benchmarks.measure import (
    HEADER,
    OURS,
    PEER_PYTHON_VARIABLE,
    REPOSITORY,
    Bench,
    Row,
    format_row,
    machine,
    write_json,
)

BENCHMARKS = (
    "trial_overhead",
    "streamed_results",
    "decision_latency",
    "schedulers",
    "scheduler_cost",
    "regret",
    "first_result",
    "space_resolution",
    "searchers",
    "coordinator_memory",
    "driver_memory",
    "sleeping_trials",
    "resume",
    "journal",
    "checkpoints",
    "sync_cost",
    "several_hosts",
    "placement",
)


def main() -> int:
    options = _parse()
    # As pip does with what it installs, the peers among it.
    compileall.compile_dir(REPOSITORY / OURS, quiet=1)
    facts = machine()
    print(f"{facts['cores']} cores, Python {facts['python']}, {facts['platform']}")
    print(HEADER, flush=True)
    incomplete = False
    for name in options.names or BENCHMARKS:
        bench = Bench(quick=options.quick, skip_peers=options.skip_peers)
        rows: list[Row] = []
        for row in importlib.import_module(f"benchmarks.{name}").rows(bench):
            print(format_row(row), flush=True)
            rows.append(row)
        incomplete |= any(row.ours is None for row in rows)
        if options.json:
            write_json(options.json / f"{name}.json", rows, bench.outcomes)
    return 1 if incomplete else 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure prefect_tune beside its peers; one row per figure.",
        epilog=f"Peers are run with the interpreter in {PEER_PYTHON_VARIABLE} (default: this one); "
        "what they need is in requirements-bench.txt.",
    )
    parser.add_argument(
        "names", nargs="*", metavar="name", help=f"one of: {', '.join(BENCHMARKS)} (default: all)"
    )
    parser.add_argument("--quick", action="store_true", help="small sizes")
    parser.add_argument("--json", type=Path, metavar="DIR", help="write DIR/<name>.json")
    parser.add_argument("--skip-peers", action="store_true", help="measure prefect_tune only")
    options = parser.parse_args()
    unknown = sorted(set(options.names) - set(BENCHMARKS))
    if unknown:
        parser.error(f"unknown benchmark {unknown[0]!r}; choose from {', '.join(BENCHMARKS)}")
    return options


if __name__ == "__main__":
    sys.exit(main())
