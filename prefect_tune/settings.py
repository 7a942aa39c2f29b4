"""The settings of the package: environment variables, read when a run starts.

Each setting has a variable ``PREFECT_TUNE_...``, and Ray Tune's variable (``TUNE_...``) if there is
one; the first wins. Empty variables count as not set.
"""

from __future__ import annotations

import difflib
import os
import warnings
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, AliasGenerator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from prefect_tune._ray.without_effect import warn_about_ray_variables
from prefect_tune.error import InvalidArgument
from prefect_tune.trainable.runtime.environment import (
    CHANGE_DIRECTORY,
    FULL_TRACEBACKS,
    PRINT_ERRORS,
)

_PREFIX = "PREFECT_TUNE_"
#: Variables that the agent on each node reads from its own environment.
NODE_VARIABLES = {
    "PREFECT_TUNE_SHARED_DIRECTORY": (
        "0 on a node: it does not share the experiment directory, even if it looks so."
    ),
}


#: Settings that Ray Tune has too, by the same name behind ``TUNE_``.
_RAY_HAS = frozenset(
    (
        "result_dir disable_dated_subdir max_len_identifier disable_auto_init "
        "disable_auto_callback_loggers disable_strict_metric_checking print_all_trial_errors "
        "warn_threshold_s disable_resource_checks force_trial_cleanup_s disable_sigint_handler "
        "global_checkpoint_s cloud_sync_s disable_auto_callback_syncer"
    ).split()
)


def _aliases(name: str, *others: str, prefix: str = "TUNE_") -> AliasChoices:
    names = (name, *others)
    return AliasChoices(*(first + n for n in names for first in (_PREFIX, prefix)))


def _variables(field: str) -> AliasChoices:
    name = field.upper()
    return _aliases(name) if field in _RAY_HAS else AliasChoices(_PREFIX + name)


class TuneSettings(BaseSettings):
    """The settings in force; each field's description says what it does."""

    model_config = SettingsConfigDict(
        extra="ignore",
        populate_by_name=True,
        frozen=True,
        env_ignore_empty=True,
        alias_generator=AliasGenerator(validation_alias=_variables),
    )

    # -- where and what --------------------------------------------------------------------------

    orchestrate: bool = Field(True, description="Record experiments as Prefect flow runs.")
    max_task_runs: int = Field(
        2000,
        ge=0,
        description="Trial attempts beyond this number are not recorded as Prefect task runs.",
    )
    failed_share: float = Field(
        1.0,
        ge=0,
        le=1,
        description="A sweep's flow run ends as Failed if more than this share of its trials "
        "failed; it does in any case if all did.",
    )
    heartbeat_s: float = Field(
        15.0, ge=0, description="Seconds between a sweep's signs of life in Prefect; 0 sends none."
    )
    result_dir: str | None = Field(
        None,
        description="Where experiment directories are made by default: `~/prefect_tune_results`.",
    )
    disable_dated_subdir: bool = Field(
        False, description="Name experiment directories without the date."
    )
    max_len_identifier: int = Field(
        130, ge=0, description="Characters of a trial directory's name, before its date."
    )
    chdir_to_trial_dir: bool = Field(
        True,
        validation_alias=_aliases("CHDIR_TO_TRIAL_DIR", prefix="RAY_"),
        description="Trial processes work in the trial's directory; the one that they started in "
        "is in `TUNE_ORIG_WORKING_DIR`.",
    )
    disable_auto_init: bool = Field(
        False, description="Never start a local cluster; `tune.init` or `cluster=` is needed."
    )

    raise_on_interrupt: bool = Field(
        True,
        description="Raise `ExperimentInterrupted` when a sweep was ended by Ctrl-C or a signal; 0 "
        "returns the results so far, as Ray Tune does.",
    )

    # -- results and logs --------------------------------------------------------------------------

    disable_auto_callback_loggers: bool = Field(
        False, description="Do not add the CSV, JSON and TensorBoard loggers."
    )
    disable_strict_metric_checking: bool = Field(
        False, description="Accept results without the metric."
    )
    full_tracebacks: bool = Field(
        False,
        validation_alias=_aliases("FULL_TRACEBACKS", prefix="RAY_AIR_"),
        description="Show prefect_tune's own frames in the tracebacks of trials, too.",
    )
    print_all_trial_errors: bool = Field(
        True,
        description="Print the traceback of each failure where the trial prints; it is in its "
        "`error.txt` anyway.",
    )
    result_delimiter: str = Field(
        "/",
        min_length=1,
        validation_alias=_aliases("RESULT_DELIM"),
        description="Joins the parts of nested names in `results_df` and `best_result_df`; files "
        "and metrics that are asked for always have a slash.",
    )
    warn_threshold_s: float = Field(
        0.5,
        ge=0,
        description="Seconds after which a warning says that callbacks, or scheduler and stopper, "
        "delay the sweep; each is warned about once. 0 never warns.",
    )

    log_callback_errors: bool = Field(
        False,
        description="Log what callbacks and loggers raise, with the callback and the hook, and go "
        "on; without it, the sweep ends in order with an error.",
    )
    log_to_driver: bool = Field(
        True,
        description="Show what trials print on the console of the sweep, behind `(NAME pid=PID)`; "
        "`verbose=0` never does.",
    )
    task_run_logs: bool = Field(
        False, description="Put what trials print into the Prefect logs of their task runs, too."
    )

    # -- starting and stopping trials --------------------------------------------------------------

    max_pending_trials: Annotated[int, Field(ge=1)] | Literal["auto"] = Field(
        "auto",
        validation_alias=AliasChoices(
            "PREFECT_TUNE_MAX_PENDING_TRIALS",
            "PREFECT_TUNE_MAX_PENDING_TRIALS_PG",
            "TUNE_MAX_PENDING_TRIALS_PG",
        ),
        description="Trials that are made ahead of free slots; auto leaves it to the search "
        "(1 with a model-based searcher).",
    )
    start_method: Literal["auto", "fork", "spawn"] = Field(
        "auto", description="How trial processes start: auto, fork or spawn."
    )
    disable_resource_checks: bool = Field(
        False,
        description="Wait for nodes that may come if no node has what a trial asks for; without "
        "it, that is an error.",
    )
    warn_insufficient_resources_s: float = Field(
        10.0,
        ge=0,
        validation_alias=_aliases(
            "WARN_INSUFFICENT_RESOURCE_THRESHOLD_S",
            "WARN_INSUFFICENT_RESOURCE_THRESHOLD_S_AUTOSCALER",
            "TRIAL_STARTUP_GRACE_PERIOD",
        ),
        description="Seconds after which a run says what its waiting trials wait for.",
    )
    wait_for_workers_s: float = Field(
        600.0,
        ge=0,
        description="Seconds that a sweep waits for the first worker of its Dask cluster before it "
        "gives up; 0 waits for ever.",
    )
    stop_grace_s: float = Field(
        10.0,
        gt=0,
        description="Seconds between asking a trial to end and SIGTERM, where it is ended by "
        "force: when the sweep is interrupted, and at its time limit. SIGKILL follows after 5 "
        "more.",
    )
    stop_patience_s: float = Field(
        60.0,
        ge=0,
        description="Seconds that trials may take to their next report when the experiment is "
        "over (`time_budget_s`, `stop_all`, `fail_fast`, a stop by request) before they are ended "
        "by force; 0 waits for ever.",
    )
    force_trial_cleanup_s: float = Field(
        600.0,
        ge=0,
        description="Seconds that a trial which was stopped at a report may take to clean up "
        "before it is ended by force; 0 waits for ever.",
    )

    gpu_memory_guard: bool = Field(
        False,
        description="End a trial that has a fraction of a GPU and uses more than this fraction of "
        "its memory. Needs nvidia-ml-py, and frameworks that do not take all memory at once.",
    )

    # -- when things go wrong ----------------------------------------------------------------------

    disable_sigint_handler: bool = Field(False, description="Leave SIGINT alone.")
    max_lost: int = Field(
        10,
        ge=0,
        description="Attempts in a row that may be lost with their node before it is a failure.",
    )
    count_preemption_as_failure: bool = Field(
        False,
        validation_alias=_aliases("COUNT_PREEMPTION_AS_FAILURE", prefix="RAY_TRAIN_"),
        description="Count each attempt that is lost with its node as a failure of its trial.",
    )
    preemption_grace_s: float = Field(
        20.0,
        ge=0,
        description="Seconds that trials have for a checkpoint when their Dask worker gets SIGTERM "
        "or is retired.",
    )
    retry_delay_s: float = Field(
        0.0,
        ge=0,
        description="Seconds before a failed trial is tried again; doubled with each failure.",
    )
    lease_s: float = Field(
        30.0,
        gt=1,
        description="Seconds after which a node ends its trials if the flow process is silent.",
    )

    # -- storage -----------------------------------------------------------------------------------

    global_checkpoint_s: Annotated[float, Field(ge=0)] | Literal["auto"] = Field(
        "auto",
        description="Seconds between snapshots of the experiment; auto: >= 10, <= 5 % of time.",
    )
    cloud_sync_s: float | None = Field(
        None, ge=0, description="Seconds between copies of results and logs to storage; at least 1."
    )
    disable_auto_callback_syncer: bool = Field(
        False,
        description="Do not fetch what trials write on nodes that do not share the experiment "
        "directory; as `SyncConfig(sync_to_driver=False)`.",
    )
    signing_key: SecretStr | None = Field(
        None,
        description="The secret that signs what a resume loads as a pickle, at least 16 "
        "characters; machines that go on with each other's experiments need the same. Without it, "
        "each user has a key in `~/.config/prefect_tune/signing_key`.",
    )
    trust_pickles: bool = Field(
        False,
        description="Load pickles of experiments although they are not signed with this user's "
        "key. Then anyone who can write to the experiment's directory or bucket can run code here.",
    )

    @property
    def lookahead(self) -> int | None:
        """How many trials are created ahead of free slots; None leaves it to the search."""
        return None if self.max_pending_trials == "auto" else self.max_pending_trials

    @property
    def lost_before_failure(self) -> int:
        """How many attempts of a trial in a row may be lost with their nodes without a failure."""
        return 0 if self.count_preemption_as_failure else self.max_lost

    def trial_variables(self, chdir_to_trial_dir: bool | None = None) -> dict[str, str]:
        """Return the environment variables that hand settings to trial processes.

        Args:
            chdir_to_trial_dir: The value in the user's `TuneConfig`; None takes the setting.
        """
        chdir = self.chdir_to_trial_dir if chdir_to_trial_dir is None else chdir_to_trial_dir
        variables = {CHANGE_DIRECTORY: str(int(chdir))}
        if self.full_tracebacks:
            variables[FULL_TRACEBACKS] = "1"
        if not self.print_all_trial_errors:
            variables[PRINT_ERRORS] = "0"
        return variables


def variables_of(field: str) -> tuple[str, ...]:
    """Return the environment variables of a setting, the one that wins first."""
    alias = TuneSettings.model_fields[field].validation_alias
    if not isinstance(alias, AliasChoices):
        raise TypeError(f"{field} has no list of names")
    return tuple(str(choice) for choice in alias.choices)


def load_settings(**overrides: Any) -> TuneSettings:
    """Read the settings from the environment; warn once of each variable without effect.

    Raises:
        InvalidArgument: If a variable has a wrong value; the message names it.
    """
    for message in _misspelling_warnings(os.environ):
        warnings.warn(message, UserWarning, stacklevel=2)
    warn_about_ray_variables(os.environ)
    try:
        return TuneSettings(**overrides)
    except ValidationError as error:
        first = error.errors()[0]
        name, value = _variable_in_use(str(first["loc"][0])), first.get("input")
        raise InvalidArgument(name, f"got {value!r}.", f"{first['msg']}.") from error


def _variable_in_use(first_name: str) -> str:
    """Return the variable that holds a setting in the environment, for an error message."""
    for field in TuneSettings.model_fields:
        names = variables_of(field)
        if first_name == names[0]:
            return next((name for name in names if os.environ.get(name)), first_name)
    return first_name


def _misspelling_warnings(environ: Mapping[str, str]) -> Iterator[str]:
    """Return a warning for each variable with our prefix that is no setting but similar to one."""
    known = {name for field in TuneSettings.model_fields for name in variables_of(field)}
    known |= NODE_VARIABLES.keys()
    for name in environ:
        if name.startswith(_PREFIX) and name not in known:
            similar = difflib.get_close_matches(name, known, n=1, cutoff=0.85)
            if similar:
                yield (
                    f"There is no setting {name}, so this environment variable has no effect. "
                    f"Did you mean {similar[0]}?"
                )
