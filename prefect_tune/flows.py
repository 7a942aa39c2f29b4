"""Deployable flows.

`tune_experiment` runs one experiment from JSON parameters. Serve it with ``flows/tune.py``, or
deploy it by module path, ``prefect_tune.flows.tune_experiment``, to any work pool whose environment
has this package and the trainable installed.
"""

# Annotations must stay objects: Prefect makes the form of them, and where it loads this file from
# its path, it could not look their names up.
import inspect
import sys
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.blocks.core import Block
from prefect.client.schemas.objects import State
from prefect.exceptions import TerminationSignal
from prefect.runtime import flow_run
from prefect.utilities.collections import visit_collection
from pydantic import TypeAdapter

from prefect_tune.blocks import DaskCluster, TuneStorage
from prefect_tune.error import ExperimentInterrupted
from prefect_tune.orchestration.control.current_flow import current_flow_is_experiment
from prefect_tune.orchestration.control.sigterm import announced
from prefect_tune.orchestration.record.sweep_result import SweepResult as SweepResult
from prefect_tune.orchestration.spec import ExperimentSpec


def _run_experiment(**parameters: Any) -> State[Any]:
    _leave_to_users_modules()
    spec = ExperimentSpec.parse(visit_collection(parameters, _load_block, return_data=True))
    arguments = spec.run_arguments(now=flow_run.scheduled_start_time)
    from prefect_tune import run

    with current_flow_is_experiment() as experiment:
        try:
            run(**arguments, raise_on_failed_trial=False, orchestrate=True)
        except (TerminationSignal, ExperimentInterrupted):
            # The sweep has ended in order already; its state says so better than a crash would.
            # What the supervisor has announced, to cancel or to run it elsewhere, it does itself.
            if experiment.final_state is None or announced() is not None:
                raise
    if experiment.final_state is None:
        raise RuntimeError("the experiment was not recorded")
    return experiment.final_state


def _form() -> inspect.Signature:
    """Make the flow's parameters, and so its form, of the fields of `ExperimentSpec`."""
    kinds: dict[str, Any] = {
        "storage": TuneStorage | str | None,
        "cluster": DaskCluster | str | None,
    }
    parameters = []
    for name, field in ExperimentSpec.model_fields.items():
        kind = kinds.get(name, field.rebuild_annotation())
        default = inspect.Parameter.empty
        if not field.is_required():
            default = TypeAdapter(kind).validate_python(field.default)
        parameters.append(
            inspect.Parameter(
                name, inspect.Parameter.KEYWORD_ONLY, annotation=kind, default=default
            )
        )
    return inspect.Signature(parameters)


def _docstring() -> str:
    """Describe the parameters: Prefect takes the form's help texts from the flow's docstring."""
    fields = ExperimentSpec.model_fields.items()
    arguments = "\n".join(f"    {name}: {field.description}" for name, field in fields)
    return f"""Tune the hyper-parameters of a trainable; this flow run is the experiment.

Args:
{arguments}

Returns:
    A `SweepResult`: best trial, configuration and metrics, and where everything is.

Raises:
    InvalidArgument: If a parameter cannot work; names it.
"""


def _load_block(value: Any) -> Any:
    """Load the block that a form's picker has chosen."""
    if isinstance(value, dict) and "$ref" in value:
        return Block.load_from_ref(value["$ref"], _sync=True)  # type: ignore[call-arg]
    return value


_run_experiment.__doc__ = _docstring()
_run_experiment.__signature__ = _form()  # type: ignore[attr-defined]
#: The deployable flow; its parameters are the fields of
#: `prefect_tune.orchestration.spec.ExperimentSpec`.
tune_experiment = flow(
    name="tune-experiment",
    description="Tune the hyper-parameters of a trainable.",
    # `ExperimentSpec` does, and its errors say in one line which parameter is wrong.
    validate_parameters=False,
    # Small and plain: `run_deployment(...).state.result()` is to have it.
    persist_result=True,
    result_serializer="json",
)(_run_experiment)


def _leave_to_users_modules() -> None:
    """Take this directory off the import path.

    Prefect puts it there, first of all, when it loads this file from its path. Our `config`,
    `utils` or `search` would be found instead of the modules of these names that the user's import.
    """
    here = str(Path(__file__).resolve().parent)
    sys.path[:] = [path for path in sys.path if path != here]
