"""Run the quickstart: sweep, refit, picture, summary."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from prefect_tune.cli.quickstart.model import load_data, refit
from prefect_tune.cli.quickstart.summary import Effort, Outcome, print_introduction, print_summary
from prefect_tune.cli.quickstart.sweep import METRIC, MODE, SweepOptions, run_sweep, search_space
from prefect_tune.error import ExperimentInterrupted, TuneError

if TYPE_CHECKING:
    from prefect_tune.results import ExperimentAnalysis

PICTURE = "quickstart.png"


def run(options: SweepOptions, console: Console | None = None) -> Outcome:
    """Run the sweep, evaluate its best network on the test data, and print a summary.

    Args:
        options: The options of the command.
        console: The console to print on; None is standard output.

    Returns:
        The values in the summary.

    Raises:
        prefect_tune.TuneError: If the options cannot work or no network could be trained.
    """
    console = console or Console()
    print_introduction(options, console)
    try:
        analysis = run_sweep(options)
    except ExperimentInterrupted as error:
        analysis = error.analysis
    outcome = conclude(analysis, options)
    print_summary(outcome, console)
    return outcome


def conclude(analysis: ExperimentAnalysis, options: SweepOptions) -> Outcome:
    """Refit the best network, draw the picture and collect the values of the summary.

    Raises:
        prefect_tune.TuneError: If no trial reported an accuracy.
    """
    effort = Effort.of(analysis.trials, options.epochs)
    best = analysis.best_trial
    if best is None:
        where = f"no network was trained; see {analysis.experiment_path}"
        raise TuneError(where) if effort.failed else ExperimentInterrupted(where)
    epochs = best.last_result["training_iteration"]
    test = refit(best.config, epochs)
    return Outcome(
        trial_name=str(best),
        config={name: best.config[name] for name in search_space()},
        best_epochs=epochs,
        validation_accuracy=best.last_result[METRIC],
        test_accuracy=test[METRIC],
        test_images=len(load_data().test),
        trials_wanted=options.trials,
        effort=effort,
        experiment_path=analysis.experiment_path,
        plot_path=_draw(analysis),
        flow_run_id=analysis.flow_run_id,
        flow_run_url=_lasting_url(analysis),
    )


def _draw(analysis: ExperimentAnalysis) -> str | None:
    """Draw the picture into the experiment directory; None without matplotlib."""
    if importlib.util.find_spec("matplotlib") is None:
        return None
    from prefect_tune.results.plots.draw import plot_experiment

    return plot_experiment(analysis, METRIC, MODE, Path(analysis.experiment_path) / PICTURE)


def _lasting_url(analysis: ExperimentAnalysis) -> str | None:
    """Return the URL of the flow run, None if its server ends with this process."""
    if analysis.flow_run_url is None:
        return None
    # Imported here, because the quickstart must work without Prefect.
    from prefect_tune.orchestration.server.api import start_server_early

    return None if start_server_early().embedded else analysis.flow_run_url
