"""Error messages that searchers written for Ray Tune import by these names."""

#: To be formatted with ``cls``, ``metric`` and ``mode``.
UNDEFINED_METRIC_MODE = (
    "{cls} cannot suggest anything: it was given the metric {metric} and the mode {mode}, and "
    "needs both. Give them to {cls} or to `TuneConfig`."
)
#: To be formatted with ``cls`` and ``space``, the name of an argument.
UNDEFINED_SEARCH_SPACE = (
    "{cls} cannot suggest anything: it has no search space. Give it `{space}`, or give "
    "`param_space` to the `Tuner`."
)
#: To be formatted with ``cls`` and ``par``, the name of an argument.
UNRESOLVED_SEARCH_SPACE = (
    "`{par}`: holds domains of prefect_tune, and {cls} wants a space of its own library there. "
    "Give the domains as `param_space` to the `Tuner`, and they are converted."
)
