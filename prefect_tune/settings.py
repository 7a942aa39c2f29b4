"""Settings from the environment, read when a run starts.

Each has Ray Tune's name where there is one (``TUNE_...``) and a twin ``PREFECT_TUNE_...``, which
wins.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AliasChoices, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from prefect_tune.error import InvalidArgument


def _names(*names: str) -> AliasChoices:
    return AliasChoices(*names)


def _twins(name: str) -> AliasChoices:
    return AliasChoices(f"PREFECT_TUNE_{name}", f"TUNE_{name}")


class TuneSettings(BaseSettings):
    """All settings; see the field descriptions."""

    model_config = SettingsConfigDict(extra="ignore", populate_by_name=True, frozen=True)

    orchestrate: bool = Field(
        True,
        validation_alias=_names("PREFECT_TUNE_ORCHESTRATE"),
        description="Record experiments as Prefect flow runs.",
    )
    result_dir: str | None = Field(
        None,
        validation_alias=_twins("RESULT_DIR"),
        description="Where experiment directories are made by default.",
    )
    disable_auto_callback_loggers: bool = Field(
        False,
        validation_alias=_twins("DISABLE_AUTO_CALLBACK_LOGGERS"),
        description="Do not add the CSV, JSON and TensorBoard loggers.",
    )
    disable_strict_metric_checking: bool = Field(
        False,
        validation_alias=_twins("DISABLE_STRICT_METRIC_CHECKING"),
        description="Accept results without the metric.",
    )
    disable_dated_subdir: bool = Field(
        False,
        validation_alias=_twins("DISABLE_DATED_SUBDIR"),
        description="Name experiment directories without the date.",
    )
    disable_sigint_handler: bool = Field(
        False,
        validation_alias=_twins("DISABLE_SIGINT_HANDLER"),
        description="Leave SIGINT alone.",
    )
    disable_auto_init: bool = Field(
        False,
        validation_alias=_twins("DISABLE_AUTO_INIT"),
        description="Never start a local cluster; `tune.init` or `cluster=` is needed.",
    )
    max_pending_trials: int | None = Field(
        None,
        ge=1,
        validation_alias=_names(
            "PREFECT_TUNE_MAX_PENDING_TRIALS",
            "PREFECT_TUNE_MAX_PENDING_TRIALS_PG",
            "TUNE_MAX_PENDING_TRIALS_PG",
        ),
        description="Trials that are made ahead of free slots (1 with a model-based searcher).",
    )
    max_task_runs: int = Field(
        2000,
        ge=0,
        validation_alias=_names("PREFECT_TUNE_MAX_TASK_RUNS"),
        description="Trial attempts beyond this number are not recorded as Prefect task runs.",
    )
    global_checkpoint_s: Annotated[float, Field(ge=0)] | Literal["auto"] = Field(
        "auto",
        validation_alias=_twins("GLOBAL_CHECKPOINT_S"),
        description="Seconds between snapshots of the experiment; auto: >= 10, <= 5 % of time.",
    )
    stop_grace_s: float = Field(
        10.0,
        gt=0,
        validation_alias=_names("PREFECT_TUNE_STOP_GRACE_S"),
        description="Seconds between asking a trial to end and SIGTERM.",
    )
    lease_s: float = Field(
        30.0,
        gt=1,
        validation_alias=_names("PREFECT_TUNE_LEASE_S"),
        description="Seconds after which a node ends its trials if the flow process is silent.",
    )
    heartbeat_s: float = Field(
        15.0,
        ge=0,
        validation_alias=_names("PREFECT_TUNE_HEARTBEAT_S"),
        description="Seconds between a sweep's signs of life in Prefect; 0 sends none.",
    )
    cloud_sync_s: float | None = Field(
        None,
        gt=0,
        validation_alias=_twins("CLOUD_SYNC_S"),
        description="Seconds between copies of results and logs to storage.",
    )
    max_lost: int = Field(
        10,
        ge=0,
        validation_alias=_names("PREFECT_TUNE_MAX_LOST"),
        description="Attempts in a row that may be lost with their node before it is a failure.",
    )
    retry_delay_s: float = Field(
        0.0,
        ge=0,
        validation_alias=_names("PREFECT_TUNE_RETRY_DELAY_S"),
        description="Seconds before a failed trial is tried again; doubled with each failure.",
    )
    start_method: str = Field(
        "auto",
        pattern="^(auto|fork|spawn)$",
        validation_alias=_names("PREFECT_TUNE_START_METHOD"),
        description="How trial processes start: auto, fork or spawn.",
    )
    warn_insufficient_resources_s: float = Field(
        10.0,
        gt=0,
        validation_alias=_names(
            "PREFECT_TUNE_WARN_INSUFFICENT_RESOURCE_THRESHOLD_S",
            "TUNE_WARN_INSUFFICENT_RESOURCE_THRESHOLD_S",
            "PREFECT_TUNE_TRIAL_STARTUP_GRACE_PERIOD",
            "TUNE_TRIAL_STARTUP_GRACE_PERIOD",
        ),
        description="Seconds after which a run says what its waiting trials wait for.",
    )


def load_settings(**overrides: Any) -> TuneSettings:
    """Read the environment now.

    Raises:
        InvalidArgument: If a variable has a value that cannot work; names the variable.
    """
    try:
        return TuneSettings(**overrides)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]) if first["loc"] else "settings"
        raise InvalidArgument(name, f"{first['msg']} (got {first.get('input')!r}).") from error
