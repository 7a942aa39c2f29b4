"""Host name, address and process id, as results show them."""

from __future__ import annotations

import functools
import os
import socket
from typing import Any

from prefect_tune.trainable.runtime.attempt import AttemptContext


@functools.cache
def node_identity() -> dict[str, str]:
    """Return host name and IP address of this node."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            # Connecting a datagram socket sends nothing; it only asks the routing table.
            probe.connect(("10.255.255.255", 1))
            address = str(probe.getsockname()[0])
        except OSError:
            address = "127.0.0.1"
    return {"hostname": socket.gethostname(), "node_ip": address}


def constant_metrics(context: AttemptContext | None, config: dict[str, Any]) -> dict[str, Any]:
    """Return the automatic metrics that are the same in all results of an attempt.

    They are not sent with each report; this is for code in the trial that needs the full result.

    Args:
        context: Context of the attempt; None outside a trial.
        config: The trial's configuration.
    """
    return {
        "trial_id": "default" if context is None else context.launch.trial_id,
        "experiment_id": "default" if context is None else context.experiment_id,
        "experiment_tag": "" if context is None else context.experiment_tag,
        "config": config,
        "pid": os.getpid(),
        **node_identity(),
    }
