"""The first record of a journal: what wrote it."""

from __future__ import annotations

import platform

import orjson

from prefect_tune._version import __version__

JOURNAL_FORMAT = 1


def journal_header(experiment_id: str, name: str, time: float) -> bytes:
    """A header record; a new one is written each time an experiment is opened.

    Args:
        experiment_id: Unique id of this run.
        name: Name of the experiment.
        time: Seconds since the epoch.
    """
    return orjson.dumps(
        {
            "journal": JOURNAL_FORMAT,
            "prefect_tune": __version__,
            "python": platform.python_version(),
            "experiment_id": experiment_id,
            "name": name,
            "time": time,
        }
    )
