"""The flow run of an earlier process that has left an experiment without an end."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from uuid import UUID

from prefect.context import SyncClientContext
from prefect.states import Crashed

from prefect_tune.orchestration.control.leftovers import end_leftovers
from prefect_tune.storage.experiment_dir import ExperimentDir

_logger = logging.getLogger("prefect_tune")

FILE = "flow_run.json"
_KEY = "flow_run_id"


def succeed(directory: ExperimentDir, flow_run_id: UUID, name: str) -> bool:
    """Say on the page of the flow run that had the experiment before that it has crashed.

    Who holds an experiment holds its lock, so the process before has gone, and nobody else would
    say so: its flow run would be shown as running for ever. Flow runs of deployments are left to
    the automations and to those who retry them. Never raises: a record that is not quite right is
    no reason to stop a sweep.

    Args:
        directory: Of the experiment, which remembers its flow run.
        flow_run_id: The flow run that has it now.
        name: The name of that one.

    Returns:
        True if there was one that seemed to run.
    """
    before = _before(directory.path / FILE)
    directory.write(FILE, json.dumps({_KEY: str(flow_run_id)}).encode())
    if before is None or before == flow_run_id:
        return False
    try:
        with SyncClientContext.get_or_create() as context:
            run = context.client.read_flow_run(before)
            if run.deployment_id is not None or run.state is None or not run.state.is_running():
                return False
            end_leftovers(before)
            message = f"Its process has gone; flow run {name!r} ({flow_run_id}) goes on with it."
            context.client.set_flow_run_state(before, Crashed(message=message), force=True)
    except Exception:
        # Most often it is of another server, e.g. of one that a process has for itself.
        _logger.debug("Flow run %s was left as it is.", before, exc_info=True)
        return False
    return True


def _before(path: Path) -> UUID | None:
    try:
        return UUID(json.loads(path.read_bytes())[_KEY])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        _logger.debug("%s cannot be read.", path, exc_info=True)
        return None
