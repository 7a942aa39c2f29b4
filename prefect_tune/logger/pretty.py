"""Format results as YAML."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

from prefect_tune.experiment.plain import to_json

_NOT_SHOWN = frozenset({"config", "hist_stats"})


def pretty_print(result: Mapping[str, Any], exclude: Collection[str] | None = None) -> str:
    """Return a result as sorted YAML, without its configuration and values that are None.

    Args:
        result: A result, or any other dict.
        exclude: Further keys to leave out.

    Returns:
        Lines of text, each with a line end.
    """
    import yaml

    left_out = _NOT_SHOWN.union(exclude or ())
    shown = {
        key: value for key, value in result.items() if key not in left_out and value is not None
    }
    text: str = yaml.safe_dump(json.loads(to_json(shown)), default_flow_style=False)
    return text
