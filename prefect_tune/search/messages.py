"""Texts that searchers raise, by the names that searchers written for Ray Tune import."""

#: With ``cls``, ``metric`` and ``mode``.
UNDEFINED_METRIC_MODE = (
    "{cls} cannot suggest anything: it was given the metric {metric} and the mode {mode}, and "
    "needs both. Give them to {cls} or to `TuneConfig`."
)
#: With ``cls`` and ``space``, the name of its argument.
UNDEFINED_SEARCH_SPACE = (
    "{cls} cannot suggest anything: it has no search space. Give it `{space}`, or give "
    "`param_space` to the `Tuner`."
)
#: With ``cls`` and ``par``, the name of its argument.
UNRESOLVED_SEARCH_SPACE = (
    "`{par}`: holds domains of prefect_tune, and {cls} wants a space of its own library there. "
    "Give the domains as `param_space` to the `Tuner`, and they are converted."
)
