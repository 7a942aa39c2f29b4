"""Runs code in processes that have imported libraries, and nothing of prefect_tune."""

from __future__ import annotations

import subprocess
import sys

from tests.warm_python import WarmPopen, WarmPython

_libraries = WarmPython("import asyncio, numpy, pydantic_settings, orjson, psutil, cloudpickle")


def output_of(script: str) -> str:
    """Run Python code and return what it prints.

    Raises:
        CalledProcessError: If it fails.
    """
    command = [sys.executable, "-c", script]
    with WarmPopen(_libraries, command, stdout=subprocess.PIPE, text=True) as process:
        output, _ = process.communicate(timeout=100)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command, output)
    return str(output)
