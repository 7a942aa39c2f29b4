"""``prefect-tune add-note``: write a note into the directory of an experiment or a trial."""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys

from prefect_tune.cli.commands import EXIT_FAILURE, EXIT_OK, UsageError
from prefect_tune.cli.experiment_argument import check_local

_EDITORS = ("sensible-editor", "nano", "vi")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("path", metavar="PATH", help="directory of the experiment or trial")
    parser.add_argument(
        "--filename",
        default="note.txt",
        metavar="NAME",
        help="name of the file (default: note.txt)",
    )
    parser.add_argument(
        "--text",
        "-m",
        metavar="TEXT",
        help="line to add (default: open $EDITOR on a terminal, else read standard input)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Append a text to the note, or open the note in an editor."""
    directory = os.path.expanduser(arguments.path)
    check_local("PATH", directory)
    if not os.path.isdir(directory):
        raise UsageError(
            "PATH", f"there is no directory {directory}; give an experiment's or a trial's"
        )
    if os.path.basename(arguments.filename) != arguments.filename:
        raise UsageError("--filename", f"got {arguments.filename!r}; give a name without '/'")
    path = os.path.join(directory, arguments.filename)
    if arguments.text is None and sys.stdin.isatty():
        return _edit(path)
    text = sys.stdin.read() if arguments.text is None else arguments.text
    if not text.strip():
        raise UsageError("--text", "the text is empty; give the line to add")
    try:
        with open(path, "a", encoding="utf-8") as file:
            file.write(text if text.endswith("\n") else f"{text}\n")
    except OSError as error:
        raise UsageError("PATH", f"cannot write {path}: {error.strerror}") from error
    print(f"Added to {path}")
    return EXIT_OK


def _edit(path: str) -> int:
    given = os.environ.get("VISUAL") or os.environ.get("EDITOR")
    for command in [shlex.split(given)] if given else [[name] for name in _EDITORS]:
        try:
            ended = subprocess.run([*command, path], check=False)
        except FileNotFoundError:
            continue
        if ended.returncode:
            print(f"{command[0]} ended with exit code {ended.returncode}", file=sys.stderr)
            return EXIT_FAILURE
        print(f"The note is in {path}" if os.path.exists(path) else "No note was written.")
        return EXIT_OK
    raise UsageError("--text", "it is missing, and no editor was found: set EDITOR")
