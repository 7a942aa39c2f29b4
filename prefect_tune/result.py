"""Ray Tune's constants for the keys of results and the names of result files."""

from __future__ import annotations

from prefect_tune.experiment.attempt import ERROR_FILE, ERROR_PICKLE_FILE

CONFIG_PREFIX = "config"
DATE = "date"
DONE = "done"
EPISODES_THIS_ITER = "episodes_this_iter"
EPISODES_TOTAL = "episodes_total"
EPISODE_REWARD_MEAN = "episode_reward_mean"
EXPERIMENT_TAG = "experiment_tag"
HOSTNAME = "hostname"
MEAN_ACCURACY = "mean_accuracy"
MEAN_LOSS = "mean_loss"
NODE_IP = "node_ip"
PID = "pid"
SHOULD_CHECKPOINT = "should_checkpoint"
TIMESTAMP = "timestamp"
TIMESTEPS_THIS_ITER = "timesteps_this_iter"
TIMESTEPS_TOTAL = "timesteps_total"
TIME_THIS_ITER_S = "time_this_iter_s"
TIME_TOTAL_S = "time_total_s"
TRAINING_ITERATION = "training_iteration"
TRIAL_ID = "trial_id"

#: Keys that every result has without the trainable reporting them.
AUTO_RESULT_KEYS = (
    TRAINING_ITERATION,
    TIME_TOTAL_S,
    EPISODES_TOTAL,
    TIMESTEPS_TOTAL,
    NODE_IP,
    HOSTNAME,
    PID,
    TIME_THIS_ITER_S,
    TIMESTAMP,
    DATE,
    "time_since_restore",
    "timesteps_since_restore",
    "iterations_since_restore",
    CONFIG_PREFIX,
    "checkpoint_dir_name",
)
#: Auto-filled keys that say where and when a result was reported.
DEBUG_METRICS = (
    TRIAL_ID,
    "experiment_id",
    DATE,
    TIMESTAMP,
    PID,
    HOSTNAME,
    NODE_IP,
    CONFIG_PREFIX,
)
#: Columns of `list-trials`: keys of results, and attributes of trials.
DEFAULT_RESULT_KEYS = (TRAINING_ITERATION, TIME_TOTAL_S, MEAN_ACCURACY, MEAN_LOSS)
DEFAULT_EXPERIMENT_INFO_KEYS = ("trainable_name", EXPERIMENT_TAG, TRIAL_ID)
DEFAULT_EXPERIMENT_NAME = "default"

EXPR_ERROR_FILE = ERROR_FILE
EXPR_ERROR_PICKLE_FILE = ERROR_PICKLE_FILE
EXPR_PARAM_FILE = "params.json"
EXPR_PARAM_PICKLE_FILE = "params.pkl"
EXPR_PROGRESS_FILE = "progress.csv"
EXPR_RESULT_FILE = "result.json"
#: Files that the driver writes into the directory of a trial.
DRIVER_FILES = frozenset(
    {
        EXPR_ERROR_FILE,
        EXPR_ERROR_PICKLE_FILE,
        EXPR_PARAM_FILE,
        EXPR_PARAM_PICKLE_FILE,
        EXPR_PROGRESS_FILE,
        EXPR_RESULT_FILE,
    }
)


#: Key of a result that was reported as a bare number.
DEFAULT_METRIC = "_metric"
