"""What the reporters show."""

from __future__ import annotations

import io
import sys
import time
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from prefect_tune.error import InvalidArgument
from prefect_tune.experiment.attempt import AttemptError
from prefect_tune.experiment.trial import ERROR, PENDING, RUNNING, TERMINATED, Trial
from prefect_tune.progress_reporter import CLIReporter, ProgressReporter
from prefect_tune.reporters import make_reporter
from prefect_tune.reporters.live import LiveReporter
from prefect_tune.reporters.plain import PlainReporter
from prefect_tune.reporters.status import as_text

from .clock import set_clock


def make_trial(number: int, status: str = TERMINATED, score: float | None = None) -> Trial:
    params = {"lr": 0.1 * (number + 1), "net/units": 2**number}
    trial = Trial(
        f"c0ffe_{number:05d}",
        {"lr": params["lr"], "net": {"units": 2**number}, "fixed": 7},
        trainable_name="train",
        evaluated_params=params,
        relative_logdir=f"t{number}",
        local_experiment_dir="/exp",
    )
    trial.status = status
    if status == RUNNING:
        trial.location = "node:123"
    if status == ERROR:
        trial.num_failures, trial.error = 1, AttemptError("ValueError", "bad lr")
    if score is not None:
        trial.last_result = {
            "score": score,
            "other": 2 * score,
            "training_iteration": number + 1,
            "time_total_s": 1.5,
        }
    return trial


TRIALS = [
    make_trial(0, TERMINATED, 0.5),
    make_trial(1, ERROR, 0.25),
    make_trial(2, RUNNING, 0.75),
    make_trial(3, PENDING),
]


class Clock:
    """A clock that tests set."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    set_clock(monkeypatch, clock, sys.modules[__name__])
    return clock


def set_up(reporter: ProgressReporter, total: int | None = 40) -> None:
    reporter.setup(start_time=time.time(), total_samples=total, metric="score", mode="max")


class TestMakeReporter:
    def test_silence(self) -> None:
        assert make_reporter(0) is None
        assert make_reporter(0, CLIReporter()) is None

    def test_the_users_own_is_set_up(self) -> None:
        class Mine(ProgressReporter):
            def setup(self, *args: Any, **kwargs: Any) -> None:
                self.told = kwargs

            def should_report(self, trials: list[Trial], done: bool = False) -> bool:
                return True

            def report(self, trials: list[Trial], done: bool, *sys_info: str) -> None:
                pass

        mine = Mine()
        assert make_reporter(2, mine, "score", "max", total_samples=3) is mine
        assert mine.told == {"metric": "score", "mode": "max", "total_samples": 3}

    def test_lines_in_a_pipe_and_a_table_on_a_terminal(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert isinstance(make_reporter(), PlainReporter)
        monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
        monkeypatch.setenv("TERM", "xterm")
        assert isinstance(make_reporter(1), LiveReporter)
        monkeypatch.setenv("TERM", "dumb")
        assert isinstance(make_reporter(1), PlainReporter)

    def test_true_and_false_are_one_and_zero(self) -> None:
        assert make_reporter(False) is None
        assert isinstance(make_reporter(True), PlainReporter)

    @pytest.mark.parametrize("wrong", [-1, 4, 1.5, "2"])
    def test_wrong_verbosity(self, wrong: Any) -> None:
        with pytest.raises(InvalidArgument, match="verbose"):
            make_reporter(wrong)

    def test_wrong_reporter(self) -> None:
        with pytest.raises(InvalidArgument, match=r"progress_reporter.*str"):
            make_reporter(2, "cli")  # type: ignore[arg-type]

    def test_whatever_has_the_methods_is_a_reporter(self) -> None:
        class Silent:
            metric: str | None = None

            def setup(self, *args: Any, **kwargs: Any) -> None:
                self.metric = kwargs["metric"]

            def should_report(self, trials: Any, done: bool = False) -> bool:
                return False

            def report(self, trials: Any, done: bool, *sys_info: Any) -> None: ...

        given = Silent()
        assert make_reporter(1, given, metric="loss") is given  # type: ignore[arg-type]
        assert given.metric == "loss"
        assert not isinstance(given, CLIReporter)


class TestPlain:
    def lines(self, capsys: pytest.CaptureFixture[str]) -> list[str]:
        return capsys.readouterr().out.splitlines()

    def test_finished_trials_and_a_summary(
        self, clock: Clock, capsys: pytest.CaptureFixture[str]
    ) -> None:
        reporter = PlainReporter(2)
        set_up(reporter)
        clock.now += 61
        reporter.report(TRIALS, False, "Resources requested: 1/2 CPUs")
        first, second, summary = self.lines(capsys)
        assert first == "[0:01:01] train_c0ffe_00000 TERMINATED  score=0.5  iter=1  1.5 s"
        assert "train_c0ffe_00001 ERROR  ValueError: bad lr" in second
        assert "4/40 (1 RUNNING, 1 PENDING, 1 TERMINATED, 1 ERROR)" in summary
        assert "best score=0.75 (train_c0ffe_00002)" in summary
        assert "Resources requested: 1/2 CPUs" in summary
        clock.now += 1
        reporter.report(TRIALS, False)
        assert self.lines(capsys) == []
        reporter.report(TRIALS, True)
        [last] = self.lines(capsys)
        assert "done" in last
        assert last.endswith("; results: /exp")

    def test_levels(self, clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
        for verbose in (1, 3):
            reporter = PlainReporter(verbose)
            set_up(reporter)
            reporter.report(TRIALS, True)
        only, first, *_ = self.lines(capsys)
        assert "done" in only
        assert "score=0.5  other=1" in first
        assert "(lr=0.1, units=1)" in first

    def test_never_floods(self, clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
        reporter = PlainReporter(2)
        set_up(reporter, total=None)
        trials: list[Trial] = []
        for number in range(3600 * 4):  # an hour, four trials a second
            clock.now += 0.25
            trials.append(make_trial(number % 20, TERMINATED, 0.5))
            if reporter.should_report(trials):
                reporter.report(trials, False)
        reporter.report(trials, True)
        lines = self.lines(capsys)
        assert len(lines) < 2500
        assert any("more trials ended" in line for line in lines)
        assert f"trials: {3600 * 4} " in lines[-1]

    def test_failed_trials_are_named_first(
        self, clock: Clock, capsys: pytest.CaptureFixture[str]
    ) -> None:
        reporter = PlainReporter(2)
        set_up(reporter)
        trials = [make_trial(n, TERMINATED, 0.1) for n in range(30)]
        trials.append(make_trial(30, ERROR))
        reporter.report(trials, False)
        lines = self.lines(capsys)
        assert sum("TERMINATED  " in line for line in lines) == 9
        assert any("c0ffe_00030 ERROR" in line for line in lines)
        assert any("and 21 more" in line for line in lines)


class TestLive:
    def as_cell(self, verbose: int = 2, *, done: bool = False, width: int = 100) -> str:
        console = Console(file=io.StringIO(), force_terminal=True, width=width, height=25)
        reporter = LiveReporter(verbose, console)
        set_up(reporter)
        reporter.report(TRIALS, done, "Resources requested: 1/2 CPUs")
        reporter.close()
        assert isinstance(console.file, io.StringIO)
        return console.file.getvalue()

    def test_the_whole_block(self) -> None:
        text = self.as_cell()
        for part in ("2/40 trials", "1 running", "1 error", "1/2 CPUs", "score=0.75", "units"):
            assert part in text
        assert "c0ffe_00003" not in text  # pending trials have nothing to tell

    @pytest.mark.parametrize("width", [40, 80, 160])
    def test_long_names_leave_the_columns_readable(self, width: int) -> None:
        trial = make_trial(0)
        trial.custom_name = "my_custom_name_" * 8 + "7"
        trial.last_result = {"a/long/way/to/the/accuracy": 0.5, "time_total_s": 123456.7}
        console = Console(file=io.StringIO(), width=width, height=25)
        reporter = LiveReporter(2, console)
        reporter.setup(time.time(), 1, metric="a/long/way/to/the/accuracy", mode="max")
        reporter.report([trial], True)
        assert isinstance(console.file, io.StringIO)
        row = next(line for line in console.file.getvalue().splitlines() if "TERMINATED" in line)
        assert "_7 " in row
        assert row.rstrip().endswith("0.5")
        assert ("123457" in row) is (width > 40)

    def test_as_many_metrics_as_fit(self) -> None:
        trial = make_trial(0, TERMINATED, 0.5)
        trial.last_result |= {f"another_metric_{number}": number for number in range(4)}
        for width, fitting in ((80, 0), (120, 2)):
            console = Console(file=io.StringIO(), width=width, height=25)
            reporter = LiveReporter(3, console)
            set_up(reporter)
            reporter.report([trial], True)
            assert isinstance(console.file, io.StringIO)
            header = next(line for line in console.file.getvalue().splitlines() if "status" in line)
            assert "score" in header
            assert header.count("another_metric_") == fitting

    def test_as_many_parameters_as_fit(self) -> None:
        trial = make_trial(0, TERMINATED, 0.5)
        trial.evaluated_params = {f"p{number}": number for number in range(30)}
        for width, fitting in ((80, 6), (130, 16)):
            console = Console(file=io.StringIO(), width=width, height=25)
            reporter = LiveReporter(2, console)
            set_up(reporter)
            reporter.report([trial], True)
            assert isinstance(console.file, io.StringIO)
            header = next(line for line in console.file.getvalue().splitlines() if "status" in line)
            assert len([word for word in header.split() if word.startswith("p")]) == fitting

    def test_levels(self) -> None:
        assert "TERMINATED" not in self.as_cell(1)
        assert "other" not in self.as_cell(2)
        assert "other" in self.as_cell(3)

    def test_the_last_one_shows_the_best_first(self) -> None:
        text = self.as_cell(done=True)
        text = text[text.rindex("status") :]
        assert text.index("00002") < text.index("00000") < text.index("00001")

    def test_the_last_one_says_what_is_missing_and_what_has_failed(self) -> None:
        console = Console(file=io.StringIO(), force_terminal=True, width=200, height=25)
        reporter = LiveReporter(1, console)
        reporter.report([make_trial(n, ERROR) for n in range(30)], True)
        assert isinstance(console.file, io.StringIO)
        text = console.file.getvalue()
        assert all(f"c0ffe_{number:05d}" in text for number in range(5))
        assert "c0ffe_00005" not in text
        assert "ValueError: bad lr" in text
        assert "first traceback: /exp/t0/error.txt" in text
        assert "results: /exp" in text
        assert "... and 25 more failed" in text
        reporter = LiveReporter(2, console)
        reporter.report([make_trial(n) for n in range(30)], True)
        assert "... and 18 more" in console.file.getvalue()

    def test_what_looks_like_markup_is_none(self) -> None:
        trial = make_trial(0)
        trial.evaluated_params = {"[bold]": "<s>[INST] q [/INST]", "b": "[red]x[/red]"}
        trial.last_result = {"[/m]": 1.5, "training_iteration": "[/]"}
        console = Console(file=io.StringIO(), force_terminal=True, width=200, height=25)
        reporter = LiveReporter(3, console)
        reporter.setup(time.time(), 1, metric="[/m]", mode="max")
        reporter.report([trial], False, "[/memory] \x1b[2Jfull")
        reporter.report([trial], True)
        assert isinstance(console.file, io.StringIO)
        text = console.file.getvalue()
        for part in ("[bold]", "[/INST]", "[red]x[/red]", "[/m]", "[/memory] full"):
            assert part in text
        assert "\x1b[2J" not in text

    @pytest.mark.parametrize("width", [40, 60, 200])
    def test_no_line_is_wider_than_the_terminal(self, width: int) -> None:
        from rich.text import Text

        plain = Text.from_ansi(self.as_cell(width=width)).plain
        assert max(len(line) for line in plain.splitlines()) <= width

    def test_at_most_four_times_a_second(self, clock: Clock) -> None:
        console = Console(file=io.StringIO(), force_terminal=True)
        reporter = LiveReporter(2, console)
        set_up(reporter)
        shown = 0
        for _ in range(100):
            clock.now += 0.01
            if reporter.should_report(TRIALS):
                reporter.report(TRIALS, False)
                shown += 1
        reporter.close()
        assert 3 <= shown <= 5
        assert reporter.should_report(TRIALS, done=True)


class TestCLI:
    def block(self, reporter: CLIReporter, trials: list[Trial], done: bool = False) -> str:
        set_up(reporter)
        return as_text(reporter.status(trials, done, "Resources requested: 1/2 CPUs"))

    def test_the_block_has_rays_parts(self) -> None:
        block = self.block(CLIReporter(), TRIALS)
        for part in (
            "== Status ==",
            "Memory usage on this node",
            "Resources requested: 1/2 CPUs",
            "Current best trial: train_c0ffe_00002 with score=0.75",
            "Result logdir: /exp",
            "Number of trials: 4/40 (1 RUNNING, 1 PENDING, 1 TERMINATED, 1 ERROR)",
            "Number of errored trials: 1",
            "/exp/t1/error.txt",
            "node:123",
            "total time (s)",
        ):
            assert part in block

    def test_columns_that_were_asked_for(self) -> None:
        reporter = CLIReporter(
            metric_columns={"other": "O"}, parameter_columns=["fixed", "net/units"]
        )
        reporter.add_metric_column("time_total_s", "seconds")
        header = next(
            line
            for line in self.block(reporter, TRIALS).splitlines()
            if line.startswith("| Trial name")
        )
        columns = [cell.strip() for cell in header.strip("|").split("|")]
        assert columns == ["Trial name", "status", "loc", "fixed", "net/units", "O", "seconds"]
        with pytest.raises(ValueError, match="other"):
            reporter.add_metric_column("other")

    def test_columns_that_are_added_come_behind_the_usual_ones(self) -> None:
        reporter = CLIReporter(parameter_columns=["fixed"])
        reporter.add_metric_column("other", "O")
        header = next(
            line for line in self.block(reporter, TRIALS).splitlines() if "Trial name" in line
        )
        columns = [cell.strip() for cell in header.strip("|").split("|")]
        usual = ["iter", "total time (s)"]
        assert columns == ["Trial name", "status", "loc", "fixed", *usual, "O"]

    def test_limits(self) -> None:
        trials = [make_trial(n, TERMINATED, n / 50) for n in range(50)]
        block = self.block(CLIReporter(max_progress_rows=5, sort_by_metric=True), trials)
        assert "45 more trials not shown (45 TERMINATED)" in block
        at_the_end = self.block(CLIReporter(max_progress_rows=5), trials, done=True)
        assert "not shown" not in at_the_end
        assert all(str(trial) in at_the_end for trial in trials)
        many = [make_trial(n, ERROR) for n in range(201)]
        for most, left_out in ((20, 2), (300, 1)):  # the table of errors, or both
            reporter = CLIReporter(max_progress_rows=most)
            assert self.block(reporter, many, done=True).count("1 more trials not") == left_out
        assert block.index("c0ffe_00049") < block.index("c0ffe_00048 ")
        assert "c0ffe_00044" not in block

    def test_running_trials_are_not_hidden(self) -> None:
        trials = [make_trial(n, TERMINATED, 0.1) for n in range(30)] + [make_trial(30, RUNNING)]
        assert "c0ffe_00030" in self.block(CLIReporter(), trials)

    def test_tables_only_at_the_end(self) -> None:
        reporter = CLIReporter(print_intermediate_tables=False)
        assert "Trial name |" not in self.block(reporter, TRIALS[:1])
        assert "| Trial name" in self.block(reporter, TRIALS[:1], done=True)

    def test_metrics_of_known_names_take_no_ones_place(self) -> None:
        trial = make_trial(0, TERMINATED, 0.5)
        trial.last_result |= {"mean_accuracy": 1, "first": 1, "second": 2, "third": 3}
        columns = self.block(CLIReporter(infer_limit=3), [trial])
        assert " acc " in columns
        assert "mean_accuracy" not in columns
        assert "second" in columns
        assert "third" not in columns

    def test_a_subclass_may_send_the_block_elsewhere(self) -> None:
        told: list[str] = []

        class Elsewhere(CLIReporter):
            def report(self, trials: list[Trial], done: bool, *sys_info: str) -> None:
                told.append(self._progress_str(trials, done, *sys_info))

        reporter = Elsewhere()
        set_up(reporter)
        reporter.report(TRIALS, True, "Resources requested: 1/2 CPUs")
        assert "Resources requested: 1/2 CPUs" in told[0]
        assert "c0ffe_00001" in told[0]

    def test_every_few_seconds(self, clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
        reporter = CLIReporter(max_report_frequency=5)
        set_up(reporter)
        assert not reporter.should_report([])
        assert reporter.should_report(TRIALS)
        reporter.report(TRIALS, False)
        clock.now += 4
        assert not reporter.should_report(TRIALS)
        assert reporter.should_report(TRIALS, done=True)
        clock.now += 1
        assert reporter.should_report(TRIALS)
        assert "== Status ==" in capsys.readouterr().out

    def test_its_own_metric_wins(self) -> None:
        reporter = CLIReporter(metric="other", mode="min", total_samples=9)
        block = self.block(reporter, TRIALS)
        assert "Current best trial: train_c0ffe_00001 with other=0.5" in block
        assert "4/9" in block

    def test_odd_values_leave_the_table_whole(self) -> None:
        trials = [make_trial(0, TERMINATED, float("nan")), make_trial(1, TERMINATED, 0.5)]
        trials[0].evaluated_params = {"模型": "日本語\n\x1b[31m", "x" * 300: 1}
        block = self.block(CLIReporter(), trials)
        table = [line for line in block.splitlines() if line.startswith(("|", "+"))]
        assert len({cell_len(line) for line in table}) == 1
        assert cell_len(table[0]) < 200
        assert "\x1b" not in block
        assert "with score=0.5" in block
        assert " nan " in block

    def test_a_thousand_trials(self) -> None:
        trials = [make_trial(n % 20, (TERMINATED, PENDING)[n % 2], 0.5) for n in range(1000)]
        block = self.block(CLIReporter(), trials)
        assert len(block.splitlines()) < 40
        assert "980 more trials not shown (500 PENDING, 480 TERMINATED)" in block

    def test_wrong_mode(self) -> None:
        with pytest.raises(ValueError, match="mode"):
            CLIReporter(mode="best")

    def test_a_terminal_gets_tables_that_fit(
        self,
        clock: Clock,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setenv("COLUMNS", "60")
        piped = self.block(CLIReporter(), TRIALS)
        assert max(len(line) for line in piped.splitlines() if line.startswith("|")) > 60
        monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
        reporter = CLIReporter()
        set_up(reporter)
        reporter.report(TRIALS, True)
        shown = capsys.readouterr().out.splitlines()
        framed = [line for line in shown if line.startswith("|")]
        assert max(map(len, framed)) <= 60
        assert sum("Trial name" in line for line in framed) > 2
        assert any("0.75" in line for line in framed)
