"""The commands of ``prefect-tune``, one module each.

A command's module has its name and two functions, `configure(parser)` and
`run(arguments) -> exit code`. Only the module of the command that is called is imported, so that
``prefect-tune --help`` answers at once.
"""

from __future__ import annotations

import argparse
import importlib
from typing import Protocol, cast

from prefect_tune.error import TuneError

EXIT_OK = 0
EXIT_FAILURE = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130
#: The exit code that shells report for a program ended by SIGPIPE.
EXIT_UNREAD = 141


class UsageError(TuneError):
    """An error in an argument that was found after the command line was parsed.

    Args:
        option: The argument as the user wrote it, e.g. ``--storage``.
        message: What is wrong, and what would be right.
    """

    def __init__(self, option: str, message: str) -> None:
        self.option = option
        super().__init__(f"argument {option}: {message}")


class Command(Protocol):
    """The functions that the module of each command has."""

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Add the command's arguments."""

    def run(self, arguments: argparse.Namespace) -> int:
        """Run the command and return the exit code."""


#: The commands and what each does, as ``--help`` shows.
COMMANDS = {
    "quickstart": "tune a small neural network on handwritten digits, from start to best model",
    "init": "write a commented example of an experiment in a YAML file",
    "run": "run the experiment of a YAML file",
    "plan": "estimate the trials, hours and money that the experiment of a YAML file takes",
    "pause": "start no more trials of a running sweep until `resume`",
    "resume": "start trials again after `pause`",
    "stop": "start no more trials of a running sweep; running trials end by themselves",
    "cancel": "end a running sweep now; it can be resumed later",
    "stop-trial": "end one trial of a running sweep",
    "add-samples": "add samples of the search space to a running sweep",
    "set": "change limits of a running sweep",
    "automations": "manage the automations that detect and resume dead sweeps",
    "list-trials": "list the trials of an experiment (short: ls)",
    "list-experiments": "list the experiments in a directory (short: lsx)",
    "show": "show an experiment or a trial",
    "best": "show the best trial of an experiment",
    "report": "write an HTML report of an experiment into one file",
    "add-note": "write a note into an experiment's or a trial's directory",
    "version": "print the versions of the package, Python and related libraries",
}
#: Short names of commands.
ALIASES = {"ls": "list-trials", "lsx": "list-experiments"}


#: The commands that control a running sweep, which are in one module.
_CONTROL_COMMANDS = ("pause", "resume", "stop", "cancel", "stop-trial", "add-samples", "set")


def load_command(name: str) -> Command:
    """Import the module of a command."""
    if name in _CONTROL_COMMANDS:
        control = importlib.import_module("prefect_tune.cli.control")
        return cast(Command, control.CONTROL_COMMANDS[name])
    module = "quickstart.command" if name == "quickstart" else name.replace("-", "_")
    return cast(Command, importlib.import_module(f"prefect_tune.cli.{module}"))
