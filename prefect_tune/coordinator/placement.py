"""Which node an attempt runs on, and which of its GPUs it gets.

The coordinator packs attempts into nodes itself and pins them: a Dask scheduler places by declared
totals, and a task queued on a worker blocks the tasks behind it. All amounts are integer
milli-units.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from heapq import heappop, heappush

from prefect_tune.coordinator.events import Node
from prefect_tune.resources import CPU, GPU, MILLI, Resources


@dataclass(frozen=True, slots=True)
class Slot:
    """What is reserved for one attempt."""

    node: str
    resources: Resources
    devices: tuple[str, ...] = ()


class _NodeState:
    """Free amounts of one node."""

    def __init__(self, node: Node, number: int = 0) -> None:
        self.node = node
        self._number = number
        self.free = {
            name: total - node.held.get_milli(name) for name, total in node.resources.milli
        }
        self.device_free = dict.fromkeys(node.devices, MILLI)

    def rank(self) -> tuple[int, int, int]:
        """Emptiest first, those with free GPUs last; of equals the first."""
        return self.free.get(GPU, 0), -self.free.get(CPU, 0), self._number

    def fits(self, request: Resources) -> bool:
        if self.node.obstacle:
            return False
        if any(self.free.get(name, 0) < amount for name, amount in request.milli):
            return False
        gpu = request.get_milli(GPU)
        return not gpu or not self.device_free or self._pick_devices(gpu) is not None

    def _pick_devices(self, gpu: int) -> tuple[str, ...] | None:
        """Whole devices for a request of 1 or more, else the fullest device with room."""
        if gpu < MILLI:
            roomy = [(free, device) for device, free in self.device_free.items() if free >= gpu]
            return (min(roomy, key=lambda pair: pair[0])[1],) if roomy else None
        # A share on top of whole devices (1.5 GPUs) takes the next whole device: nobody can enforce
        # how two processes split one.
        wanted = -(-gpu // MILLI)
        idle = [device for device, free in self.device_free.items() if free == MILLI]
        return tuple(idle[:wanted]) if len(idle) >= wanted else None

    def take(self, request: Resources) -> Slot:
        devices: tuple[str, ...] = ()
        gpu = request.get_milli(GPU)
        if gpu and self.device_free:
            devices = self._pick_devices(gpu) or ()
        for name, amount in request.milli:
            self.free[name] -= amount
        for device in devices:
            self.device_free[device] -= min(gpu, MILLI)
        return Slot(self.node.address, request, devices)

    def give_back(self, slot: Slot) -> None:
        for name, amount in slot.resources.milli:
            if name in self.free:
                self.free[name] += amount
        gpu = slot.resources.get_milli(GPU)
        for device in slot.devices:
            if device in self.device_free:
                self.device_free[device] += min(gpu, MILLI)


class Placer:
    """Reserves slots on nodes."""

    def __init__(self) -> None:
        self._nodes: dict[str, _NodeState] = {}
        self._states: list[_NodeState] = []
        # Schedulers ask for one waiting trial after the other, which mostly want the same.
        self._too_large: Resources | None = None
        # The nodes, emptiest first; entries that are out of date are passed over.
        self._emptiest: list[tuple[int, int, int]] = []
        # What is free of each resource on all nodes together, at most.
        self._free: Counter[str] = Counter()

    def update(self, nodes: Iterable[Node], slots: Iterable[Slot]) -> None:
        """Replace the set of nodes; `slots` are the reservations that live on."""
        self._nodes = {node.address: _NodeState(node, number) for number, node in enumerate(nodes)}
        self._states = list(self._nodes.values())
        self._too_large = None
        for slot in slots:
            state = self._nodes.get(slot.node)
            if state is None:
                continue
            for name, amount in slot.resources.milli:
                state.free[name] = state.free.get(name, 0) - amount
            gpu = slot.resources.get_milli(GPU)
            for device in slot.devices:
                if device in state.device_free:
                    state.device_free[device] -= min(gpu, MILLI)
        self._emptiest = sorted(state.rank() for state in self._states)
        self._free = Counter()
        for state in self._states:
            self._free.update(state.free)

    @property
    def nodes(self) -> list[Node]:
        """The nodes known now."""
        return [state.node for state in self._nodes.values()]

    def fits(self, request: Resources) -> bool:
        """True if some node has room for the request now."""
        if request is self._too_large:
            return False
        free = self._free
        if all(free[name] >= amount for name, amount in request.milli):
            top = self._top()
            if top is not None and top.fits(request):
                return True
            if any(state.fits(request) for state in self._states):
                return True
        self._too_large = request
        return False

    def _top(self) -> _NodeState | None:
        """The emptiest node."""
        queue = self._emptiest
        while queue:
            state = self._states[queue[0][2]]
            if queue[0] == state.rank():
                return state
            heappop(queue)
        return None

    def _changed(self, state: _NodeState, slot: Slot, sign: int) -> None:
        for name, amount in slot.resources.milli:
            self._free[name] += sign * amount
        if len(self._emptiest) > 4 * len(self._states) + 64:
            self._emptiest = sorted(known.rank() for known in self._states)
        else:
            heappush(self._emptiest, state.rank())

    def reserve(self, request: Resources, avoid: str = "") -> Slot | None:
        """Take a slot, or None if no node has room now.

        A request with GPUs goes to the fullest node that has room, which leaves whole nodes for
        large requests; one without goes to the emptiest, and to nodes with GPUs last.

        Args:
            request: How much.
            avoid: Address of a node that is taken only if no other one has room.
        """
        best = self._top()
        if avoid or request.get_milli(GPU) or best is None or not best.fits(request):
            candidates = [state for state in self._states if state.fits(request)]
            if not candidates:
                return None
            if avoid and len(candidates) > 1:
                candidates = [state for state in candidates if state.node.address != avoid]
            if request.get_milli(GPU):
                best = min(candidates, key=lambda state: state.free.get(GPU, 0))
            else:
                best = min(candidates, key=_NodeState.rank)
        slot = best.take(request)
        self._changed(best, slot, -1)
        return slot

    def release(self, slot: Slot) -> None:
        """Give a slot back; does nothing if its node is gone."""
        self._too_large = None
        state = self._nodes.get(slot.node)
        if state is not None:
            state.give_back(slot)
            self._changed(state, slot, 1)

    def could_ever_fit(self, request: Resources) -> bool:
        """True if some node, when empty, has room for the request."""
        return any(
            _NodeState(replace(node, held=Resources(), obstacle="")).fits(request)
            for node in self.nodes
        )

    def totals(self) -> dict[str, tuple[float, float]]:
        """``{resource: (in use, total)}`` over all nodes, in units."""
        result: dict[str, tuple[float, float]] = {}
        for state in self._nodes.values():
            for name, total in state.node.resources.milli:
                used, known = result.get(name, (0.0, 0.0))
                free = state.free.get(name, 0)
                result[name] = (used + (total - free) / MILLI, known + total / MILLI)
        return result

    def describe(self) -> str:
        """What each node has free, for messages."""
        if not self._nodes:
            return "the cluster has no workers that can run it"
        return "; ".join(map(_describe, self._nodes.values()))


def _describe(state: _NodeState) -> str:
    node = state.node
    if node.obstacle:
        return f"nothing starts on {node.address} now: {node.obstacle}"
    free = ", ".join(
        f"{max(0, state.free.get(name, 0)) / MILLI:g} of {total / MILLI:g} {name}"
        for name, total in node.resources.milli
    )
    others = f" (other Dask tasks hold {node.held})" if node.held else ""
    return f"{node.address} has {free} free{others}"
