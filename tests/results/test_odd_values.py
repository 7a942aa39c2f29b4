"""Whatever trials report and configurations hold, everything that shows or keeps it goes on."""

from __future__ import annotations

import contextlib
import datetime
import io
import tempfile
import warnings
from collections import OrderedDict
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from rich.console import Console

from prefect_tune.cli.main import main
from prefect_tune.coordinator.events import (
    AttemptEnded,
    AttemptStarted,
    Fate,
    Outcome,
    ResultReported,
    TrialSuggested,
)
from prefect_tune.coordinator.records import decode_event, encode_event
from prefect_tune.experiment.trial import TERMINATED, Trial
from prefect_tune.logger import CSVLoggerCallback, JsonLoggerCallback, TBXLoggerCallback
from prefect_tune.logger.files import cut_incomplete_line
from prefect_tune.nested import flatten
from prefect_tune.orchestration.record.artifacts import Snapshot
from prefect_tune.orchestration.record.summary import summary
from prefect_tune.orchestration.record.sweep_result import api_value
from prefect_tune.reporters.live import LiveReporter
from prefect_tune.reporters.notebook import as_html
from prefect_tune.reporters.plain import PlainReporter
from prefect_tune.reporters.progress import Best
from prefect_tune.reporters.result_lines import TrialProgressCallback
from prefect_tune.reporters.status import CLIReporter
from prefect_tune.resources import Resources
from prefect_tune.results import ExperimentAnalysis
from prefect_tune.results.report import write_report
from prefect_tune.storage.journal.file import encode_line
from prefect_tune.storage.journal.header import JournalHeader
from prefect_tune.trainable.runtime.config_changes import complete
from prefect_tune.trainable.runtime.metrics import AutoMetrics
from prefect_tune.trainable.runtime.result_codec import decode_report, encode_report


class Mute:
    """Can be pickled, and says nothing of itself."""

    def __str__(self) -> str:
        raise RuntimeError("no words")

    __repr__ = __str__

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no answer")

    __hash__ = None  # type: ignore[assignment]


texts = st.text(max_size=8) | st.sampled_from(
    [
        "[/bold]",
        "[INST] q [/INST]",
        "\x1b[2J\x1b]0;x\x07",
        "a\rb\nc",
        '"',
        "NA",
        "001",
        "\ud800",
        "\0",
    ]
)
#: By name: hypothesis, too, would have to write them down.
ODD = {
    "wide": 2**70,
    "wider": -(10**400),
    "widest": 10**5000,
    "float32": np.float32(1.5),
    "nan": np.float16("nan"),
    "int64": np.int64(3),
    "bool_": np.bool_(True),
    "scalar": np.array(2.5),
    "array": np.arange(3),
    "datetime64": np.datetime64("2024-05-01"),
    "datetime": datetime.datetime(2024, 5, 1),
    "decimal": Decimal("1.5"),
    "complex": 1j,
    "mute": Mute(),
    "long": [i / 7 for i in range(10_000)],
}


@dataclass(frozen=True)
class Odd:
    """Stands for a value of `ODD`."""

    name: str


def real(value: Any) -> Any:
    """A value with what others stand for."""
    if isinstance(value, Odd):
        return ODD[value.name]
    if isinstance(value, dict):
        return type(value)((key, real(item)) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return type(value)(map(real, value))
    return value


leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | texts
    | st.binary(max_size=3)
    | st.builds(Odd, st.sampled_from(sorted(ODD)))
)
values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner)
        | st.dictionaries(texts, inner, max_size=3)
        | st.dictionaries(texts, inner, max_size=2).map(OrderedDict)
        | st.dictionaries(st.integers(), inner, max_size=2)
    ),
    max_leaves=4,
)
special = st.sampled_from(
    """timestamp training_iteration timesteps_total episodes_total timesteps_this_iter mean_loss
    episodes_this_iter time_this_iter_s done date trial_id pid config a/b should_checkpoint
    iterations_since_restore time_total_s""".split()
)
metrics = st.dictionaries(special | texts, values, max_size=4)


def show(trials: list[Trial], metric: str) -> None:
    """On all kinds of consoles."""
    console = Console(file=io.TextIOWrapper(io.BytesIO(), "utf-8"), force_terminal=True, width=90)
    for reporter in (LiveReporter(3, console), PlainReporter(3), CLIReporter()):
        reporter.setup(0.0, 3, metric=metric, mode="max")
        reporter.report(trials, False, "Resources")
        reporter.report(trials, True)
    as_html(CLIReporter().status(trials, True))
    for verbose in (2, 3):
        lines = TrialProgressCallback(metric, verbose=verbose)
        for trial in trials:
            lines.on_trial_result(1, trials, trial, trial.last_result)
            lines.on_trial_complete(1, trials, trial)


def record(trial: Trial) -> None:
    """As a Prefect server takes it."""
    shown = api_value(flatten(trial.last_result))
    shown |= api_value(trial.evaluated_params)
    orjson.dumps(shown)
    text = summary("e", str(Snapshot(1, 1)), Best(trial, 1.0), "m", [trial], "/e")
    assert isinstance(text, str)


@pytest.mark.timeout(600)  # hypothesis takes up to five minutes to find the simplest failure
@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(metrics, min_size=2, max_size=3), st.dictionaries(texts, values, max_size=3))
@example([{"timestamp": "2024-05-01T10:00:00"}, {"training_iteration": "epoch 3"}], {})
@example([{"timesteps_total": 2**70, "x": [1]}, {"timesteps_total": "7k", "y": 1}], {"[/b]": 1})
@example([{"x": 1}, {"x": Odd("widest"), "\ud800": Odd("mute")}], {"\ud800\x1b[2J": "\ud800"})
@example([{}, {"timesteps_total": Odd("array")}], {"a": {1: Odd("widest")}, "b": Odd("array")})
@example([{"m": Odd("wider")}, {"timestamp": Odd("wider"), "time_total_s": 1e300}], {})
@example([{"training_iteration": [1], "a": "b\rc"}, {"p": [0.1] * 20_000, "late": 1}], {"t": "\0"})
def test_no_value_ends_anything(reported: list[dict[str, Any]], config: dict[str, Any]) -> None:
    reported, config = real(reported), real(config)
    with tempfile.TemporaryDirectory() as root:
        directory = Path(root) / "e"
        directory.mkdir()
        trial = Trial(
            "abcde_00000",
            config,
            evaluated_params=dict(config),
            trainable_name="train",
            relative_logdir="t",
            local_experiment_dir=str(directory),
        )
        events: list[Any] = [
            TrialSuggested(1.0, trial.trial_id, config, config, "1", Resources.parse(None), "t"),
            AttemptStarted(1.0, trial.trial_id, 1, "tcp://n:1", 7, "h", "10.0.0.1"),
        ]
        loggers = (CSVLoggerCallback(), JsonLoggerCallback(), TBXLoggerCallback())
        for logger in loggers:
            logger.log_trial_start(trial)
        counters = AutoMetrics()
        for seq, one in enumerate(reported, 1):
            full = counters.complete({"m": float(seq), **one})
            full.pop("config", None)
            _, report = encode_report(full)
            line, result = decode_report(report)
            complete(result, {"trial_id": trial.trial_id, "pid": 7, "config": config})
            events.append(ResultReported(2.0, trial.trial_id, 1, seq, (result,), False, (line,)))
            trial.update_last_result(result, flatten(result), 2.0)
            trial.metric_value("m", "avg", "max")
            for logger in loggers:
                logger.log_trial_results(1, trial, [result], [line])
                logger.flush()
        trial.status = TERMINATED
        events.append(AttemptEnded(3.0, trial.trial_id, 1, Outcome.FINISHED, fate=Fate.TERMINATED))
        for logger in loggers:
            logger.log_trial_end(trial)
            logger.on_experiment_end([trial])
        rows = cut_incomplete_line(f"{trial.logdir}/progress.csv", quotes=True)
        assert len(rows) == len(reported) + 1
        assert len(cut_incomplete_line(f"{trial.logdir}/result.json")) == len(reported)
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            show([trial], "m")
        assert "\x1b]" not in output.getvalue()
        record(trial)
        lines = [encode_event(event) for event in events]
        for line in lines:
            decode_event(line)
        objective = {"`metric`": "'m'", "`mode`": "'max'"}
        header = JournalHeader("a", "a", "e", 1.0, "train", arguments=objective)
        journal = b"".join(map(encode_line, [header.encode(), *lines]))
        (directory / "journal.jsonl").write_bytes(journal)
        read_back(directory, len(reported))


def read_back(directory: Path, results: int) -> None:
    analysis = ExperimentAnalysis(directory, default_metric="m", default_mode="max")
    (trial,) = analysis.trials
    assert (trial.status, trial.results_seen) == (TERMINATED, results)
    for frame in (analysis.dataframe(), analysis.dataframe("m", "max"), analysis.results_df):
        assert len(frame) == 1
    for kind in ("csv", "json"):
        analysis.set_filetype(kind)
        assert [len(frame) for frame in analysis.trial_dataframes.values()] == [results]
    assert analysis.best_trial is trial
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # there are no glyphs for control characters
        write_report(analysis, directory / "report.html", ("m", "max"))
    with contextlib.redirect_stdout(io.StringIO()) as output:
        for command in ("ls", "show", "best"):
            for form in ((), ("--output", "json")):
                assert main([command, str(directory), *form]) == 0
        assert main(["ls", str(directory), "--output", "csv"]) == 0
        assert main(["show", str(directory), trial.trial_id]) == 0
    assert output.getvalue()
