"""A queue of trials of several sizes on many nodes, without anything but their placement."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from prefect_tune.coordinator.events import Node
from prefect_tune.coordinator.kept_room import KeptRoom
from prefect_tune.coordinator.node_slots import Slot
from prefect_tune.coordinator.placement import Placer
from prefect_tune.experiment.trial import Trial
from prefect_tune.resources import Resources


@dataclass
class Outcome:
    """What became of them.

    Attributes:
        utilisation: Share of all CPUs that was in use until `share` of the work had begun.
        waited: By request, the longest time that a trial was the first of its kind to wait.
    """

    utilisation: float
    waited: dict[Resources, float]


def sweep(
    nodes: Sequence[Node], jobs: Iterable[tuple[Resources, float]], share: float = 0.8
) -> Outcome:
    """Run jobs (what each asks for, and how long it runs), first come first served if it fits."""
    placer = Placer()
    placer.update(nodes, [])
    room = KeptRoom(placer)
    capacity = sum(node.resources.get_milli("CPU") for node in nodes)
    seconds: dict[str, float] = {}
    queues: dict[Resources, deque[tuple[int, Trial]]] = {}
    for number, (request, length) in enumerate(jobs):
        trial = Trial(f"{number:06}", {}, resources=request)
        seconds[trial.trial_id] = length
        queues.setdefault(request, deque()).append((number, trial))
    left = sum(seconds.values())
    begun = now = area = area_until = until = used = 0.0
    first = dict.fromkeys(queues, 0.0)
    waited = dict.fromkeys(queues, 0.0)
    running: list[tuple[float, str, Slot, Resources]] = []
    while True:
        slot = None
        for _, trial in sorted(queue[0] for queue in queues.values() if queue):
            if room.fits(trial) and (slot := room.reserve(trial)):
                request = trial.resources
                queues[request].popleft()
                waited[request] = max(waited[request], now - first[request])
                first[request] = now
                used += request.get_milli("CPU")
                length = seconds[trial.trial_id]
                heapq.heappush(running, (now + length, trial.trial_id, slot, request))
                begun += length
                if begun <= share * left:
                    area_until, until = area, now
                break
        if slot is not None or room.end_round():
            continue
        if not running:
            break
        end, _, slot, request = heapq.heappop(running)
        area += used * (end - now)
        now = end
        used -= request.get_milli("CPU")
        placer.release(slot)
    assert not any(queues.values()), "some wait for ever"
    assert all(total == (0.0, total[1]) for total in placer.totals().values())
    return Outcome(area_until / (capacity * until) if until else 1.0, waited)
