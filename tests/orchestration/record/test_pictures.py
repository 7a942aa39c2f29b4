"""Pictures in the summary of a sweep."""

from __future__ import annotations

import base64
import re

from prefect_tune.experiment.trial import TERMINATED, Trial
from prefect_tune.orchestration.record.pictures import pictures


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
