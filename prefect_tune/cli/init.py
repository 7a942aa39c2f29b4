"""``prefect-tune init``: write a commented example of an experiment into a YAML file."""

from __future__ import annotations

import argparse

from prefect_tune.cli.commands import EXIT_OK, UsageError


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "file",
        metavar="FILE",
        nargs="?",
        default="sweep.yaml",
        help="file to write (default: %(default)s); an existing file is not overwritten",
    )


def run(arguments: argparse.Namespace) -> int:
    """Write the example and print how to run it."""
    from prefect_tune.orchestration.spec.files import example

    try:
        with open(arguments.file, "x", encoding="utf-8") as file:
            file.write(example())
    except FileExistsError as error:
        raise UsageError("FILE", f"{arguments.file} exists; give another name") from error
    except OSError as error:
        raise UsageError("FILE", f"cannot write {arguments.file}: {error.strerror}") from error
    print(f"Wrote {arguments.file}. Run it: prefect-tune run {arguments.file}")
    return EXIT_OK
