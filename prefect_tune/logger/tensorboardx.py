"""Write TensorBoard event files with the curves of all metrics, and data for the HParams view."""

from __future__ import annotations

import math
import os
import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count, groupby
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from prefect_tune.experiment.plain import finite_number, number_of
from prefect_tune.experiment.trial import Trial
from prefect_tune.logger.files import FileLoggerCallback, Results
from prefect_tune.logger.hparams import HParams
from prefect_tune.logger.tensorboard_events import ScalarEvents, file_header, tf_record
from prefect_tune.nested import flatten
from prefect_tune.text import as_unicode

#: First part of all tags; Ray Tune's, so that existing dashboards work.
TAG_PREFIX = "ray/tune/"
#: Metrics without a curve: constants, clocks and the axis itself.
_NOT_DRAWN = frozenset(
    {"config", "pid", "timestamp", "time_total_s", "training_iteration", "done", "trial_id"}
)
_MAX_LAYOUTS = 256
_LAST_STEP = 2**63 - 1
_Signature = tuple[tuple[str, ...], tuple[type, ...]]


def tensorboardx_missing() -> bool:
    """Return True if event files cannot be written because tensorboardX is not installed."""
    from importlib.util import find_spec

    return find_spec("tensorboardX") is None


@dataclass(slots=True)
class _EventFile:
    """One trial's event file."""

    path: str
    last: dict[str, Any] = field(default_factory=dict)


class TBXLoggerCallback(FileLoggerCallback[_EventFile]):
    """Writes numeric metrics as TensorBoard scalars named ``ray/tune/<metric>``.

    The step is `timesteps_total` if the trial counts timesteps, else `training_iteration`. When a
    trial ends, its configuration and last metrics are written for the HParams view.

    All scalars of a result are in one event, and events are written in batches. tensorboardX's own
    writer is not used: it has a thread and a queue for each trial, which is slow for many trials.

    Raises:
        ImportError: If tensorboardX is not installed.
    """

    own_thread: ClassVar[bool] = True
    _serial = count()

    def __init__(self) -> None:
        # Importing it takes as long as importing Dask, and waits until the first trial has ended.
        if tensorboardx_missing():
            raise ImportError(
                "TBXLoggerCallback needs tensorboardX: pip install 'prefect-tune[tensorboard]'"
            )
        super().__init__()
        self._space: Mapping[str, Any] = {}
        self._scalars = _ScalarEncoder()

    def _begin_file(self, trial: Trial) -> _EventFile:
        """Return a new event file, which has its header already."""
        now = time.time()
        name = f"events.out.tfevents.{int(now)}.{socket.gethostname()}.{os.getpid()}"
        file = _EventFile(os.path.join(trial.logdir, f"{name}.{next(self._serial)}"))
        self._files.append(file.path, file_header(now))
        return file

    def _encode(self, file: _EventFile, results: Results, lines: Sequence[bytes]) -> bytes:
        """Return the events of the results."""
        return self._scalars.encode(results, file.last)

    def log_trial_start(self, trial: Trial) -> None:
        """Begin an event file for an attempt of the trial."""
        super().log_trial_end(trial)
        super().log_trial_start(trial)

    def log_trial_end(self, trial: Trial, failed: bool = False) -> None:
        """Write the trial's data for the HParams view and close its file."""
        file = self._of_trial.get(trial.trial_id)
        if file is not None and file.last:
            self._files.append(file.path, self._hparams_records(trial.config, file.last, failed))
        super().log_trial_end(trial, failed)

    def set_search_space(self, space: Mapping[str, Any]) -> None:
        """Set the search `space` whose domains the HParams view shows; before the first trial."""
        self._space = space

    @cached_property
    def _hparams(self) -> HParams:
        return HParams(self._space)

    def _hparams_records(
        self, config: Mapping[str, Any], metrics: Mapping[str, float], failed: bool
    ) -> bytes:
        from tensorboardX.proto.event_pb2 import Event

        tags = [TAG_PREFIX + as_unicode(str(name)) for name in metrics]
        now = time.time()
        return b"".join(
            tf_record(Event(wall_time=now, summary=summary).SerializeToString())
            for summary in self._hparams.summaries(config, tags, failed=failed)
        )


class _ScalarEncoder:
    """Encodes results as scalar events; results with the same metrics are encoded together."""

    def __init__(self) -> None:
        self._names: dict[_Signature, tuple[str, ...]] = {}
        self._events: dict[tuple[str, ...], ScalarEvents] = {}

    def encode(self, results: Sequence[Mapping[str, Any]], last: dict[str, float]) -> bytes:
        """Return the events of some results, in order, and update `last` with the newest values."""
        encoded = []
        flats = [flatten(dict(result)) for result in results]
        for signature, group in groupby(flats, _signature):
            alike = list(group)
            names = self._names.get(signature)
            if names is None:
                self._limit_layouts()
                names = tuple(name for name, value in alike[0].items() if _is_drawn(name, value))
                self._names[signature] = names
            if names:
                encoded += self._encode_alike(alike, names, last)
        return b"".join(encoded)

    def _encode_alike(
        self, results: list[dict[str, Any]], names: tuple[str, ...], last: dict[str, float]
    ) -> list[bytes]:
        values = np.stack([_as_floats([result[name] for result in results]) for name in names], 1)
        clocks = _as_floats([result.get("timestamp") for result in results])
        clocks[~np.isfinite(clocks) | (clocks == 0)] = time.time()
        steps = np.array([_step(result) for result in results], np.int64)
        finite = np.isfinite(values)
        if finite.all():
            last |= zip(names, values[-1].tolist(), strict=True)
            return [self._layout(names).encode(clocks, steps, values)]
        encoded = []
        for row, mask in enumerate(finite):
            some = tuple(name for name, is_finite in zip(names, mask, strict=True) if is_finite)
            if some:
                one, numbers = slice(row, row + 1), values[row][mask]
                last |= zip(some, numbers.tolist(), strict=True)
                encoded.append(self._layout(some).encode(clocks[one], steps[one], numbers[None]))
        return encoded

    def _limit_layouts(self) -> None:
        # Trials whose results all have different metrics must not fill the memory with layouts.
        if len(self._names) >= _MAX_LAYOUTS:
            self._names.clear()
            self._events.clear()

    def _layout(self, names: tuple[str, ...]) -> ScalarEvents:
        layout = self._events.get(names)
        if layout is None:
            layout = self._events[names] = ScalarEvents(
                [TAG_PREFIX + as_unicode(str(name)) for name in names]
            )
        return layout


def _signature(flat: Mapping[str, Any]) -> _Signature:
    return tuple(flat), tuple(map(type, flat.values()))


def _step(result: Mapping[str, Any]) -> int:
    for name in ("timesteps_total", "training_iteration"):
        value = result.get(name)
        step = value if type(value) is int else finite_number(value)
        if step:
            return min(max(0, int(step)), _LAST_STEP)
    return 0


def _as_floats(values: Sequence[Any]) -> NDArray[np.float64]:
    """Return values of one type as floats, NaN for those that are no numbers."""
    if type(values[0]) in (float, int):
        with suppress(OverflowError):  # an integer beyond the range of floats
            return np.array(values, float)
    numbers = map(number_of, values)
    return np.array([math.nan if number is None else number for number in numbers], float)


def _is_drawn(name: str, value: Any) -> bool:
    if name in _NOT_DRAWN or isinstance(value, (bool, np.bool_)):
        return False
    return number_of(value) is not None
