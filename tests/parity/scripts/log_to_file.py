"""Where the output of trials goes with the forms of `log_to_file`."""

import json
import os
import sys
import tempfile

import prefect_tune as tune


def train(config):
    print("to standard output")
    print("to standard error", file=sys.stderr)
    tune.report({"score": 1})


def holds(path):
    """Which of the two lines are in a file; None if there is no file."""
    if not os.path.exists(path):
        return None
    with open(path) as file:
        text = file.read()
    return [word for word in ("output", "error") if f"to standard {word}" in text]


def wrong(value):
    try:
        tune.run(train, verbose=0, log_to_file=value)
    except ValueError:
        return "ValueError"
    except Exception as error:
        return type(error).__name__
    return "accepted"


with tempfile.TemporaryDirectory() as directory:
    shared = os.path.join(directory, "all.log")
    summary = {}
    forms = {"true": True, "one": "a.log", "two": ("o.log", "e.log"), "absolute": shared}
    for name, form in forms.items():
        (trial,) = tune.run(train, verbose=0, log_to_file=form).trials
        names = ("stdout", "stderr", "a.log", "o.log", "e.log", shared)
        found = {file: holds(os.path.join(trial.path, file)) for file in names}
        summary[name] = {os.path.basename(f): lines for f, lines in found.items() if lines}
    summary["wrong"] = [wrong(("a",)), wrong(("a", "b", "c")), wrong(3)]
print(json.dumps(summary))
