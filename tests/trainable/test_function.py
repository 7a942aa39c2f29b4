import functools
import threading

import pytest

import prefect_tune as tune
from prefect_tune.error import InvalidTrainable, TuneError
from prefect_tune.trainable.function import (
    run_function,
    takes_checkpoint_dir,
    trainable_name,
    validate_trainable,
)
from prefect_tune.trainable.runtime.attempt_session import Session
from prefect_tune.trainable.runtime.result_codec import decode_line, decode_report
from prefect_tune.trainable.shipping.packing import load_trainable, pack_trainable
from tests.attempts import make_context

CONTEXT = make_context(config={"x": 2})


class Sink:
    is_leaving = False

    def __init__(self):
        self.results = []

    def send_result(self, seq, line, awaiting):
        self.results.append(decode_line(decode_report(line)[0]))

    def poll_decision(self):
        return None


def reported(function, key="_metric"):
    sink = Sink()
    run_function(function, Session(CONTEXT, sink))
    return [result.get(key) for result in sink.results]


class Callable:
    def __call__(self, config):
        return config["x"]

    def method(self, config):
        return config["x"]


def scaled(scale, config):
    return scale * config["x"]


def with_checkpoint(config, checkpoint_dir=None):
    return config["x"] if checkpoint_dir is None else "wrong"


def with_reporter(config, reporter):
    reporter(len(reporter.trial_id))
    reporter(logdir=len(reporter.logdir), _metric=reporter.trial_resources.head_cpus)


def generator(config):
    yield 1
    yield {"_metric": 2}
    return 3


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda config: config["x"], [2]),
        (lambda config: {"_metric": 7}, [7]),
        (lambda config: None, []),
        (with_checkpoint, [2]),
        (with_reporter, [2, 1.0]),
        (generator, [1, 2, 3]),
        (functools.partial(scaled, 10), [20]),
        (Callable(), [2]),
        (Callable().method, [2]),
    ],
)
def test_signatures_and_outputs(function, expected):
    validate_trainable(function)

    assert reported(function) == expected


def yields_text(config):
    yield "text"


@pytest.mark.parametrize(
    ("function", "how"), [(yields_text, "yielded str"), (lambda config: [1], "returned list")]
)
def test_other_outputs_are_refused(function, how):
    with pytest.raises(InvalidTrainable, match=how):
        reported(function)


async def coroutine(config): ...


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        (3, "not callable"),
        (None, "not callable"),
        (lambda: 1, "one argument, the config"),
        (lambda a, b: 1, "one argument, the config"),
        (lambda *, config: 1, "one argument, the config"),
        (coroutine, "async"),
        (dict, "not a `Trainable`"),
        (tune.Trainable, "no method `step`"),
    ],
)
def test_a_wrong_trainable_is_named_with_what_would_be_right(wrong, problem):
    with pytest.raises(
        InvalidTrainable, match=f"`run_or_experiment`: .*{problem}.*Write e.g."
    ) as e:
        validate_trainable(wrong, argument="run_or_experiment")

    assert isinstance(e.value, (TuneError, TypeError, ValueError))


def test_checkpoint_dir_is_detected():
    assert takes_checkpoint_dir(with_checkpoint)
    assert takes_checkpoint_dir(functools.partial(with_checkpoint))
    assert not takes_checkpoint_dir(generator)


@pytest.mark.parametrize(
    ("trainable", "name"),
    [
        (generator, "generator"),
        (lambda config: 1, "lambda"),
        (functools.partial(functools.partial(scaled, 1)), "scaled"),
        (Callable(), "Callable"),
    ],
)
def test_names_are_good_for_files(trainable, name):
    assert trainable_name(trainable) == name


def test_packing_keeps_closures_and_the_import_path(monkeypatch):
    monkeypatch.syspath_prepend("")
    offset = 40

    source = pack_trainable(lambda config: offset + config["x"], name="train")

    assert source.name == "train"
    assert source.cwd in source.sys_path
    assert "" not in source.sys_path
    assert load_trainable(source)({"x": 2}) == 42


LOCK = threading.Lock()


def uses_global(config):
    return LOCK


# As if it came from the main script, whose globals travel with its functions.
uses_global.__module__ = "__main__"


def test_what_cannot_be_pickled_is_named():
    lock = threading.Lock()

    def uses_closure(config):
        return lock

    for trainable, part in [
        (uses_closure, "the outer variable `lock`"),
        (functools.partial(scaled, lock), "its argument 0"),
        (uses_global, "the global variable `LOCK`"),
    ]:
        with pytest.raises(InvalidTrainable, match=part) as caught:
            pack_trainable(trainable)
        assert "inside the function" in str(caught.value)


def test_the_default_of_checkpoint_dir_stays_without_a_checkpoint(trial):
    def train(config, checkpoint_dir="none yet"):
        tune.report(seen=checkpoint_dir)

    trial.run(train)
    assert trial.agent.results[0]["seen"] == "none yet"
