"""Describes what an experiment waits for: as a text, and as the demand for adaptive clusters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from prefect_tune.coordinator.core import Core
from prefect_tune.experiment.trial import PENDING
from prefect_tune.resources import Resources

#: Number of waiting trials that are shown as demand; more do not make a cluster grow faster.
_MOST_DEMAND = 200


def explain(core: Core) -> str:
    """Return the reason why no attempt runs; "" if one runs, or no further one will.

    Reasons are, in this order: unfinished uploads, a paused sweep, a delay before another try,
    missing resources, and a search that suggests nothing.
    """
    if core.table.running:
        return ""
    uploading = core.table.uploading_trials()
    if uploading:
        left = sum(live.uploads for live in uploading)
        first = uploading[0]
        return (
            f"{left} checkpoints of {len(uploading)} trials are being uploaded to storage, "
            f"{first.uploads} of {first.trial} from {first.node}"
        )
    if core.pause_reason:
        return f"the sweep is paused ({core.pause_reason})"
    waiting = [] if core.stopping else [live.trial for live in core.table.waiting()]
    ready = [trial for trial in waiting if not core.delays.is_delayed(trial.trial_id)]
    if not ready and waiting:
        trial = waiting[0]
        left_s = max(0.0, (core.delays.until(trial.trial_id) or core.now) - core.now)
        return f"{trial} is tried again in {left_s:.0f} s ({trial.error})"
    if not ready:
        return "" if core.stopping else core.turns.explain()
    trial, placer = ready[0], core.placer
    if not placer.nodes:
        return f"{trial} waits for {trial.resources}: {placer.describe()}"
    if not placer.could_ever_fit(trial.resources):
        return f"{trial} needs {trial.resources}, which no node has: {placer.describe()}"
    if placer.fits(trial.resources):
        name = type(core.scheduler).__name__
        return f"there is room, but {name} chooses none of {len(ready)} trials such as {trial}"
    return f"{trial} waits for {trial.resources}: {placer.describe()}"


def demand(core: Core) -> Mapping[Resources, int]:
    """Return the resources of the trials that wait for room, with the number of such trials."""
    wanted: Counter[Resources] = Counter()
    if core.stopping or core.draining or core.pause_reason or core.finished:
        return wanted
    limit = core.options.max_running
    most = _MOST_DEMAND if limit is None else min(_MOST_DEMAND, limit - core.table.running)
    for live in core.table.waiting():
        if most <= 0:
            break
        trial = live.trial
        if trial.status != PENDING or core.delays.is_delayed(trial.trial_id):
            continue
        if not core.placer.fits(trial.resources):  # else the scheduler does not want it now
            wanted[trial.resources] += 1
            most -= 1
    return wanted
