"""Settings from the environment."""

from __future__ import annotations

import warnings

import pytest

from prefect_tune._ray import without_effect
from prefect_tune.error import InvalidArgument
from prefect_tune.settings import TuneSettings, load_settings, variables_of

#: Every variable of Ray Tune's guide, and of its versions 1.6 to 2.60 besides, with a value.
OF_RAY = {
    "TUNE_CLUSTER_SSH_KEY": "~/key",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_AUTO_CALLBACK_SYNCER": "1",
    "TUNE_DISABLE_AUTO_INIT": "1",
    "TUNE_DISABLE_DATED_SUBDIR": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_FUNCTION_THREAD_TIMEOUT_S": "3",
    "TUNE_GLOBAL_CHECKPOINT_S": "12",
    "TUNE_MAX_LEN_IDENTIFIER": "40",
    "TUNE_MAX_PENDING_TRIALS_PG": "7",
    "TUNE_PLACEMENT_GROUP_AUTO_DISABLED": "1",
    "TUNE_PLACEMENT_GROUP_CLEANUP_DISABLED": "1",
    "TUNE_PLACEMENT_GROUP_PREFIX": "x",
    "TUNE_PLACEMENT_GROUP_RECON_INTERVAL": "6",
    "TUNE_PLACEMENT_GROUP_WAIT_S": "6",
    "TUNE_RESULT_DIR": "/data",
    "TUNE_RESULT_BUFFER_LENGTH": "5",
    "TUNE_RESULT_BUFFER_MAX_TIME_S": "5",
    "TUNE_RESULT_BUFFER_MIN_TIME_S": "5",
    "TUNE_SYNCER_VERBOSITY": "2",
    "TUNE_TRIAL_STARTUP_GRACE_PERIOD": "11",
    "TUNE_WARN_THRESHOLD_S": "1",
    "TUNE_STATE_REFRESH_PERIOD": "11",
    "TUNE_CLOUD_SYNC_S": "60",
    "TUNE_DISABLE_RESOURCE_CHECKS": "1",
    "TUNE_FORCE_TRIAL_CLEANUP_S": "30",
    "TUNE_GET_EXECUTOR_EVENT_WAIT_S": "6",
    "TUNE_RESULT_DELIM": ".",
    "TUNE_WARN_INSUFFICENT_RESOURCE_THRESHOLD_S": "20",
    "TUNE_WARN_INSUFFICENT_RESOURCE_THRESHOLD_S_AUTOSCALER": "20",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_RESTORE_RETRY_NUM": "2",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "6",
    "TUNE_WARN_SLOW_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "6",
    "TUNE_ONLY_STORE_CHECKPOINT_SCORE_ATTRIBUTE": "1",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_AIR_NEW_OUTPUT": "1",
    "RAY_AIR_FULL_TRACEBACKS": "1",
    "RAY_TRAIN_COUNT_PREEMPTION_AS_FAILURE": "1",
}


@pytest.fixture(autouse=True)
def _nobody_was_warned(monkeypatch):
    monkeypatch.setattr(without_effect, "_warned", set())


@pytest.mark.parametrize("variable", OF_RAY)
def test_a_variable_of_ray_does_something_or_says_why_not(monkeypatch, variable):
    defaults = TuneSettings()
    monkeypatch.setenv(variable, OF_RAY[variable])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        chosen = load_settings()
        load_settings()
    told = [str(warning.message) for warning in caught]
    if chosen == defaults:
        assert [variable in message and "no effect" in message for message in told] == [True]
    else:
        assert told == []


@pytest.mark.parametrize("field", TuneSettings.model_fields)
def test_each_setting_has_a_name_of_our_own_and_a_description(field):
    assert variables_of(field)[0].startswith("PREFECT_TUNE_")
    assert TuneSettings.model_fields[field].description


def test_the_own_name_wins(monkeypatch):
    monkeypatch.setenv("TUNE_MAX_LEN_IDENTIFIER", "40")
    monkeypatch.setenv("PREFECT_TUNE_MAX_LEN_IDENTIFIER", "50")
    assert load_settings().max_len_identifier == 50


def test_nothing_set_warns_about_nothing(monkeypatch):
    monkeypatch.setenv("TUNE_SYNCER_VERBOSITY", "")
    monkeypatch.setenv("TUNE_RESULT_DELIM", "/")
    monkeypatch.setenv("TUNE_CLOUD_SYNC_S", "")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_settings().cloud_sync_s is None


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("TUNE_MAX_LEN_IDENTIFIER", "-1"),
        ("TUNE_MAX_PENDING_TRIALS_PG", "many"),
        ("TUNE_MAX_PENDING_TRIALS_PG", "0"),
        ("PREFECT_TUNE_MAX_LEN_IDENTIFIER", "long"),
        ("TUNE_GLOBAL_CHECKPOINT_S", "often"),
        ("TUNE_DISABLE_AUTO_INIT", "perhaps"),
        ("PREFECT_TUNE_START_METHOD", "teleport"),
        ("TUNE_FORCE_TRIAL_CLEANUP_S", "-1"),
        ("TUNE_TRIAL_STARTUP_GRACE_PERIOD", "soon"),
        ("RAY_CHDIR_TO_TRIAL_DIR", "where"),
        ("TUNE_PRINT_ALL_TRIAL_ERRORS", "some"),
        ("PREFECT_TUNE_LOG_CALLBACK_ERRORS", "raise"),
    ],
)
def test_a_value_that_cannot_work_names_the_variable(monkeypatch, variable, value):
    monkeypatch.setenv(variable, value)
    with pytest.raises(InvalidArgument) as caught:
        load_settings()
    assert caught.value.argument == variable
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("TUNE_MAX_PENDING_TRIALS_PG", "auto"),
        ("TUNE_GLOBAL_CHECKPOINT_S", "auto"),
        ("TUNE_GLOBAL_CHECKPOINT_S", "0"),
        ("TUNE_WARN_INSUFFICENT_RESOURCE_THRESHOLD_S", "0"),
        ("TUNE_WARN_INSUFFICENT_RESOURCE_THRESHOLD_S_AUTOSCALER", "0"),
        ("TUNE_TRIAL_STARTUP_GRACE_PERIOD", "0"),
        ("TUNE_FORCE_TRIAL_CLEANUP_S", "0"),
        ("TUNE_WARN_THRESHOLD_S", "0"),
        ("TUNE_MAX_LEN_IDENTIFIER", "0"),
        ("TUNE_CLOUD_SYNC_S", "0"),
        ("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "true"),
    ],
)
def test_values_that_ray_tune_takes_are_taken(monkeypatch, variable, value):
    monkeypatch.setenv(variable, value)
    load_settings()


def test_auto_leaves_the_pending_trials_to_the_search(monkeypatch):
    monkeypatch.setenv("TUNE_MAX_PENDING_TRIALS_PG", "auto")
    assert load_settings().lookahead is None
    monkeypatch.setenv("TUNE_MAX_PENDING_TRIALS_PG", "3")
    assert load_settings().lookahead == 3


def test_a_misspelt_setting_is_told_about(monkeypatch):
    monkeypatch.setenv("PREFECT_TUNE_ORCHESTRATES", "0")
    monkeypatch.setenv("PREFECT_TUNE_SOMETHING_ELSE", "0")
    with pytest.warns(UserWarning, match=r"Did you mean PREFECT_TUNE_ORCHESTRATE\?") as told:
        load_settings()
    assert len(told) == 1


def test_what_trial_processes_are_told():
    assert TuneSettings().trial_variables() == {"RAY_CHDIR_TO_TRIAL_DIR": "1"}
    chosen = TuneSettings(chdir_to_trial_dir=False, full_tracebacks=True)
    assert chosen.trial_variables()["RAY_CHDIR_TO_TRIAL_DIR"] == "0"
    assert chosen.trial_variables()["RAY_AIR_FULL_TRACEBACKS"] == "1"
    assert chosen.trial_variables(True)["RAY_CHDIR_TO_TRIAL_DIR"] == "1"


def test_lost_attempts_may_count_as_failures():
    assert TuneSettings().lost_before_failure == 10
    assert TuneSettings(count_preemption_as_failure=True).lost_before_failure == 0
