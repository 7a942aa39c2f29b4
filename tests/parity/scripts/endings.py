"""How trials end that do not just return or raise an ordinary exception."""

import json
import os
import sys
import threading

import prefect_tune as tune


class TwoArguments(Exception):
    def __init__(self, code, place):
        super().__init__(f"{code} at {place}")


def fail():
    raise ValueError("in a thread")


def train(config):
    how = config["how"]
    tune.report({"x": 1})
    if how == "sys.exit(3)":
        sys.exit(3)
    if how == "sys.exit(0)":
        sys.exit(0)
    if how == "os._exit":
        os._exit(5)
    if how == "thread":
        thread = threading.Thread(target=fail)
        thread.start()
        thread.join()
    if how == "group":
        raise ExceptionGroup("several", [ValueError("a"), KeyError("b")])
    if how == "two arguments":
        raise TwoArguments(3, "here")
    tune.report({"x": 2})


ways = ["sys.exit(3)", "sys.exit(0)", "os._exit", "thread", "group", "two arguments"]
results = tune.Tuner(
    train,
    param_space={"how": tune.grid_search(ways)},
    run_config=tune.RunConfig(verbose=0),
).fit()
summary = {}
for result in results:
    files = sorted(name for name in os.listdir(result.path) if name.startswith("error"))
    summary[result.config["how"]] = [result.error is not None, result.metrics["x"], files]
print(json.dumps(summary))
