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
#: What a shell says of a program that SIGPIPE has ended.
EXIT_UNREAD = 141


class UsageError(TuneError):
    """An option has a value that turned out to be wrong only after the command line was parsed.

    Args:
        option: As the user wrote it, e.g. ``--storage``.
        message: What is wrong, and what would be right.
    """

    def __init__(self, option: str, message: str) -> None:
        self.option = option
        super().__init__(f"argument {option}: {message}")


class Command(Protocol):
    """What a command's module offers."""

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Add the command's options."""

    def run(self, arguments: argparse.Namespace) -> int:
        """Do it and return the exit code."""


#: What each command does, as ``--help`` says it.
COMMANDS = {
    "quickstart": "tune a small neural network on handwritten digits, from start to best model",
    "init": "write a commented example of an experiment in a YAML file",
    "run": "run the experiment of a YAML file",
    "plan": "say what the experiment of a YAML file will take: trials, hours, money",
    "pause": "start no trial of a sweep that runs until `resume`",
    "resume": "go on after `pause`",
    "stop": "end a sweep when the trials that run have ended",
    "cancel": "end a sweep now; it can be resumed later",
    "stop-trial": "end one trial of a sweep",
    "add-samples": "sample the search space of a sweep more often",
    "set": "change limits of a sweep that runs",
    "automations": "have the Prefect server notice dead sweeps and go on with them",
    "list-trials": "list the trials of an experiment (short: ls)",
    "list-experiments": "list the experiments in a directory (short: lsx)",
    "show": "show an experiment or a trial",
    "best": "show the best trial of an experiment",
    "report": "write an HTML report of an experiment into one file",
    "add-note": "write a note into an experiment's or a trial's directory",
    "version": "print the versions that matter",
}
#: Short names.
ALIASES = {"ls": "list-trials", "lsx": "list-experiments"}


#: Those that control a sweep that runs have a module in common.
_VERBS = ("pause", "resume", "stop", "cancel", "stop-trial", "add-samples", "set")


def load_command(name: str) -> Command:
    """Import the module of a command."""
    if name in _VERBS:
        control = importlib.import_module("prefect_tune.cli.control")
        return cast(Command, control.VERBS[name])
    module = "quickstart.command" if name == "quickstart" else name.replace("-", "_")
    return cast(Command, importlib.import_module(f"prefect_tune.cli.{module}"))
