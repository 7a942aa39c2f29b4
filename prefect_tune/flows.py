"""The Prefect flows that users deploy.

`tune_experiment` runs one experiment, `recurring_sweep` the next sweep of a series, and
`control_sweep` controls a running sweep. Serve them with the scripts in ``flows/``, or deploy them
by module path, ``prefect_tune.flows.tune_experiment``, to any work pool whose environment has this
package and the trainable installed.
"""

# No `from __future__ import annotations` here: Prefect makes the form from the annotations, and
# cannot evaluate strings if it loads this file from its path.
import inspect
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

from prefect import Flow, flow
from prefect.blocks.core import Block
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.exceptions import TerminationSignal
from prefect.runtime import flow_run
from prefect.states import Completed
from prefect.utilities.collections import visit_collection
from pydantic import TypeAdapter

from prefect_tune.blocks import DaskCluster, ExperimentDefaults, TuneStorage
from prefect_tune.error import ExperimentInterrupted
from prefect_tune.orchestration import recurring
from prefect_tune.orchestration.control.current_flow import current_flow_is_experiment
from prefect_tune.orchestration.control_form import Action, Pause
from prefect_tune.orchestration.logs import run_log
from prefect_tune.orchestration.prefect_internals import announced_intent
from prefect_tune.orchestration.record.sweep_result import SweepResult as SweepResult
from prefect_tune.orchestration.recurring import RecurringSpec
from prefect_tune.orchestration.spec.experiment import ExperimentSpec
from prefect_tune.orchestration.spec.form import UnsentNull


def _run_experiment(**parameters: Any) -> State[Any]:
    _leave_to_users_modules()
    return _run(ExperimentSpec.parse(visit_collection(parameters, _load_block, return_data=True)))


def _run_recurring(**parameters: Any) -> State[Any]:
    _leave_to_users_modules()
    spec = RecurringSpec.parse(visit_collection(parameters, _load_block, return_data=True))
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        raise RuntimeError("it is called in a flow run")
    run, series = context.flow_run, recurring.load_series(spec.series)
    fingerprint = recurring.fingerprint_of(spec.data)
    others = recurring.unfinished_runs(run)
    if reason := recurring.why_to_skip(spec, series, run, others, fingerprint):
        run_log().info("No sweep: %s.", reason)
        return Completed(name="Skipped", message=f"No sweep: {reason}")
    state = _run(spec.next_sweep(series))
    result = state.data
    if state.is_completed() and isinstance(result, SweepResult) and result.best_trial is not None:
        verdict = recurring.judge_and_announce(spec, series, result, fingerprint)
        state.message = f"{verdict}; {state.message}"
    return state


def _run(spec: ExperimentSpec) -> State[Any]:
    """Run the experiment of a spec in the surrounding flow run, and return its final state."""
    begun = flow_run.run_count > 1
    arguments = spec.run_arguments(now=flow_run.scheduled_start_time, begun=begun)
    from prefect_tune import run

    with current_flow_is_experiment() as experiment:
        try:
            run(**arguments, raise_on_failed_trial=False, orchestrate=True)
        except (TerminationSignal, ExperimentInterrupted):
            # The sweep has ended in order and set a final state, so the flow run must not crash.
            # If the supervisor has announced that it ends the run, it sets the state itself.
            if experiment.final_state is None or announced_intent() is not None:
                raise
    if experiment.final_state is None:
        raise RuntimeError("the experiment was not recorded")
    return experiment.final_state


def _form(spec: type[ExperimentSpec], *, without: Sequence[str] = ()) -> inspect.Signature:
    """Return a flow signature whose parameters, and so the form's fields, are those of a spec."""
    kinds: dict[str, Any] = {
        "storage": TuneStorage | str | None,
        "cluster": DaskCluster | str | None,
        "defaults": ExperimentDefaults | str | None,
    }
    parameters = []
    for name, field in spec.model_fields.items():
        if name in without:
            continue
        kind = kinds.get(name, field.rebuild_annotation())
        default = inspect.Parameter.empty
        if not field.is_required():
            # JSON data, because `Flow.serve` pickles the flow, and model classes made here would
            # be pickled with it.
            adapter: TypeAdapter[Any] = TypeAdapter(kind)
            default = adapter.dump_python(adapter.validate_python(field.default), mode="json")
        parameters.append(
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                annotation=Annotated[kind, UnsentNull()],
                default=default,
            )
        )
    return inspect.Signature(parameters)


def _docstring(what: str, spec: type[ExperimentSpec]) -> str:
    """Return a flow's docstring with all parameters: Prefect shows these texts in the form."""
    fields = spec.model_fields.items()
    arguments = "\n".join(f"    {name}: {field.description}" for name, field in fields)
    return f"""{what}

Args:
{arguments}

Returns:
    A `SweepResult`: best trial, its configuration and metrics, and where the results are.

Raises:
    InvalidArgument: If a parameter has a wrong value; the message names it.
"""


def _load_block(value: Any) -> Any:
    """Load the block that a user has picked in the form; return other values unchanged."""
    if isinstance(value, dict) and "$ref" in value:
        return Block.load_from_ref(value["$ref"], _sync=True)  # type: ignore[call-arg]
    return value


def _deployable(
    function: Callable[..., State[Any]],
    name: str,
    what: str,
    spec: type[ExperimentSpec],
    *,
    without: Sequence[str] = (),
) -> Flow[..., State[Any]]:
    # A deployment finds the flow again by the name of its function.
    function.__name__ = function.__qualname__ = name.replace("-", "_")
    function.__doc__ = _docstring(what, spec)
    function.__signature__ = _form(spec, without=without)  # type: ignore[attr-defined]
    return flow(
        name=name,
        description=what.partition("\n")[0],
        # The spec validates them, and its errors say in one line which parameter is wrong.
        validate_parameters=False,
        # Stored as JSON so that `run_deployment(...).state.result()` can return it anywhere.
        persist_result=True,
        result_serializer="json",
    )(function)


#: The deployable flow; its parameters are the fields of
#: `prefect_tune.orchestration.spec.experiment.ExperimentSpec`.
tune_experiment = _deployable(
    _run_experiment,
    "tune-experiment",
    "Tune the hyper-parameters of a trainable; this flow run is the experiment.",
    ExperimentSpec,
)
#: The flow of sweeps that recur; its parameters are the fields of
#: `prefect_tune.orchestration.recurring.RecurringSpec`.
recurring_sweep = _deployable(
    _run_recurring,
    "recurring-sweep",
    "Tune the hyper-parameters of a trainable again and again, each time from the best before.",
    RecurringSpec,
    without=["continue_from"],
)


_PAUSE = Pause()


@flow(name="control-sweep", description="Control a sweep that runs.")
def control_sweep(experiment: str, action: Action = _PAUSE) -> State[str]:
    """Control a sweep that runs.

    Args:
        experiment: Id of the sweep's flow run, or the experiment's directory or URL.
        action: What to do with the sweep.

    Returns:
        A description of what was done.

    Raises:
        TuneError: If the sweep does not run, or refuses the action.
    """
    done = action.ask(experiment)
    run_log().info("%s: %s.", experiment, done)
    return Completed(message=done, data=done)


def _leave_to_users_modules() -> None:
    """Remove this package's directory from the import path.

    Prefect puts it in front when it loads this file from its path. Our `config` or `search` would
    then be imported instead of the user's modules of the same names.
    """
    here = str(Path(__file__).resolve().parent)
    sys.path[:] = [path for path in sys.path if path != here]
