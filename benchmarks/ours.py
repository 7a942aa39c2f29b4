"""Our side of every benchmark: `python -m benchmarks.ours BENCHMARK JSON-ARGUMENTS`."""

from __future__ import annotations

import importlib
import sys

from benchmarks.subject import serve


def main() -> None:
    name = sys.argv[1]
    module = importlib.import_module(f"benchmarks.{name}")
    serve({name: module.measure}, requires=("prefect", "distributed"))


if __name__ == "__main__":
    main()
