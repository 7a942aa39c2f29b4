"""Ray Tune's names for the keys of results and for the files that hold them."""

from __future__ import annotations

from prefect_tune.experiment.attempt_error import ERROR_FILE, ERROR_PICKLE_FILE

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

#: Keys that a result has without having been reported.
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
#: Those that say where and when a result was made, and count nothing.
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
#: What `list-trials` shows of a result and of a trial.
DEFAULT_RESULT_KEYS = (TRAINING_ITERATION, TIME_TOTAL_S, MEAN_ACCURACY, MEAN_LOSS)
DEFAULT_EXPERIMENT_INFO_KEYS = ("trainable_name", EXPERIMENT_TAG, TRIAL_ID)
DEFAULT_EXPERIMENT_NAME = "default"

EXPR_ERROR_FILE = ERROR_FILE
EXPR_ERROR_PICKLE_FILE = ERROR_PICKLE_FILE
EXPR_PARAM_FILE = "params.json"
EXPR_PARAM_PICKLE_FILE = "params.pkl"
EXPR_PROGRESS_FILE = "progress.csv"
EXPR_RESULT_FILE = "result.json"
#: What the driver itself writes into the directory of a trial.
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
