"""What ``prefect-tune COMMAND`` does; `prefect_tune.cli.commands` lists the commands.

It is made with argparse: importing Typer or cyclopts takes longer than all that ``--help`` does.
"""

from __future__ import annotations

import argparse
import difflib
import io
import os
import select
import sys
from collections.abc import Iterable, Sequence
from typing import NoReturn

from prefect_tune._version import __version__
from prefect_tune.cli.commands import (
    ALIASES,
    COMMANDS,
    EXIT_FAILURE,
    EXIT_INTERRUPTED,
    EXIT_UNREAD,
    EXIT_USAGE,
    UsageError,
    load_command,
)
from prefect_tune.error import ExperimentInterrupted, TuneError
from prefect_tune.text import without_controls

PROGRAM = "prefect-tune"


class Parser(argparse.ArgumentParser):
    """An argument parser that takes options by their full names and proposes the nearest one."""

    def __init__(self, prog: str, description: str, epilog: str = "") -> None:
        super().__init__(
            prog=prog,
            description=description,
            epilog=epilog,
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    def parse_all(self, arguments: Sequence[str]) -> argparse.Namespace:
        """Parse, or end the program with exit code 2 and say which argument is wrong."""
        namespace, unknown = self.parse_known_args(arguments)
        if unknown:
            name = unknown[0].partition("=")[0]
            options = [option for action in self._actions for option in action.option_strings]
            self.error(f"unknown argument {name}; {suggest(name, options, self.prog)}")
        return namespace

    def error(self, message: str) -> NoReturn:
        """Print one line, not the whole usage: what is wrong is then not overlooked."""
        self.exit(EXIT_USAGE, f"{self.prog}: error: {message}\n")


def suggest(wrong: str, possible: Iterable[str], program: str) -> str:
    """Say which of the possible names was probably meant."""
    nearest = difflib.get_close_matches(wrong, possible, n=1)
    return f"did you mean {nearest[0]}?" if nearest else f"see {program} --help"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: The command and its options; None takes those of the process.

    Returns:
        The exit code: 0 done, 1 failed, 130 interrupted, 141 if nobody reads the output any more.
        Wrong arguments end the program with 2.
    """
    # A terminal that has no character for a line or a name gets a question mark, not a traceback.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    given = list(sys.argv[1:] if arguments is None else arguments)
    top = _top_parser().parse_all(given or ["--help"])
    summary = COMMANDS[top.command]
    parser = Parser(f"{PROGRAM} {top.command}", f"{summary[0].upper()}{summary[1:]}.")
    try:
        command = load_command(top.command)
        command.configure(parser)
        code = command.run(parser.parse_all(top.options))
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        if not _nobody_reads():
            raise
        return EXIT_UNREAD
    except (KeyboardInterrupt, ExperimentInterrupted) as error:
        print(f"{parser.prog}: interrupted. {error}".rstrip(), file=sys.stderr)
        return EXIT_INTERRUPTED
    except UsageError as error:
        parser.error(without_controls(str(error)))
    except TuneError as error:
        print(f"{parser.prog}: error: {without_controls(str(error))}", file=sys.stderr)
        return EXIT_FAILURE


def _nobody_reads() -> bool:
    """True if what read the output has ended, as `head` does; it is not written to any more."""
    asked = select.poll()
    asked.register(sys.stdout.fileno(), 0)
    if not asked.poll(0):
        return False
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())
    return True


def _top_parser() -> Parser:
    listing = "\n".join(f"  {name:<18}{summary}" for name, summary in COMMANDS.items())
    parser = Parser(
        PROGRAM,
        "Hyper-parameter tuning as Prefect flows on Dask clusters.",
        f"commands:\n{listing}\n\n`{PROGRAM} COMMAND --help` shows a command's options.",
    )
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    parser.add_argument("command", metavar="COMMAND", type=_command, help="see below")
    parser.add_argument(
        "options", metavar="OPTIONS", nargs=argparse.REMAINDER, help="the command's own"
    )
    return parser


def _command(name: str) -> str:
    name = ALIASES.get(name, name)
    if name not in COMMANDS:
        raise argparse.ArgumentTypeError(
            f"there is no command {name!r}; {suggest(name, [*COMMANDS, *ALIASES], PROGRAM)}"
        )
    return name
