"""``prefect-tune run``: run the experiment of a YAML file without a deployment."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from prefect_tune.cli.commands import EXIT_FAILURE, EXIT_OK


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_experiment_options(parser)
    parser.add_argument(
        "--no-prefect",
        dest="orchestrate",
        action="store_const",
        const=False,
        help="do not record the sweep with Prefect; starts sooner",
    )


def add_experiment_options(parser: argparse.ArgumentParser) -> None:
    """Add the arguments for the file of an experiment and for changes of its values."""
    parser.add_argument(
        "file", metavar="FILE", help="the experiment; `prefect-tune init` writes an example"
    )
    parser.add_argument(
        "--set",
        metavar="FIELD=VALUE",
        type=_assignment,
        action="append",
        default=[],
        dest="changes",
        help="replaces a value of the file, e.g. budget.trials=50; may be given several times",
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the experiment and print its best configuration."""
    import prefect_tune as tune
    from prefect_tune.orchestration.spec.files import read_spec

    spec = read_spec(arguments.file, dict(arguments.changes))
    analysis = tune.run(
        **spec.run_arguments(), orchestrate=arguments.orchestrate, raise_on_failed_trial=False
    )
    best = analysis.best_trial
    if best is None:
        print(f"No trial reported {spec.metric}.", file=sys.stderr)
        return EXIT_FAILURE
    print(f"Best {spec.metric}: {best.last_result[spec.metric]:.6g}")
    for name, value in best.config.items():
        print(f"  {name}: {value}")
    return EXIT_OK


def _assignment(text: str) -> tuple[str, Any]:
    import yaml

    field, equals, value = text.partition("=")
    if not equals or not field:
        raise argparse.ArgumentTypeError(f"give FIELD=VALUE, not {text!r}")
    try:
        return field, yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise argparse.ArgumentTypeError(f"{value!r} is not YAML") from error
