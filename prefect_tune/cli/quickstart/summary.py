"""Print the introduction before and the summary after the sweep."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from prefect_tune.experiment.trial import ERROR, TERMINATED, Trial

if TYPE_CHECKING:
    from prefect_tune.cli.quickstart.sweep import SweepOptions

_LABEL_WIDTH = 22
_LOCAL_SERVER = "http://127.0.0.1:4200"


@dataclass(frozen=True)
class Effort:
    """The amount of training in the finished trials of the sweep.

    Attributes:
        trials: Finished trials.
        epochs: Epochs of all finished trials together.
        epochs_without_stopping: Epochs of the same trials without early stopping.
        stopped_early: Trials that ended before their last epoch.
        failed: Trials that ended in an error.
    """

    trials: int
    epochs: int
    epochs_without_stopping: int
    stopped_early: int
    failed: int

    @classmethod
    def of(cls, trials: Sequence[Trial], epochs_each: int) -> Effort:
        """Count the epochs of trials whose most epochs are `epochs_each`.

        Trials that an interruption left unfinished do not count, since they were not stopped early.
        """
        finished = [trial for trial in trials if trial.status in (TERMINATED, ERROR)]
        trained = [int(trial.last_result.get("training_iteration", 0)) for trial in finished]
        failed = [trial.status == ERROR for trial in finished]
        return cls(
            trials=len(finished),
            epochs=sum(trained),
            epochs_without_stopping=len(finished) * epochs_each,
            stopped_early=sum(
                epochs < epochs_each and not error
                for epochs, error in zip(trained, failed, strict=True)
            ),
            failed=sum(failed),
        )

    @property
    def saved(self) -> float:
        """Share of the epochs that were not trained, 0 to 1."""
        return 1 - self.epochs / max(self.epochs_without_stopping, 1)


@dataclass(frozen=True)
class Outcome:
    """The values in the summary.

    Attributes:
        trial_name: Name of the best trial.
        config: The best trial's searched hyperparameters.
        best_epochs: The best trial's number of epochs.
        validation_accuracy: The best trial's last accuracy on the validation part, 0 to 1.
        test_accuracy: Accuracy of the refitted network on the test part, 0 to 1.
        test_images: Size of the test part.
        trials_wanted: Number of trials requested; an interrupted sweep finishes fewer.
        effort: The amount of training in the sweep.
        experiment_path: Directory of the results.
        plot_path: Path of the picture, None without one.
        flow_run_id: Id of the sweep's Prefect flow run, None without Prefect.
        flow_run_url: URL of the flow run, None if the Prefect server ends with this process.
    """

    trial_name: str
    config: dict[str, Any]
    best_epochs: int
    validation_accuracy: float
    test_accuracy: float
    test_images: int
    trials_wanted: int
    effort: Effort
    experiment_path: str
    plot_path: str | None
    flow_run_id: str | None
    flow_run_url: str | None

    @property
    def interrupted(self) -> bool:
        """True if the sweep ended before all of its trials had."""
        return self.effort.trials < self.trials_wanted


def print_introduction(options: SweepOptions, console: Console) -> None:
    """Print what the sweep will do."""
    console.print(
        "Tuning a small neural network that reads handwritten digits.\n"
        f"{_count(options.trials, 'trial')} of at most {_count(options.epochs, 'epoch')}; "
        "ASHA stops the weak ones early.\n",
        highlight=False,
    )


def print_summary(outcome: Outcome, console: Console) -> None:
    """Print the outcome of the sweep; plain text if `console` is not a terminal."""
    console.print()
    for line in (
        *_best(outcome),
        Text(),
        *_scores(outcome),
        Text(),
        *_links(outcome),
    ):
        console.print(line, soft_wrap=True)


def _best(outcome: Outcome) -> Iterable[Text]:
    yield Text("Best configuration", style="bold")
    for name, value in outcome.config.items():
        yield _line(name, f"{value:.4g}" if isinstance(value, float) else str(value))


def _scores(outcome: Outcome) -> Iterable[Text]:
    right = round(outcome.test_accuracy * outcome.test_images)
    effort = outcome.effort
    yield Text("Scores", style="bold")
    if outcome.interrupted:
        yield _line("interrupted after", f"{effort.trials:,} of {outcome.trials_wanted:,} trials")
    yield _line(
        "validation accuracy",
        f"{outcome.validation_accuracy:.1%}",
        f"after {_count(outcome.best_epochs, 'epoch')}, trial {outcome.trial_name}",
    )
    yield _line(
        "test accuracy",
        f"{outcome.test_accuracy:.1%}",
        f"{right} of {outcome.test_images} unseen digits, refitted with the validation data",
        emphasised=True,
    )
    if effort.trials:
        yield _line(
            "early stopping saved",
            f"{effort.saved:.0%}",
            f"{effort.epochs:,} epochs instead of {effort.epochs_without_stopping:,}, "
            f"{_count(effort.stopped_early, 'trial')} stopped",
        )
    if effort.failed:
        yield _line("failed", _count(effort.failed, "trial"), "see error.txt in their directories")


def _links(outcome: Outcome) -> Iterable[Text]:
    path = outcome.experiment_path
    yield Text("Where to look", style="bold")
    yield _line("results", path)
    if outcome.plot_path is not None:
        yield _line("picture", outcome.plot_path)
    yield _line("report", f"{_command('prefect-tune')} report {shlex.quote(path)}")
    board = _command("tensorboard")
    hint = "" if shutil.which(board) else "after pip install tensorboard"
    yield _line("TensorBoard", f"{board} --logdir {shlex.quote(path)}", hint)
    if outcome.flow_run_url is not None:
        yield _line("Prefect", outcome.flow_run_url)
    elif outcome.flow_run_id is not None:
        yield _line("Prefect", f"{_command('prefect')} server start", ", then open")
        yield _line("", f"{_LOCAL_SERVER}/runs/flow-run/{outcome.flow_run_id}")


def _command(name: str) -> str:
    """Return a command's name, or its path if it is installed beside Python outside of PATH."""
    here = os.path.relpath(os.path.join(os.path.dirname(sys.executable), name))
    return here if not shutil.which(name) and shutil.which(here) else name


def _line(label: str, value: str, remark: str = "", *, emphasised: bool = False) -> Text:
    line = Text(f"  {label:<{_LABEL_WIDTH}}")
    line.append(value, style="bold green" if emphasised else "cyan")
    if remark:
        line.append(remark if remark.startswith(",") else f"  {remark}", style="dim")
    return line


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
