"""What the quickstart prints before and after the sweep."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from rich.console import Console
from rich.text import Text

from prefect_tune.coordinator.trial import ERROR

if TYPE_CHECKING:
    from prefect_tune.quickstart.sweep import SweepOptions

_LABEL_WIDTH = 22
_LOCAL_SERVER = "http://127.0.0.1:4200"


class FinishedTrial(Protocol):
    """What the summary needs to know of a trial."""

    status: str
    last_result: dict[str, Any]


@dataclass(frozen=True)
class Effort:
    """How much training the sweep took.

    Attributes:
        epochs: Epochs trained in all trials together.
        epochs_without_stopping: What the same trials would have taken to their last epoch.
        stopped_early: Trials that ended before their last epoch.
        failed: Trials that ended in an error.
    """

    epochs: int
    epochs_without_stopping: int
    stopped_early: int
    failed: int

    @classmethod
    def of(cls, trials: Sequence[FinishedTrial], epochs_each: int) -> Effort:
        """Count the epochs of trials that could have trained `epochs_each` epochs."""
        trained = [int(trial.last_result.get("training_iteration", 0)) for trial in trials]
        failed = [trial.status == ERROR for trial in trials]
        return cls(
            epochs=sum(trained),
            epochs_without_stopping=len(trained) * epochs_each,
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
    """Everything the summary tells.

    Attributes:
        trial_name: Name of the best trial.
        config: Its searched hyper-parameters.
        best_epochs: How many epochs it was trained.
        validation_accuracy: Its last accuracy on the validation part, 0 to 1.
        test_accuracy: Accuracy of the refitted network on the test part, 0 to 1.
        test_images: Size of the test part.
        effort: How much training the sweep took.
        experiment_path: Directory or URL of the results.
        plot_path: The picture, None if none was drawn.
        flow_run_id: Of the sweep's Prefect flow run, None without Prefect.
        flow_run_url: Where to see it now, None if no Prefect server outlives this process.
    """

    trial_name: str
    config: dict[str, Any]
    best_epochs: int
    validation_accuracy: float
    test_accuracy: float
    test_images: int
    effort: Effort
    experiment_path: str
    plot_path: str | None
    flow_run_id: str | None
    flow_run_url: str | None


def print_introduction(options: SweepOptions, console: Console) -> None:
    """Say what is about to happen."""
    console.print(
        f"Training up to {options.trials:,} small neural networks to read handwritten digits, "
        f"at most {options.epochs:,} epochs each. ASHA stops the weak ones early.\n",
        highlight=False,
    )


def print_summary(outcome: Outcome, console: Console) -> None:
    """Tell what came of the sweep; plain text if `console` is not a terminal."""
    console.print()
    for line in (
        *_best(outcome),
        Text(),
        *_scores(outcome),
        Text(),
        *_places(outcome),
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
    yield _line(
        "validation accuracy",
        f"{outcome.validation_accuracy:.1%}",
        f"after {_count(outcome.best_epochs, 'epoch')}, trial {outcome.trial_name}",
    )
    yield _line(
        "test accuracy",
        f"{outcome.test_accuracy:.1%}",
        f"refitted on training and validation data, reads {right} of {outcome.test_images} "
        "digits it never saw",
        emphasised=True,
    )
    yield _line(
        "early stopping saved",
        f"{effort.saved:.0%}",
        f"of the epochs: {effort.epochs:,} trained instead of "
        f"{effort.epochs_without_stopping:,}, {_count(effort.stopped_early, 'trial')} ended early",
    )
    if effort.failed:
        yield _line("failed", _count(effort.failed, "trial"), "see error.txt in their directories")


def _places(outcome: Outcome) -> Iterable[Text]:
    path = outcome.experiment_path
    yield Text("Where to look", style="bold")
    yield _line("results", path, "(a directory per trial: progress.csv, result.json)")
    if outcome.plot_path is not None:
        yield _line("picture", outcome.plot_path)
    yield _line("TensorBoard", f"tensorboard --logdir {shlex.quote(path)}")
    if outcome.flow_run_url is not None:
        yield _line("Prefect", outcome.flow_run_url)
    elif outcome.flow_run_id is not None:
        yield _line("Prefect", "prefect server start", ", then open")
        yield _line("", f"{_LOCAL_SERVER}/runs/flow-run/{outcome.flow_run_id}")


def _line(label: str, value: str, remark: str = "", *, emphasised: bool = False) -> Text:
    line = Text(f"  {label:<{_LABEL_WIDTH}}")
    line.append(value, style="bold green" if emphasised else "cyan")
    if remark:
        line.append(remark if remark.startswith(",") else f"  {remark}", style="dim")
    return line


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
