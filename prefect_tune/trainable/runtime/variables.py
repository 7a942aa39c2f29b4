"""Environment variables of trial processes; their names are Ray Tune's."""

#: Where the process was started; set by `prefect_tune`.
ORIGINAL_DIRECTORY = "TUNE_ORIG_WORKING_DIR"
#: 0: stay there, else work in the trial's directory.
CHANGE_DIRECTORY = "RAY_CHDIR_TO_TRIAL_DIR"
#: 1: tracebacks show this package's own frames as well.
FULL_TRACEBACKS = "RAY_AIR_FULL_TRACEBACKS"
#: 0: the traceback of a failure is not printed.
PRINT_ERRORS = "TUNE_PRINT_ALL_TRIAL_ERRORS"


def is_on(text: str) -> bool:
    """Whether the text of a variable means yes; an empty one does not."""
    return text.strip().lower() not in ("", "0", "false", "no", "off", "n", "f")
