"""Functions that yield or return instead of calling report."""

import json

import prefect_tune as tune


def yields(config):
    for i in range(config["n"]):
        yield {"score": i, "twice": 2 * i}


def returns_dict(config):
    return {"score": config["n"]}


def returns_number(config):
    return config["n"] * 1.5


def yields_numbers(config):
    yield 1
    yield 2.5


def says_nothing(config):
    pass


def reports_then_returns(config):
    tune.report({"score": 1})
    return {"score": 2}


def returns_text(config):
    return "text"


def run(trainable, **arguments):
    analysis = tune.run(trainable, config={"n": 4}, verbose=0, **arguments)
    (trial,) = analysis.trials
    result = trial.last_result
    names = ("score", "twice", "_metric", "training_iteration", "done")
    return [trial.status, {name: result[name] for name in names if name in result}]


print(
    json.dumps(
        {
            "yields": run(yields),
            "stopped": run(yields, stop={"score": 2}),
            "returns_dict": run(returns_dict),
            "returns_number": run(returns_number),
            "yields_numbers": run(yields_numbers),
            "says_nothing": run(says_nothing)[0],
            "both": run(reports_then_returns),
            "text": run(returns_text, raise_on_failed_trial=False)[0],
        }
    )
)
