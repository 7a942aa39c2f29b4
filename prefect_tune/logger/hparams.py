"""Summaries for TensorBoard's HParams view: trials' parameters, their domains and metrics.

Source of the format: TensorBoard's plugin ``hparams``, ``plugin_data.proto`` and ``api.proto``. Its
filters are sliders and check boxes where a parameter's domain is known, else text fields.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from prefect_tune.experiment.pickling.large import shortened
from prefect_tune.experiment.plain import number_of
from prefect_tune.nested import flatten_config
from prefect_tune.space.categorical import Categorical
from prefect_tune.space.numeric import Float, Integer
from prefect_tune.space.search_space import SearchSpace
from prefect_tune.space.template import Variable
from prefect_tune.text import as_unicode, in_words

#: The view shows a check box for each value, which is of no use beyond some number.
_MAX_VALUES = 100


Value = bool | int | float | str
#: The two ends of an interval, or the single values that a parameter may have.
ViewDomain = tuple[float, float] | list[Value]


def view_domains(space: Mapping[str, Any]) -> dict[str, ViewDomain]:
    """Return the domains of a search space's parameters that the view can show, by name."""
    known = {variable.name: _domain(variable) for variable in SearchSpace(dict(space)).variables}
    return {name: domain for name, domain in known.items() if domain is not None}


def _domain(variable: Variable) -> ViewDomain | None:
    domain = variable.domain
    if variable.nests_variables:
        return None
    if isinstance(domain, Integer):
        return domain.inclusive_bounds()
    if isinstance(domain, Float) and math.isfinite(domain.lower) and math.isfinite(domain.upper):
        return domain.lower, domain.upper
    values = domain.categories if isinstance(domain, Categorical) else variable.grid
    # A choice between dicts has several parameters, which the view shows without domains.
    if values is None or any(isinstance(value, dict) for value in values):
        return None
    shown = dict.fromkeys((type(_view_value(v)), _view_value(v)) for v in values if v is not None)
    return [value for _, value in shown] if 0 < len(shown) <= _MAX_VALUES else None


def view_parameters(config: Mapping[str, Any]) -> dict[str, Value]:
    """Flatten a configuration and turn its values into types that the view can show."""
    return {
        as_unicode(in_words(name)): _view_value(value)
        for name, value in flatten_config(shortened(config)).items()
        if value is not None and not isinstance(value, Mapping)
    }


def _view_value(value: Any) -> Value:
    if hasattr(value, "dtype") and getattr(value, "ndim", 1) == 0:
        value = value.item()  # a number of numpy
    return value if isinstance(value, (bool, int, float)) else as_unicode(in_words(value))


class HParams:
    """Makes the summaries of trials for TensorBoard's HParams view.

    Args:
        space: The search space, whose domains the view shows.

    Raises:
        ImportError: If tensorboardX is not installed.
    """

    def __init__(self, space: Mapping[str, Any]) -> None:
        from tensorboardX.proto import api_pb2, plugin_hparams_pb2, summary_pb2

        self._api = api_pb2
        self._plugin = plugin_hparams_pb2
        self._summary = summary_pb2
        self._domains = view_domains(space)

    def summaries(
        self, config: Mapping[str, Any], metrics: list[str], *, failed: bool
    ) -> list[Any]:
        """Return the summaries to write as events at the end of a trial.

        Args:
            config: The trial's configuration.
            metrics: The tags of the trial's metrics.
            failed: Whether the trial failed.

        Returns:
            tensorboardX's `Summary` objects, one for each event.
        """
        given = view_parameters(config)
        start = self._plugin.SessionStartInfo()
        for name, value in given.items():
            target = start.hparams[name]
            if isinstance(value, bool):
                target.bool_value = value
            elif isinstance(value, str):
                target.string_value = value
            else:
                target.number_value = _as_float(value)
        experiment = self._api.Experiment(
            hparam_infos=[self._info(name, value) for name, value in given.items()],
            metric_infos=[
                self._api.MetricInfo(name=self._api.MetricName(tag=tag)) for tag in metrics
            ],
        )
        outcome = "STATUS_FAILURE" if failed else "STATUS_SUCCESS"
        end = self._plugin.SessionEndInfo(status=self._api.Status.Value(outcome))
        return [
            self._tagged("_hparams_/experiment", experiment=experiment),
            self._tagged("_hparams_/session_start_info", session_start_info=start),
            self._tagged("_hparams_/session_end_info", session_end_info=end),
        ]

    def _info(self, name: str, value: Value) -> Any:
        kind = _data_type(value)
        info = self._api.HParamInfo(name=name, type=self._api.DataType.Value(kind))
        domain = self._domains.get(name)
        if isinstance(domain, tuple):
            lower, upper = map(_as_float, domain)
            info.domain_interval.min_value, info.domain_interval.max_value = lower, upper
        # The view knows one type per parameter, so domains of several types are left out.
        elif domain is not None and {_data_type(one) for one in domain} == {kind}:
            info.domain_discrete.extend(
                one if isinstance(one, (bool, str)) else _as_float(one) for one in domain
            )
        return info

    def _tagged(self, tag: str, **content: Any) -> Any:
        data = self._plugin.HParamsPluginData(version=0, **content).SerializeToString()
        metadata = self._summary.SummaryMetadata(
            plugin_data=self._summary.SummaryMetadata.PluginData(
                plugin_name="hparams", content=data
            )
        )
        return self._summary.Summary(
            value=[self._summary.Summary.Value(tag=tag, metadata=metadata)]
        )


def _data_type(value: Value) -> str:
    if isinstance(value, bool):
        return "DATA_TYPE_BOOL"
    return "DATA_TYPE_STRING" if isinstance(value, str) else "DATA_TYPE_FLOAT64"


def _as_float(value: float) -> float:
    return float(number_of(value) or 0.0)  # of an integer of more than 300 digits infinity
