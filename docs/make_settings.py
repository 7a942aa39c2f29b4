"""Writes `docs/reference/settings.md` from the settings in the code.

Run it after a change of `prefect_tune.settings`: ``python docs/make_settings.py``
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect_tune._ray.without_effect import WITHOUT_EFFECT
from prefect_tune.settings import NODE_VARIABLES, TuneSettings, variables_of

PAGE = Path(__file__).parent / "reference" / "settings.md"

_HEAD = """\
# Settings

Environment variables, read when a sweep starts. Where Ray Tune has a variable, it works here under
its own name; its twin that begins with `PREFECT_TUNE_` wins if both are set. A variable that is
empty counts as not set. A value that cannot work is an error that names the variable, before any
trial starts.

This page is made by `docs/make_settings.py`.

| variable | default | what it does |
|---|---|---|
"""
_WITHOUT_EFFECT = """
## Variables of Ray Tune without effect

If one of these is set, a warning says once that it has no effect, and why.

| variable | why |
|---|---|
"""
_OTHERS = """
## Variables that are read or set elsewhere

| variable | |
|---|---|
| `TUNE_ORIG_WORKING_DIR` | Set in every trial process: the directory it was started in. |
| `RAY_TUNE_CALLBACKS` | Read when callbacks are made: comma-separated import paths. |
| `WANDB_API_KEY`, `SIGOPT_KEY` | Read by these services' own libraries; trials inherit them. |
"""


def page() -> str:
    """The text of the page."""
    parts = [_HEAD]
    for name, field in TuneSettings.model_fields.items():
        variables = "<br>".join(f"`{variable}`" for variable in variables_of(name))
        description = _escaped(field.description or "")
        parts.append(f"| {variables} | {_shown(field.default)} | {description} |\n")
    parts.append(_WITHOUT_EFFECT)
    for variable, reason in WITHOUT_EFFECT.items():
        parts.append(f"| `{variable}` | {_escaped(reason[0].upper() + reason[1:])}. |\n")
    parts.append(_OTHERS)
    for variable, text in NODE_VARIABLES.items():
        parts.append(f"| `{variable}` | {_escaped(text)} |\n")
    return "".join(parts)


def _shown(default: Any) -> str:
    if default is None:
        return ""
    if isinstance(default, bool):
        return str(int(default))
    return f"{default:g}" if isinstance(default, float) else str(default)


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8")
