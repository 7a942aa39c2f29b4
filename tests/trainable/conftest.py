"""A trial without a process around it."""

from __future__ import annotations

from pathlib import Path

import pytest

from prefect_tune.experiment.decision import EVERY_RESULT, NEVER, Action
from prefect_tune.trainable.runner import run_attempt
from prefect_tune.trainable.runtime.attempt import Decision
from prefect_tune.trainable.runtime.result_codec import decode_line, decode_report
from tests.attempts import changed, make_context


class FakeAgent:
    """The agent's side of a channel, in memory.

    Attributes:
        log: What the trial sent, in order: ``("result", seq, x)``, ``("checkpoint", seq, name, x)``
            and ``("room", pending)`` when it asked for room.
        answers: Actions that awaited results are answered with, in turn; then CONTINUE.
        gone_after: After so many results the agent is gone.
    """

    is_leaving = False

    def __init__(self, trial_dir: Path) -> None:
        self.trial_dir = trial_dir
        self.log = []
        self.answers: list[Action] = []
        self.gone_after = None
        self.lines = []
        self.announced: list[int] = []
        self.seen = {}
        self._seq = 0

    @property
    def checkpoints(self):
        return [entry[2] for entry in self.log if entry[0] == "checkpoint"]

    @property
    def results(self):
        return [decode_line(decode_report(line)[0]) for line in self.lines]

    def of(self, *kinds):
        return [entry for entry in self.log if entry[0] in kinds]

    def send_result(self, seq, line, awaiting):
        if self.gone_after is not None and len(self.lines) >= self.gone_after:
            raise BrokenPipeError
        self._seq = seq
        self.lines.append(line)
        self.log.append(("result", seq, decode_line(decode_report(line)[0]).get("x")))

    def wait_decision(self):
        action = self.answers.pop(0) if self.answers else Action.CONTINUE
        self.log.append(("wait", self._seq))
        return Decision(self._seq, action, EVERY_RESULT)

    def poll_decision(self):
        return None

    def announce_checkpoint(self, iteration):
        self.announced.append(iteration)

    def send_checkpoint(self, seq, name, line):
        directory = self.trial_dir / name
        assert directory.is_dir(), "it is handed over once it is in place"
        self.seen[name] = directory
        self.log.append(("checkpoint", seq, name, decode_line(decode_report(line)[0]).get("x")))

    def wait_uploaded(self, pending):
        self.log.append(("room", pending))


class FakeTrial:
    """Runs attempts of one trial."""

    def __init__(self, trial_dir: Path) -> None:
        self.dir = trial_dir
        self.agent = FakeAgent(trial_dir)
        self.context = make_context(trial_dir)

    def run(self, trainable, *answers, **changes):
        """Run an attempt; with `answers` it waits at each result and gets them in turn."""
        self.agent.answers = list(answers)
        run_until = EVERY_RESULT if answers else NEVER
        context = changed(self.context, run_until=run_until, **changes)
        return run_attempt(context, trainable, self.agent, own_process=False)

    @property
    def names(self):
        return sorted(path.name for path in self.dir.iterdir())


@pytest.fixture
def trial(tmp_path):
    directory = tmp_path / "trial"
    directory.mkdir()
    return FakeTrial(directory)
