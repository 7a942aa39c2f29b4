"""``prefect-tune plan``: estimate the cost of the experiment of a YAML file without running it."""

from __future__ import annotations

import argparse

from prefect_tune.cli.commands import EXIT_OK
from prefect_tune.cli.run import add_experiment_options


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_experiment_options(parser)
    for name, kind, default, text in (
        ("--seconds-per-step", float, None, "seconds from one report of a trial to the next"),
        ("--steps", int, None, "reports of a whole trial, if its stop rules do not limit them"),
        ("--nodes", int, 1, "number of machines"),
        ("--cpus", float, 8, "CPUs of each machine"),
        ("--gpus", float, 0, "GPUs of each machine"),
        ("--price-per-hour", float, 0, "price of a machine per hour"),
        ("--start-s", float, 0, "seconds that a trial takes to start"),
    ):
        unset = "" if default is None else f" (default: {default:g})"
        parser.add_argument(
            name,
            type=kind,
            metavar="N",
            default=default,
            required=name == "--seconds-per-step",
            help=text + unset,
        )


def run(arguments: argparse.Namespace) -> int:
    """Print the plan."""
    import prefect_tune as tune
    from prefect_tune.orchestration.spec.files import read_spec

    given = read_spec(arguments.file, dict(arguments.changes)).run_arguments()
    for name in ("cluster", "resume", "restore"):
        given.pop(name, None)
    plan = tune.plan(
        given.pop("run_or_experiment"),
        seconds_per_step=arguments.seconds_per_step,
        steps=arguments.steps,
        cluster=tune.SimulatedCluster(
            nodes=arguments.nodes,
            cpus=arguments.cpus,
            gpus=arguments.gpus,
            start_s=arguments.start_s,
            price_per_hour=arguments.price_per_hour,
        ),
        **given,
    )
    print(plan)
    return EXIT_OK
