"""The HTML report."""

from __future__ import annotations

import itertools
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from prefect_tune.experiment.trial import ERROR, TERMINATED, Trial
from prefect_tune.results import ExperimentAnalysis
from prefect_tune.results.plots.picture import Plot
from prefect_tune.results.report import write_report
from prefect_tune.results.report.page import sample


def experiment(directory: Path, size: int) -> ExperimentAnalysis:
    trials = []
    for number in range(size):
        config = {"lr": 10.0 ** -(number % 5), "kind": "<script>alert(1)</script>"}
        trial = Trial(
            f"abcde_{number:05d}",
            config,
            evaluated_params=config,
            relative_logdir=f"t{number}",
            local_experiment_dir=str(directory),
        )
        trial.status = ERROR if number == 1 else TERMINATED
        result = {"loss": float(number), "training_iteration": 3}
        trial.update_last_result(result, result, 0.0)
        trials.append(trial)
    return ExperimentAnalysis(directory, trials, "loss", "min")


class _References(HTMLParser):
    """Collects what a page would load, and its elements."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "xlink:href") and value and value[0] != "#":
                self.loaded.append(value)


def parse(path: Path) -> _References:
    page = _References()
    page.feed(path.read_text())
    return page


@pytest.fixture
def unrendered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures are made, but not rendered, which takes most of the time."""
    monkeypatch.setattr(Plot, "to_svg", lambda _: "<svg></svg>")
    monkeypatch.setattr(Plot, "to_png", lambda _: b"png")


def test_it_needs_nothing_but_itself(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    assert write_report(experiment(tmp_path, 12), path) == str(path)
    page = parse(path)
    assert page.loaded == []
    assert page.tags.count("svg") == 5, "one of each kind"
    assert page.tags.count("script") == 1, "what trials say is never markup"
    text = path.read_text()
    assert "Best trial by loss (min)" in text
    assert re.search(r'<td class="ERROR">ERROR</td>', text)
    assert "&lt;script&gt;" in text
    assert not re.search(r"url\((?!#)", text)


def test_many_trials_are_drawn_as_bitmaps(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    write_report(experiment(tmp_path, 400), path)
    page = parse(path)
    assert "svg" not in page.tags
    assert page.loaded
    assert all(source.startswith("data:image/png;base64,") for source in page.loaded)


def test_without_a_metric_there_is_the_table(tmp_path: Path) -> None:
    analysis = experiment(tmp_path, 3)
    analysis.default_metric = None
    path = tmp_path / "report.html"
    write_report(analysis, path)
    assert "abcde_00002" in path.read_text()
    assert "svg" not in parse(path).tags


def test_a_metric_that_nobody_reported_is_said(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    write_report(experiment(tmp_path, 3), path, ("nope", "max"))
    assert "No trial has a finite value" in path.read_text()


@pytest.mark.usefixtures("unrendered")
def test_pictures_of_very_many_trials_show_a_sample_and_say_so(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    analysis = experiment(tmp_path, 1200)
    write_report(analysis, path)
    text = path.read_text()
    assert text.count("Shows 1,000 of 1,200 trials") == 4, "all but the importance, of all trials"
    assert str(analysis.trials[1199]) in text, "the table has them all"


def test_a_sample_has_the_best_trials_and_others_from_beginning_to_end(tmp_path: Path) -> None:
    trials = experiment(tmp_path, 5000).trials
    shown = sample(trials, "loss", "max")
    assert len(shown) == 1000
    assert shown[-100:] == trials[-100:], "the best"
    numbers = [int(trial.trial_id[-5:]) for trial in shown[:-100]]
    assert numbers[0] == 0
    assert numbers[-1] > 4880
    assert {after - before for before, after in itertools.pairwise(numbers)} <= {5, 6}
    assert sample(trials[:1000], "loss", "max") == trials[:1000]


@pytest.mark.usefixtures("unrendered")
def test_colours_follow_the_scheme_of_the_reader(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    write_report(experiment(tmp_path, 3), path)
    css = path.read_text().split("<style>")[1].split("</style>")[0]
    light, dark = re.findall(r":root \{(.*?)\}", css, re.DOTALL)
    names = set(re.findall(r"(--[\w-]+):", light))
    assert names == set(re.findall(r"(--[\w-]+):", dark))
    rest = css.replace(light, "").replace(dark, "")
    assert re.findall(r"#[0-9a-f]{3,6}\b", rest) == ["#fff"], "pictures only are drawn on white"
    assert set(re.findall(r"var\((--[\w-]+)\)", rest)) == names


def test_without_a_best_trial_there_are_no_empty_pictures(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    write_report(experiment(tmp_path, 3), path, ("nobody_reported", "min"))
    text = path.read_text()
    assert "No trial has a finite value of it." in text
    assert "Parallel coordinates" not in text


@pytest.mark.usefixtures("unrendered")
def test_what_the_best_trial_is_best_by_comes_first(tmp_path: Path) -> None:
    analysis = experiment(tmp_path, 3)
    result = {"other": 1.0, "loss": 0.0, "training_iteration": 4}
    for trial in analysis.trials:
        trial.update_last_result(result, result, 0.0)
    analysis.default_metric = "other"
    path = tmp_path / "report.html"
    write_report(analysis, path)
    best = path.read_text().split("<h2>")[1]
    assert re.findall(r"<dt>(.*?)</dt>", best) == [
        "lr",
        "kind",
        "other",
        "loss",
        "training_iteration",
    ]


@pytest.mark.usefixtures("unrendered")
def test_pictures_say_that_there_are_more_parameters(tmp_path: Path) -> None:
    analysis = experiment(tmp_path, 3)
    for trial in analysis.trials:
        trial.evaluated_params = {f"p{number}": number for number in range(11)}
    path = tmp_path / "report.html"
    write_report(analysis, path)
    assert "Shows the 9 of 11 parameters" in path.read_text()
    parallel = path.read_text().split("<h2>Parallel coordinates")[1].split("<h2>")[0]
    assert "of 11 parameters" not in parallel


def test_whatever_a_configuration_holds_is_shown_as_text(tmp_path: Path) -> None:
    analysis = experiment(tmp_path, 3)
    for trial in analysis.trials:
        trial.config = trial.evaluated_params = {
            "array": np.arange(3),
            "empty": "",
            "nan": float("nan"),
            "flag": True,
            "{{ 7 * 7 }}": "{% raw %}\ud800",
            "text": '"><img src=x>',
        }
    path = tmp_path / "report.html"
    write_report(analysis, path)
    text = path.read_text()
    assert "<dt>array</dt><dd>[0 1 2]</dd>" in text
    assert "<dt>empty</dt>" not in text
    assert '<td class="n">nan</td>' in text
    assert "<td>True</td>" in text
    assert "<dt>{{ 7 * 7 }}</dt><dd>{% raw %}\\ud800</dd>" in text
    assert "<dd>&#34;&gt;&lt;img src=x&gt;</dd>" in text
    assert '<td class="n" data-v="1.0">1</td>' in text
    assert not [tag for tag in parse(path).tags if tag == "img"]


@pytest.mark.usefixtures("unrendered")
def test_failures_have_a_column_if_there_are_any(tmp_path: Path) -> None:
    analysis = experiment(tmp_path, 3)
    path = tmp_path / "report.html"
    write_report(analysis, path)
    assert "<th>failures</th>" not in path.read_text()
    analysis.trials[1].num_failures = 2
    write_report(analysis, path)
    assert "<th>failures</th>" in path.read_text()


def test_several_objectives_have_a_pareto_set(tmp_path: Path) -> None:
    one = experiment(tmp_path, 12)
    several = ExperimentAnalysis(
        tmp_path, one.trials, ["loss", "training_iteration"], ["min", "max"]
    )
    path = tmp_path / "report.html"
    write_report(several, path)
    text = path.read_text()
    assert "<h2>Pareto set</h2>" in text
    assert parse(path).tags.count("svg") == 1
    assert "Best trial" not in text
