"""What the sweeps in the browser tests tune; found where the flows are served."""

from __future__ import annotations

import os
import time
from typing import Any

import prefect_tune as tune


def until_told(config: dict[str, Any]) -> None:
    """Report until the sweep ends, or for a step where a file says so."""
    step = 0
    while step == 0 or not os.path.exists(config["until"]):
        step += 1
        tune.report({"score": config["x"] * step})
        time.sleep(0.1)


def fails_once(config: dict[str, Any]) -> dict[str, float]:
    """Fail until there is a file."""
    if not os.path.exists(config["until"]):
        raise ValueError("no data yet")
    return {"score": config["x"]}
