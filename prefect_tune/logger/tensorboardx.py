"""TensorBoard event files: the curves of every metric, and the HParams view at the end."""

from __future__ import annotations

import math
import os
import socket
import struct
import time
from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any, ClassVar

from prefect_tune.coordinator.flatten import flatten
from prefect_tune.coordinator.trial import Trial
from prefect_tune.logger.base import LoggerCallback
from prefect_tune.logger.files import AppendFiles

#: First part of every tag; the same as Ray Tune's, so that existing dashboards go on.
TAG_PREFIX = "ray/tune/"
#: Not worth a curve: constants, clocks and the axis itself.
_NOT_DRAWN = frozenset(
    {"config", "pid", "timestamp", "time_total_s", "training_iteration", "done", "trial_id"}
)
_LENGTH = struct.Struct("<Q")
_CHECKSUM = struct.Struct("<I")


def tensorboardx_missing() -> bool:
    """True if event files cannot be written because tensorboardX is not installed."""
    from importlib.util import find_spec

    return find_spec("tensorboardX") is None


class _Run:
    """One trial's event file."""

    __slots__ = ("last", "path")

    def __init__(self, path: str) -> None:
        self.path = path
        self.last: dict[str, Any] = {}


class TBXLoggerCallback(LoggerCallback):
    """Writes numeric metrics as TensorBoard scalars named ``ray/tune/<metric>``.

    The step is `timesteps_total` if the trial counts timesteps, else `training_iteration`. When a
    trial ends, its configuration and last metrics are written for the HParams view.

    All scalars of a result go into one event, and no writer thread is started per trial: the event
    writer of tensorboardX has both, which is too much for thousands of trials.

    Raises:
        ImportError: If tensorboardX is not installed.
    """

    own_thread: ClassVar[bool] = True
    _serial = count()

    def __init__(self) -> None:
        try:
            from tensorboardX.crc32c import crc32c
            from tensorboardX.proto.event_pb2 import Event
            from tensorboardX.proto.summary_pb2 import Summary
        except ImportError as error:
            raise ImportError(
                "TBXLoggerCallback needs tensorboardX: pip install 'prefect-tune[tensorboard]'"
            ) from error
        self._crc32c = crc32c
        self._event = Event
        self._summary = Summary
        self._files = AppendFiles()
        self._runs: dict[str, _Run] = {}

    def log_trial_start(self, trial: Trial) -> None:
        """Begin an event file; each attempt has its own."""
        self._finish(trial, hparams=False)
        self._begin(trial)

    def log_trial_result(self, iteration: int, trial: Trial, result: dict[str, Any]) -> None:
        """Write one result."""
        self.log_trial_results(iteration, trial, (result,))

    def log_trial_results(
        self,
        iteration: int,
        trial: Trial,
        results: Sequence[Mapping[str, Any]],
        lines: Sequence[bytes] = (),
    ) -> None:
        """Write several results."""
        if not results:
            return
        run = self._runs.get(trial.trial_id) or self._begin(trial)
        records = [self._record(result) for result in results]
        run.last |= _scalars(results[-1])
        self._files.append(run.path, b"".join(records))

    def log_trial_end(self, trial: Trial, failed: bool = False) -> None:
        """Write the HParams of the trial and close its file."""
        self._finish(trial, hparams=True)

    def flush(self) -> None:
        """Write what is buffered."""
        self._files.flush()

    def on_experiment_end(self, trials: list[Trial], **info: Any) -> None:
        """Write everything and close all files."""
        self._runs.clear()
        self._files.close_all()

    def _begin(self, trial: Trial) -> _Run:
        now = time.time()
        name = f"events.out.tfevents.{int(now)}.{socket.gethostname()}.{os.getpid()}"
        run = _Run(os.path.join(trial.logdir, f"{name}.{next(self._serial)}"))
        header = self._event(wall_time=now, file_version="brain.Event:2")
        self._files.append(run.path, self._framed(header.SerializeToString()))
        self._runs[trial.trial_id] = run
        return run

    def _finish(self, trial: Trial, *, hparams: bool) -> None:
        run = self._runs.pop(trial.trial_id, None)
        if run is None:
            return
        if hparams and run.last:
            self._files.append(run.path, self._hparams(trial.config, run.last))
        self._files.close(run.path)

    def _record(self, result: Mapping[str, Any]) -> bytes:
        value = self._summary.Value
        values = [
            value(tag=TAG_PREFIX + name, simple_value=number)
            for name, number in _scalars(result).items()
        ]
        event = self._event(
            wall_time=result.get("timestamp") or time.time(),
            step=int(result.get("timesteps_total") or result.get("training_iteration") or 0),
            summary=self._summary(value=values),
        )
        return self._framed(event.SerializeToString())

    def _hparams(self, config: Mapping[str, Any], metrics: Mapping[str, float]) -> bytes:
        from tensorboardX.summary import hparams

        tagged = {TAG_PREFIX + name: value for name, value in metrics.items()}
        summaries = hparams(hparam_dict=_hparam_values(config), metric_dict=tagged)
        now = time.time()
        return b"".join(
            self._framed(self._event(wall_time=now, summary=summary).SerializeToString())
            for summary in summaries
        )

    def _framed(self, event: bytes) -> bytes:
        """An event as a TFRecord: length, its checksum, data, its checksum."""
        length = _LENGTH.pack(len(event))
        return b"".join((length, self._checksum(length), event, self._checksum(event)))

    def _checksum(self, data: bytes) -> bytes:
        crc = self._crc32c(data)
        # TFRecord stores checksums masked, since a checksum of data with checksums is a weak one.
        return _CHECKSUM.pack((((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF)


def _scalars(result: Mapping[str, Any]) -> dict[str, float]:
    """The finite numbers of a result worth a curve, flattened."""
    flat = flatten({key: value for key, value in result.items() if key not in _NOT_DRAWN})
    return {
        name: value
        for name, value in flat.items()
        if (type(value) is float or type(value) is int or _is_number(value))
        and math.isfinite(value)
    }


def _is_number(value: Any) -> bool:
    return hasattr(value, "dtype") and getattr(value, "ndim", 1) == 0 and value.dtype.kind in "iuf"


def _hparam_values(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration, flattened, with only values that the HParams view knows."""
    flat = flatten(dict(config))
    nested = flat.pop("config", None)  # `flatten` leaves a parameter of this name alone
    if isinstance(nested, dict):
        flat |= {f"config/{name}": value for name, value in flatten(nested).items()}
    elif nested is not None:
        flat["config"] = nested
    return {
        str(name): value if isinstance(value, (bool, int, float, str)) else str(value)
        for name, value in flat.items()
        if value is not None
    }
