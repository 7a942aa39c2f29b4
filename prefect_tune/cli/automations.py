"""``prefect-tune automations``: manage the automations that detect and resume dead sweeps."""

from __future__ import annotations

import argparse

from prefect_tune.cli.commands import EXIT_OK, UsageError
from prefect_tune.error import InvalidArgument

_ACTIONS = ("create", "list", "delete")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("action", choices=_ACTIONS, metavar="ACTION", help=", ".join(_ACTIONS))
    parser.add_argument(
        "--silence",
        type=float,
        default=60.0,
        metavar="SECONDS",
        help="time without a heartbeat after which a sweep's process counts as dead (default: 60)",
    )
    parser.add_argument(
        "--max-runs",
        type=int,
        default=10,
        metavar="N",
        help="maximum executions of a flow run, the first one included (default: 10)",
    )
    parser.add_argument(
        "--no-resume",
        action="store_true",
        help="mark dead flow runs as crashed, do not resume them",
    )


def run(arguments: argparse.Namespace) -> int:
    """Create, list or delete the automations on the server that PREFECT_API_URL names."""
    from prefect_tune.orchestration.control.automations import (
        create_automations,
        delete_automations,
        list_automations,
    )
    from prefect_tune.orchestration.server.api import check_lasting_server

    url = check_lasting_server()
    if arguments.action == "delete":
        deleted = delete_automations()
        names = ", ".join(deleted)
        print(f"Deleted from {url}: {names}" if deleted else f"There were none on {url}.")
        return EXIT_OK
    if arguments.action == "create":
        try:
            create_automations(
                silence_s=arguments.silence,
                max_runs=arguments.max_runs,
                resume=not arguments.no_resume,
            )
        except InvalidArgument as error:
            option = {"silence_s": "--silence", "max_runs": "--max-runs"}[error.argument]
            raise UsageError(option, f"{error.problem} {error.hint}") from error
    installed = list_automations()
    print(f"Automations on {url}:" if installed else f"No automations of prefect-tune on {url}.")
    for automation in installed:
        print(f"  {automation.name}{'' if automation.enabled else ' (switched off)'}")
        print(f"    {automation.description}")
    return EXIT_OK
