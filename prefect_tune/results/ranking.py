"""Rank trials: the best by a metric, the Pareto set of several, those that fulfil conditions."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prefect_tune.error import InvalidArgument
from prefect_tune.experiment.plain import number_of
from prefect_tune.experiment.trial import Trial
from prefect_tune.nested import flatten, flatten_config
from prefect_tune.result import DEFAULT_METRIC
from prefect_tune.validation import check_mode

SCOPES = ("last", "avg", "last-5-avg", "last-10-avg", "all")


def resolve_metric_and_mode(
    trials: Iterable[Trial], metric: str | None, mode: str | None
) -> tuple[str, str]:
    """Return the metric and mode to compare trials by; without a metric, that of ``return 0.5``.

    Args:
        trials: The trials; a trainable may have returned one number without a name.
        metric: Name of the metric; None if the user named none.
        mode: ``min`` or ``max``; None if the user gave none.

    Raises:
        InvalidArgument: If metric or mode is missing, or the mode has another value.
    """
    if metric is None and any(DEFAULT_METRIC in trial.last_result for trial in trials):
        metric = DEFAULT_METRIC
    if metric is None:
        raise InvalidArgument(
            "metric", "no metric to compare trials by.", "Give it here or to the experiment."
        )
    if mode is None:
        raise InvalidArgument(
            "mode",
            "no mode to compare trials by.",
            'Give "min" or "max" here or to the experiment.',
        )
    return metric, check_mode(mode)


def check_scope(scope: str) -> str:
    """Check a scope and return it.

    Raises:
        InvalidArgument: If there is no such scope.
    """
    if scope not in SCOPES:
        raise InvalidArgument("scope", f"got {scope!r}.", f"It is one of {', '.join(SCOPES)}.")
    return scope


def score(trial: Trial, metric: str, mode: str, scope: str = "last") -> float | None:
    """Return the value of a metric that a trial is ranked by, None if the trial has none.

    Args:
        trial: The trial.
        metric: Name of the metric, nested ones with ``/``.
        mode: ``min`` or ``max``; used by scope ``all`` only.
        scope: One of `SCOPES`.
    """
    value = trial.metric_value(metric, scope, mode)
    if value is None:
        # Trials keep no statistics of the auto-filled metrics.
        value = number_of(flatten(trial.last_result).get(metric))
    return value


def best_of(
    trials: Iterable[Trial],
    metric: str,
    mode: str,
    scope: str = "last",
    filter_nan_and_inf: bool = True,
) -> Trial | None:
    """Return the trial with the best value of a metric, the first of equals; None without values.

    Args:
        trials: The trials.
        metric: Name of the metric.
        mode: ``min`` or ``max``.
        scope: ``last`` value, ``avg`` of all, ``last-5-avg``, ``last-10-avg``, or the best of
            ``all``.
        filter_nan_and_inf: False lets an infinite value be the best; NaN never is.

    Raises:
        InvalidArgument: If `mode` or `scope` has another value.
    """
    sign = 1.0 if check_mode(mode) == "max" else -1.0
    check_scope(scope)
    best: Trial | None = None
    best_value = 0.0
    for trial in trials:
        value = score(trial, metric, mode, scope)
        if value is None or math.isnan(value) or (filter_nan_and_inf and math.isinf(value)):
            continue
        if best is None or sign * value > best_value:
            best, best_value = trial, sign * value
    return best


_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">=": operator.ge,
    ">": operator.gt,
}
_FORM = re.compile(r"\s*(?P<name>\S.*?)\s*(?P<operator><=|>=|==|!=|<|>)\s*(?P<value>.*?)\s*")


@dataclass(frozen=True, slots=True)
class Condition:
    """A comparison of a metric or parameter with a value, ``name operator value``.

    Attributes:
        name: Name of a metric or, with ``config/`` in front, of a parameter.
        operator: ``<``, ``<=``, ``==``, ``!=``, ``>=`` or ``>``.
        value: A number or a text.
    """

    name: str
    operator: str
    value: float | str

    @classmethod
    def parse(cls, text: str, argument: str = "constraints") -> Condition:
        """Parse the text of a condition; quotes around the value are removed.

        Raises:
            InvalidArgument: If `text` is not ``name operator value``.
        """
        found = _FORM.fullmatch(text) if isinstance(text, str) else None
        if found is None or not found["value"]:
            raise InvalidArgument(
                argument,
                f"got {text!r}.",
                'It is "name operator value", e.g. "loss < 0.1"; operators are < <= == != >= >.',
            )
        value: float | str = found["value"]
        try:
            value = float(value)
        except ValueError:
            value = str(value).strip("'\"")
        return cls(found["name"], found["operator"], value)

    def holds(self, row: Mapping[str, Any]) -> bool:
        """Return True if a row fulfils the condition; a row without the value never does."""
        value = row.get(self.name)
        if value is None:
            return False
        if isinstance(self.value, str) or isinstance(value, bool):
            # A text is compared with numbers as text, and with truth values by their names.
            wanted = self.value if isinstance(self.value, str) else f"{self.value:g}"
            if isinstance(value, bool):
                truths = {"true": "True", "false": "False", "1": "True", "0": "False"}
                wanted = truths.get(wanted.lower(), wanted)
            return _OPERATORS[self.operator](str(value), wanted)
        if not isinstance(value, (int, float)):
            return self.operator == "!="
        return value == value and _OPERATORS[self.operator](value, self.value)


def parse_conditions(
    conditions: str | Iterable[str] | None, argument: str = "constraints"
) -> list[Condition]:
    """Parse one condition or several; None gives an empty list.

    Raises:
        InvalidArgument: If a text is not ``name operator value``.
    """
    texts = [conditions] if isinstance(conditions, str) else conditions or []
    return [Condition.parse(text, argument) for text in texts]


Objectives = Mapping[str, str]


def parse_objectives(
    metric: str | Sequence[str] | Objectives | None, mode: str | Sequence[str] | None
) -> dict[str, str]:
    """Check metrics and modes, and return them as a dict.

    Args:
        metric: Names of metrics, or a dict of names and modes.
        mode: One mode for all metrics, or one for each.

    Raises:
        InvalidArgument: If a metric or mode is missing, or a mode has another value.
    """
    if isinstance(metric, Mapping):
        return {name: check_mode(value) for name, value in metric.items()}
    names = [metric] if isinstance(metric, str) else list(metric or ())
    modes = [mode] * len(names) if isinstance(mode, str) else list(mode or ())
    if not names:
        raise InvalidArgument("metric", "no metrics to compare trials by.", "Give two or more.")
    if len(modes) != len(names):
        raise InvalidArgument(
            "mode", f"got {mode!r} for the metrics {names}.", 'Give "min" or "max" for each.'
        )
    return {name: check_mode(value) for name, value in zip(names, modes, strict=True)}


def satisfying(trials: Iterable[Trial], conditions: Sequence[Condition]) -> list[Trial]:
    """Return the trials whose last results and configurations fulfil all conditions."""
    if not conditions:
        return list(trials)
    return [trial for trial in trials if all(c.holds(flat_row(trial)) for c in conditions)]


def describe_unknown_names(trials: Iterable[Trial], conditions: Sequence[Condition]) -> str:
    """Describe the names in conditions that no trial has, with suggestions; "" if all are known."""
    known = {name for trial in trials for name in flat_row(trial)}
    words = []
    for name in dict.fromkeys(c.name for c in conditions if c.name not in known):
        meant = f"; is it config/{name}?" if f"config/{name}" in known else ""
        words.append(f" (no trial has {name!r}{meant})")
    return "".join(words)


def prefixed_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Flatten a configuration and put ``config/`` in front of each name."""
    return {f"config/{name}": value for name, value in flatten_config(config).items()}


def flat_row(trial: Trial) -> dict[str, Any]:
    """Return a trial's last result and configuration, flattened, the latter below ``config/``."""
    last = {key: value for key, value in trial.last_result.items() if key != "config"}
    return {**flatten(last), **prefixed_config(trial.config)}


def pareto_front(trials: Iterable[Trial], wanted: Objectives, scope: str = "last") -> list[Trial]:
    """Return the trials that no other trial beats, best of the first metric first.

    One trial beats another if it is at least as good in all metrics and better in one. Trials
    without a finite value of each metric are left out.

    Args:
        trials: The trials.
        wanted: Names of metrics with their modes, ``min`` or ``max``.
        scope: As for `best_of`.
    """
    costs: list[tuple[tuple[float, ...], int, Trial]] = []
    for position, trial in enumerate(trials):
        values = [(score(trial, name, mode, scope), mode) for name, mode in wanted.items()]
        cost = tuple(
            math.nan if value is None else -value if mode == "max" else value
            for value, mode in values
        )
        if all(map(math.isfinite, cost)):
            costs.append((cost, position, trial))
    costs.sort(key=lambda entry: entry[:2])
    front: list[tuple[tuple[float, ...], Trial]] = []
    for cost, _, trial in costs:
        # Sorted by cost, so that a trial can only be beaten by one that comes before it.
        if not any(_beats(other, cost) for other, _ in front):
            front.append((cost, trial))
    return [trial for _, trial in front]


def _beats(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))
