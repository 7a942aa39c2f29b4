"""The commands that control a running sweep: pause, resume, stop, cancel and others."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from prefect_tune.cli.commands import EXIT_OK, UsageError

_EXPERIMENT = "directory or URL of the experiment, or the id of its flow run"


class ControlCommand:
    """A command that controls a running sweep.

    Args:
        call: Calls a function of `prefect_tune.control` and returns what was done; gets that
            module and the parsed arguments.
        **arguments: Positional arguments besides the experiment, with options for argparse.
    """

    def __init__(
        self, call: Callable[[Any, argparse.Namespace], str], **arguments: dict[str, Any]
    ) -> None:
        self._call = call
        self._arguments = arguments

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Add the command's arguments."""
        parser.add_argument("experiment", metavar="EXPERIMENT", help=_EXPERIMENT)
        for name, options in self._arguments.items():
            parser.add_argument(name, **options)

    def run(self, arguments: argparse.Namespace) -> int:
        """Control the sweep, and print what was done."""
        from prefect_tune import control

        print(f"{arguments.experiment}: {self._call(control, arguments)}.")
        return EXIT_OK


def _limit(text: str) -> tuple[str, float]:
    name, equals, value = text.partition("=")
    try:
        return name, float(value)
    except ValueError:
        problem = f"{value!r} is not a number" if equals else "'=' is missing"
        raise argparse.ArgumentTypeError(f"give NAME=NUMBER, not {text!r} ({problem})") from None


def _set(control: Any, arguments: argparse.Namespace) -> str:
    values = dict(arguments.limits)
    stop = {name[5:]: values.pop(name) for name in tuple(values) if name.startswith("stop:")}
    for name in values.keys() - {"max_concurrent", "time_left_s"}:
        raise UsageError("NAME", f"there is no limit {name}")
    return str(control.set(arguments.experiment, stop=stop, **values))


#: The commands by their names.
CONTROL_COMMANDS = {
    "pause": ControlCommand(lambda control, given: control.pause(given.experiment)),
    "resume": ControlCommand(lambda control, given: control.resume(given.experiment)),
    "stop": ControlCommand(lambda control, given: control.stop(given.experiment)),
    "cancel": ControlCommand(lambda control, given: control.cancel(given.experiment)),
    "stop-trial": ControlCommand(
        lambda control, given: control.stop_trial(given.experiment, given.trial),
        trial={"metavar": "TRIAL", "help": "id or name of the trial"},
    ),
    "add-samples": ControlCommand(
        lambda control, given: control.add_samples(given.experiment, given.samples),
        samples={"metavar": "N", "type": int, "help": "number of samples to add"},
    ),
    "set": ControlCommand(
        _set,
        limits={
            "metavar": "NAME=NUMBER",
            "type": _limit,
            "nargs": "+",
            "help": "max_concurrent=4, time_left_s=3600, or stop:METRIC=0.95, which ends trials",
        },
    ),
}
