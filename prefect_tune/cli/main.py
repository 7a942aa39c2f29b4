"""The main function of ``prefect-tune``; `prefect_tune.cli.commands` lists the commands.

The parser is argparse's, because importing Typer or cyclopts takes longer than ``--help`` in all.
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
    """An argument parser that requires full names of options and proposes similar ones."""

    def __init__(self, prog: str, description: str, epilog: str = "") -> None:
        super().__init__(
            prog=prog,
            description=description,
            epilog=epilog,
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    def parse_all(self, arguments: Sequence[str]) -> argparse.Namespace:
        """Parse all arguments; on a wrong one, print an error and end the program with code 2."""
        namespace, unknown = self.parse_known_args(arguments)
        if unknown:
            name = unknown[0].partition("=")[0]
            options = [option for action in self._actions for option in action.option_strings]
            self.error(f"unknown argument {name}; {suggest(name, options, self.prog)}")
        return namespace

    def error(self, message: str) -> NoReturn:
        """Print an error of one line without the usage, and end the program."""
        self.exit(EXIT_USAGE, f"{self.prog}: error: {message}\n")


def suggest(wrong: str, possible: Iterable[str], program: str) -> str:
    """Return a proposal for a wrong name: the most similar one, or a reference to ``--help``."""
    nearest = difflib.get_close_matches(wrong, possible, n=1)
    return f"did you mean {nearest[0]}?" if nearest else f"see {program} --help"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: The command and its options; None takes those of the process.

    Returns:
        The exit code: 0 done, 1 failed, 130 interrupted, 141 if the reader of the output has ended.
        Wrong arguments end the program with 2.
    """
    # Characters that the terminal's encoding lacks are printed as question marks.
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
        if not _drop_unread_output():
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


def _drop_unread_output() -> bool:
    """Discard further output and return True if its reader, such as `head`, has ended."""
    asked = select.poll()
    asked.register(sys.stdout.fileno(), 0)
    if not asked.poll(0):
        return False
    with open(os.devnull, "w") as null:
        os.dup2(null.fileno(), sys.stdout.fileno())
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
        "options", metavar="OPTIONS", nargs=argparse.REMAINDER, help="options of the command"
    )
    return parser


def _command(name: str) -> str:
    name = ALIASES.get(name, name)
    if name not in COMMANDS:
        raise argparse.ArgumentTypeError(
            f"there is no command {name!r}; {suggest(name, [*COMMANDS, *ALIASES], PROGRAM)}"
        )
    return name
