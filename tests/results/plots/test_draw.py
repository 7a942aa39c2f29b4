"""Pictures of experiments."""

from __future__ import annotations

import math
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.image import imread

from prefect_tune.error import InvalidArgument, TuneError
from prefect_tune.experiment.trial import TERMINATED, Trial
from prefect_tune.logger import JsonLoggerCallback
from prefect_tune.results import ExperimentAnalysis
from prefect_tune.results.plots.draw import draw, plot_experiment
from prefect_tune.results.plots.picture import Plot


def experiment(
    directory: Path, parameters: list[dict[str, Any]], length: int = 4
) -> ExperimentAnalysis:
    logger = JsonLoggerCallback()
    trials = []
    for number, config in enumerate(parameters):
        trial = Trial(
            f"c0ffe_{number:05d}",
            config,
            evaluated_params=config,
            relative_logdir=f"t{number}",
            local_experiment_dir=str(directory),
        )
        trial.status = TERMINATED
        for step in range(1, 2 + number % length):
            result = {"score": math.sin(number + step), "training_iteration": step}
            trial.update_last_result(result, result, 0.0)
            logger.log_trial_result(0, trial, result)
        trials.append(trial)
    logger.on_experiment_end(trials)
    return ExperimentAnalysis(directory, trials)


@pytest.mark.parametrize("num_parameters", [0, 1, 3, 4, 12])
def test_any_number_of_parameters(tmp_path: Path, num_parameters: int) -> None:
    configs = [
        {f"p{index}": 10.0 ** -(number % 5) for index in range(num_parameters)}
        for number in range(20)
    ]
    path = plot_experiment(experiment(tmp_path, configs), "score", "max", tmp_path / "p.png")
    assert path == str(tmp_path / "p.png")
    height, width, _ = imread(path).shape
    assert width >= 1500
    assert height >= 600


def test_any_kind_of_value(tmp_path: Path) -> None:
    odd: list[Any] = [1, "a", None, True, [1, 2], 0.5, {"x": 1}, (3,), -1e30, math.inf]
    configs = [{"odd": value, f"only_{number}": number} for number, value in enumerate(odd)]
    plot_experiment(experiment(tmp_path, configs), "score", "min", tmp_path / "p.png")
    assert (tmp_path / "p.png").stat().st_size > 10_000


def test_one_trial_and_long_curves(tmp_path: Path) -> None:
    analysis = experiment(tmp_path, [{"lr": 0.1}] * 3, length=2)
    logger = JsonLoggerCallback()
    for step in range(5000):
        logger.log_trial_result(0, analysis.trials[0], {"score": step, "training_iteration": step})
    logger.on_experiment_end([])
    plot_experiment(analysis, "score", "max", tmp_path / "p.png")


def test_nothing_to_plot(tmp_path: Path) -> None:
    analysis = experiment(tmp_path, [{"lr": 0.1}])
    with pytest.raises(TuneError, match="'loss'"):
        plot_experiment(analysis, "loss", "max", tmp_path / "p.png")
    with pytest.raises(InvalidArgument, match="mode"):
        plot_experiment(analysis, "score", "best", tmp_path / "p.png")
    assert not (tmp_path / "p.png").exists()


KINDS = ("overview", "curves", "slices", "parallel", "importance", "contours")


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind(tmp_path: Path, kind: str) -> None:
    configs = [{"lr": 10.0 ** -(n % 5), "kind": "abc"[n % 3], "n": n} for n in range(20)]
    analysis = experiment(tmp_path, configs)
    analysis.plot(kind, "score", "max", path=tmp_path / "p.png")
    assert (tmp_path / "p.png").stat().st_size > 3000
    shown = words(analysis.plot(kind, "score", "max", parameters=["lr", "n"]))
    assert any("score" in text for text in shown)
    assert "kind" not in shown


def test_every_kind_of_file(tmp_path: Path) -> None:
    analysis = experiment(tmp_path, [{"lr": 10.0**-n} for n in range(4)])
    for suffix in ("png", "html", "svg", "pdf"):
        analysis.plot("curves", "score", "max", path=tmp_path / f"p.{suffix}")
        assert (tmp_path / f"p.{suffix}").stat().st_size > 3000
    page = (tmp_path / "p.html").read_text()
    assert "<script" not in page
    assert "src=" not in page


@pytest.mark.parametrize("kind", ["overview", "curves", "slices", "parallel", "contours"])
@pytest.mark.parametrize(
    "scores",
    [
        (1.0, 0.5, sys.float_info.max),
        (1.0, -sys.float_info.max, sys.float_info.max),
        (1.0, 1.0000000000000002, 1.0),
        (5e-324, 5e-324, 1e-323),
    ],
)
def test_numbers_at_the_ends_of_what_floats_can_be(scores: tuple[float, ...], kind: str) -> None:
    trials = []
    for number, score in enumerate(scores):
        config = {"a": number, "b": scores[-1 - number]}
        trial = Trial(f"c0ffe_{number:05d}", config, evaluated_params=config)
        trial.update_last_result({"score": score}, {"score": score}, 0.0)
        trials.append(trial)
    assert draw(trials, kind, {"score": "min"}).to_svg()


def test_pareto_and_wrong_arguments(tmp_path: Path) -> None:
    analysis = experiment(tmp_path, [{"lr": 0.1}] * 4)
    metrics = ["score", "training_iteration"]
    plot = analysis.plot("pareto", metrics, ["max", "min"])
    assert "Pareto set (" in plot.to_svg()
    with pytest.raises(InvalidArgument, match="two metrics"):
        analysis.plot("pareto", "score", "max")
    with pytest.raises(InvalidArgument, match=r"kind.*curves"):
        analysis.plot("pie", "score", "max")
    with pytest.raises(InvalidArgument, match=r"parameters.*'nope'"):
        analysis.plot("slices", "score", "max", parameters=["nope"])
    with pytest.raises(InvalidArgument, match=r"\.html"):
        plot.save(tmp_path / "p.gif")
    with pytest.raises(TuneError, match="6 trials"):
        analysis.plot("importance", "score", "max")
    with pytest.raises(TuneError, match="2 searched parameters"):
        analysis.plot("contours", "score", "max")
    with pytest.raises(TuneError, match="no trial went on from another one"):
        analysis.plot("lineage")


class _Reader(RendererAgg):
    """Renderer that notes what would be written, and draws nothing."""

    def __init__(self) -> None:
        super().__init__(1000, 1000, 72)
        self.read: list[str] = []

    def draw_text(self, gc: Any, x: float, y: float, s: str, *_: Any, **__: Any) -> None:
        self.read.append(s)

    def draw_nothing(self, *_: Any, **__: Any) -> None:
        pass

    draw_path = draw_markers = draw_path_collection = draw_quad_mesh = draw_nothing
    draw_image = draw_gouraud_triangles = draw_nothing


def words(picture: Plot) -> list[str]:
    """What is written in a picture; where is left open, as that takes most of the time."""
    picture.figure.set_layout_engine("none")
    reader = _Reader()
    picture.figure.draw(reader)
    return reader.read


def test_a_picture_says_what_is_read_in_it(tmp_path: Path) -> None:
    configs = [{"epochs": n, "price_$us$": "ab"[n % 2]} for n in range(8)]
    picture = experiment(tmp_path, configs).plot("slices", "score", "max")
    written = re.findall(r"<text[^>]*>([^<]*)</text>", picture.to_svg())
    assert set(words(picture)) == set(written)


def test_long_names_keep_their_beginnings_and_their_ends(tmp_path: Path) -> None:
    names = [f"model/{kind}/some_very_long_name_of_a_rate" for kind in "ab"]
    names += [
        "some_very_long_name_of_a_rate_in_stage_1",
        "some_very_long_name_of_a_rate_in_stage_2",
    ]
    configs = [{name: (n * 7 + i) % 20 for i, name in enumerate(names)} for n in range(20)]
    analysis = experiment(tmp_path, configs)
    for kind in ("slices", "parallel", "importance", "contours"):
        written = {text for text in words(analysis.plot(kind, "score", "max")) if "…" in text}
        assert len(written) == 4, f"{kind} has each of the four names: {written}"
        assert all(len(text) <= 36 for text in written)
        assert any(text.startswith("model/a/") for text in written)
        assert any(text.endswith("_2") for text in written)


def test_a_dollar_in_a_name_is_no_formula(tmp_path: Path) -> None:
    configs = [{"price_$us$": f"${n % 2}$ \\frac"} for n in range(8)]
    written = words(experiment(tmp_path, configs).plot("slices", "score", "max"))
    assert "price_$us$" in written
    assert "$1$ \\frac" in written


def test_none_is_a_value(tmp_path: Path) -> None:
    configs = [{"decay": [None, 0.1, 0.2][n % 3], "lr": float(n)} for n in range(12)]
    analysis = experiment(tmp_path, configs)
    for kind in ("slices", "parallel", "contours"):
        assert "None" in words(analysis.plot(kind, "score", "max"))


def test_as_many_parameters_as_there_is_room_for_or_as_are_asked_for(tmp_path: Path) -> None:
    names = [f"p{index:02d}" for index in range(20)]
    configs = [{name: (n * 7 + i) % 20 for i, name in enumerate(names)} for n in range(20)]
    analysis = experiment(tmp_path, configs)
    for kind, most in (("slices", 9), ("parallel", 12), ("contours", 4)):
        assert len(set(names) & set(words(analysis.plot(kind, "score", "max")))) == most
    asked = analysis.plot("slices", "score", "max", parameters=names[:12])
    assert set(names[:12]) <= set(words(asked))


def test_one_iteration_is_one_place(tmp_path: Path) -> None:
    analysis = experiment(tmp_path, [{"lr": 0.1}, {"lr": 0.2}], length=1)
    written = words(analysis.plot("curves", "score", "max"))
    assert "1" in written
    assert "0.960" not in written
    assert not any("ended earlier" in text for text in written)


def test_whole_numbers_have_whole_places(tmp_path: Path) -> None:
    configs = [{"epochs": 1 + n % 4} for n in range(10)]
    written = words(experiment(tmp_path, configs, length=1).plot("slices", "score", "max"))
    assert "1.5" not in written
    assert "2" in written
