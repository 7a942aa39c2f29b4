"""Environment variables of trial processes, with Ray Tune's names."""

#: Set by `prefect_tune` to the directory in which the process was started.
ORIGINAL_DIRECTORY = "TUNE_ORIG_WORKING_DIR"
#: If 0, trials work in that directory, else in the trial's directory.
CHANGE_DIRECTORY = "RAY_CHDIR_TO_TRIAL_DIR"
#: If 1, tracebacks also show frames of this package.
FULL_TRACEBACKS = "RAY_AIR_FULL_TRACEBACKS"
#: If 0, the traceback of a failure is not printed.
PRINT_ERRORS = "TUNE_PRINT_ALL_TRIAL_ERRORS"


def is_on(text: str) -> bool:
    """Return True if the text of a variable means yes; an empty text means no."""
    return text.strip().lower() not in ("", "0", "false", "no", "off", "n", "f")
