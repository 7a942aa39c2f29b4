"""Adds `reference/command-line.md` to the documentation site, made from the commands' parsers."""

from __future__ import annotations

import argparse
from typing import Any

from mkdocs.structure.files import File

from prefect_tune.cli.commands import ALIASES, COMMANDS, load_command
from prefect_tune.cli.main import PROGRAM


def on_files(files: Any, config: Any) -> Any:
    """Add the page to the files of the site; mkdocs calls this hook."""
    files.append(File.generated(config, "reference/command-line.md", content=page()))
    return files


def page() -> str:
    """Return the page as Markdown: each command with a table of its arguments."""
    parts = ["# Command line\n"]
    shorts = {long: short for short, long in ALIASES.items()}
    for name, summary in COMMANDS.items():
        parser = argparse.ArgumentParser(prog=f"{PROGRAM} {name}")
        load_command(name).configure(parser)
        short = f" Its short name is `{shorts[name]}`." if name in shorts else ""
        title = f"{summary[0].upper()}{summary[1:]}".split(" (short:")[0]
        rows = "\n".join(_row(action) for action in parser._actions if action.dest != "help")
        table = f"\n| argument | |\n|---|---|\n{rows}\n" if rows else ""
        parts.append(f"## `{PROGRAM} {name}`\n\n{title}.{short}\n{table}")
    return "\n".join(parts)


def _row(action: argparse.Action) -> str:
    names = action.option_strings or [str(action.metavar or action.dest)]
    shown = ", ".join(f"`{name}`" for name in names)
    if action.choices is not None:
        shown += " " + ", ".join(f"`{choice}`" for choice in action.choices)
    elif action.option_strings and action.nargs != 0:
        shown += f" `{action.metavar or action.dest.upper()}`"
    text = (action.help or "") % {"default": action.default, "prog": PROGRAM}
    return f"| {shown} | {text.replace('|', chr(92) + '|')} |"
