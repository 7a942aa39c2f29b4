"""What `resume=` asks for, as users write it."""

from __future__ import annotations

import io

import pytest

from prefect_tune.config import ResumeConfig
from prefect_tune.engine.setup.resume_mode import ResumeMode, choose_trials, parse_resume
from prefect_tune.error import InvalidArgument

SKIP, RESUME, RESTART = ResumeConfig.ResumeType.SKIP, "resume", "RESTART"


@pytest.mark.parametrize("resume", [None, False])
def test_a_new_run(resume):
    assert parse_resume(resume) is None
    assert choose_trials(parse_resume(resume), True, "d") is None


@pytest.mark.parametrize(
    ("resume", "place"),
    [
        (True, "LOCAL"),
        ("LOCAL", "LOCAL"),
        ("REMOTE", "REMOTE"),
        ("AUTO", "AUTO"),
        ("PROMPT", "PROMPT"),
    ],
)
def test_where_it_is_looked_for(resume, place):
    assert parse_resume(resume) == ResumeMode(place, ResumeConfig())


@pytest.mark.parametrize("place", ["LOCAL", "REMOTE", "AUTO", "PROMPT"])
@pytest.mark.parametrize(
    ("suffix", "trials"),
    [
        ("ERRORED", ResumeConfig(errored=RESUME)),
        ("ERRORED_ONLY", ResumeConfig(errored=RESUME, unfinished=SKIP)),
        ("RESTART_ERRORED", ResumeConfig(errored=RESTART)),
        ("RESTART_ERRORED_ONLY", ResumeConfig(errored=RESTART, unfinished=SKIP)),
    ],
)
def test_which_trials_run_again(place, suffix, trials):
    assert parse_resume(f"{place}+{suffix}") == ResumeMode(place, trials)


def test_errored_only_resets_failed_trials_and_runs_only_those():
    assert parse_resume("ERRORED_ONLY") == parse_resume("LOCAL+RESTART_ERRORED_ONLY")


def test_a_resume_config_says_it_in_detail():
    config = ResumeConfig(finished=RESTART)
    assert parse_resume("AUTO", config) == ResumeMode("AUTO", config)
    assert parse_resume(None, config) is None
    with pytest.raises(InvalidArgument, match=r"`resume_config`.*says already"):
        parse_resume("AUTO+ERRORED", config)
    with pytest.raises(InvalidArgument, match=r"`resume_config`.*Give a ResumeConfig"):
        parse_resume("AUTO", "errored")  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match=r"`errored`: got 'again'"):
        ResumeConfig(errored="again")


@pytest.mark.parametrize(
    "resume",
    ["LOCALLY", "+NONSENSE", "", "ERRORED", "AUTO+", "AUTO+ERRORED+RESTART_ERRORED", 3, "auto"],
)
def test_what_is_no_mode(resume):
    with pytest.raises(InvalidArgument, match=r"`resume`: got .*It is True, False, one of"):
        parse_resume(resume)


def test_if_there_is_nothing_to_resume():
    for insisting in (True, "LOCAL", "REMOTE", "ERRORED_ONLY"):
        with pytest.raises(InvalidArgument, match="no experiment in /somewhere"):
            choose_trials(parse_resume(insisting), False, "/somewhere")
    for modest in ("AUTO", "PROMPT", "AUTO+ERRORED"):
        assert choose_trials(parse_resume(modest), False, "/somewhere") is None


def test_prompt_asks_if_there_is_something_to_ask_about():
    asked: list[str] = []

    def answer(yes: bool) -> ResumeConfig | None:
        def ask(question: str) -> bool:
            asked.append(question)
            return yes

        return choose_trials(parse_resume("PROMPT+ERRORED"), True, "/somewhere", ask)

    assert answer(True) == ResumeConfig(errored=RESUME)
    assert answer(False) is None
    assert all("/somewhere" in question for question in asked)
    assert len(asked) == 2


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("typed", "resumes"),
    [("\n", True), ("yes\n", True), ("N\n", False), ("what\ny\n", True), ("", False)],
)
def test_what_is_typed_at_the_prompt(monkeypatch, typed, resumes):
    monkeypatch.setattr("sys.stdin", Terminal(typed))
    assert (choose_trials(parse_resume("PROMPT"), True, "d") is not None) is resumes


def test_prompt_without_a_terminal(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    with pytest.raises(InvalidArgument, match=r"needs a terminal.*'AUTO'"):
        choose_trials(parse_resume("PROMPT"), True, "d")
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(InvalidArgument, match="needs a terminal"):
        choose_trials(parse_resume("PROMPT"), True, "d")
