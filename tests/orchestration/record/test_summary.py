"""What the flow run says of the sweep."""

from __future__ import annotations

import base64
import re

from prefect_tune.experiment.attempt import AttemptError
from prefect_tune.experiment.trial import ERROR, TERMINATED, Trial
from prefect_tune.orchestration.record.summary import pictures, plain, summary, trial_page
from prefect_tune.reporters.progress import Best


def make_trial(number: int, status: str = TERMINATED) -> Trial:
    params = {"lr": 0.5, "op|t_name": "sgd|x\n**bold** `code`"}
    trial = Trial(f"abc_{number}", params, trainable_name="t", evaluated_params=params)
    trial.status = status
    if status == ERROR:
        trial.error = AttemptError("ValueError", "bad <b>luck</b>\nand more")
    return trial


def test_nothing_is_taken_for_markup() -> None:
    trials = [make_trial(0), make_trial(1, ERROR)]
    text = summary("my_exp", "2 trials", Best(trials[0], 0.123456789), "va|l", trials, "/a_b/c*d")
    lines = text.splitlines()
    assert lines[0] == r"# my\_exp"
    assert r"**Best va\|l: 0.123457** (t\_abc\_0)" in lines
    assert "| lr | 0.5 |" in lines
    assert r"| op\|t\_name | sgd\|x \*\*bold\*\* \`code\` |" in lines
    assert r"* t\_abc\_1: ValueError: bad \<b\>luck\</b\> and more" in lines
    assert lines[-1] == r"Results: /a\_b/c\*d"


def test_the_best_trials_lead_to_their_pages() -> None:
    first, second = make_trial(0), make_trial(1, ERROR)
    first.last_result = {"loss": 0.1234567}
    pages = [(first, "http://ui/runs/task-run/1"), (second, None)]
    lines = summary("exp", "2 trials", None, "loss", [], "/a", pages).splitlines()
    assert r"| [t\_abc\_0](http://ui/runs/task-run/1) | 0.123457 | TERMINATED |" in lines
    assert r"| t\_abc\_1 |  | ERROR |" in lines


def test_the_page_of_a_trial_says_what_it_had_and_came_to() -> None:
    trial = make_trial(0)
    for loss in (3.0, 1.0, 2.0):
        result = {"loss": loss, "training_iteration": 1}
        trial.update_last_result(result, result, 0.0)
    end = "Stopped: it ran to max_t=5"
    lines = trial_page(trial, "loss", "s3://bucket/exp", end).splitlines()
    assert lines[0] == r"**Stopped: it ran to max\_t=5**"
    assert "|loss|2.0|1.0|3.0|" in lines
    assert "| lr | 0.5 |" in lines
    assert lines[-1] == f"Directory: {plain(f's3://bucket/exp/{trial.relative_logdir}')}"


def test_so_many_errors_are_named() -> None:
    trials = [make_trial(number, ERROR) for number in range(25)]
    text = summary("exp", "25 trials", None, None, trials, "/a")
    assert text.count("ValueError") == 20
    assert "* and 5 more" in text
    assert "Best" not in text


def test_a_text_stays_on_its_line() -> None:
    assert plain("one\n\ntwo") == "one two"


def trials(count: int) -> list[Trial]:
    made = []
    for number in range(count):
        params = {"x": number / count, "kind": "ab"[number % 2]}
        trial = Trial(f"t_{number}", params, trainable_name="t", evaluated_params=params)
        trial.status = TERMINATED
        result = {"acc": number / count, "training_iteration": 1}
        trial.update_last_result(result, result, 0.0)
        made.append(trial)
    return made


def test_the_pictures_are_in_the_markdown_itself() -> None:
    text = pictures(trials(12), "acc", "max")
    assert re.findall("^## (.*)$", text, re.MULTILINE) == [
        "Learning curves",
        "Parallel coordinates",
        "Importance of parameters",
    ]
    drawn = re.findall(r"!\[.*\]\(data:image/png;base64,(.*)\)", text)
    assert len(drawn) == 3
    for png in drawn:
        assert base64.b64decode(png).startswith(b"\x89PNG")


def test_where_there_is_little_to_see_nothing_is_drawn() -> None:
    assert pictures(trials(3), "acc", "max") == ""
    assert pictures(trials(12), None, None) == ""
    assert pictures(trials(12), "other", "max") == ""
