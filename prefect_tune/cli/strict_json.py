"""Write JSON that every reader accepts."""

from __future__ import annotations

import json
from typing import Any, TextIO

from prefect_tune.experiment.plain import strict_json_value


def write_json(value: Any, file: TextIO) -> None:
    """Write a value and a line end as JSON without ``NaN``; values of unknown types become text.

    Args:
        value: The value.
        file: The file to write to.
    """
    json.dump(strict_json_value(value), file, indent=1)
    file.write("\n")
