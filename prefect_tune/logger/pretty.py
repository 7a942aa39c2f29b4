"""Results for people to read."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

from prefect_tune.logger.encoding import to_json

_NOT_SHOWN = frozenset({"config", "hist_stats"})


def pretty_print(result: Mapping[str, Any], exclude: Collection[str] | None = None) -> str:
    """Return a result as YAML text: sorted, without its configuration and without what is None.

    Args:
        result: As reported, or any other dict.
        exclude: Keys to leave out besides.

    Returns:
        Several lines, the last of them with its end.
    """
    import yaml

    left_out = _NOT_SHOWN.union(exclude or ())
    shown = {
        key: value for key, value in result.items() if key not in left_out and value is not None
    }
    text: str = yaml.safe_dump(json.loads(to_json(shown)), default_flow_style=False)
    return text
