"""Measures the node's load for results of class trainables (``config["log_sys_usage"]``)."""

from __future__ import annotations

import threading
from typing import Any

import psutil


class UtilMonitor(threading.Thread):
    """Thread that measures the node's CPU and memory load periodically.

    Args:
        start: True to start the thread at once.
        delay: Seconds between two measurements.
    """

    def __init__(self, start: bool = True, delay: float = 0.7) -> None:
        super().__init__(name="usage", daemon=True)
        self._delay = delay
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._sums: dict[str, float] = {}
        self._count = 0
        if start:
            self.start()

    def run(self) -> None:
        """Measure until `stop`."""
        psutil.cpu_percent()  # the first call only starts the measurement
        while not self._ended.wait(self._delay):
            self._measure()

    def get_data(self) -> dict[str, Any]:
        """Return averages since the last call: ``{"perf": {"cpu_util_percent": 3.2, ...}}``."""
        if not self.is_alive() and not self._count:
            return {}
        if not self._count:
            self._measure()
        with self._lock:
            averages = {name: total / self._count for name, total in self._sums.items()}
            self._sums.clear()
            self._count = 0
        return {"perf": averages}

    def stop(self) -> None:
        """End the thread."""
        self._ended.set()

    def _measure(self) -> None:
        now = {
            "cpu_util_percent": float(psutil.cpu_percent()),
            "ram_util_percent": float(psutil.virtual_memory().percent),
        }
        with self._lock:
            self._count += 1
            for name, value in now.items():
                self._sums[name] = self._sums.get(name, 0.0) + value
