"""The free resources of a node, and the placement of a request's bundles on nodes.

All amounts are integer milli-units.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Iterator
from heapq import heappop, heappush
from itertools import chain

from prefect_tune.coordinator.events import Node
from prefect_tune.experiment.message import message
from prefect_tune.resources import CPU, GPU, MILLI, Resources

#: How many slots are tried for one request of several bundles before it counts as not fitting.
_TRIES = 2000


@message(frozen=True, slots=True)
class Slot:
    """The resources that are reserved on a node for one attempt, or for one bundle of an attempt.

    Attributes:
        node: Address of the node.
        resources: The reserved amounts.
        devices: Ids of the reserved GPUs.
        others: The slots of the attempt's other bundles, if this is the slot of its first one.
    """

    node: str
    resources: Resources
    devices: tuple[str, ...] = ()
    others: tuple[Slot, ...] = ()


class NodeSlots:
    """The free resources of one node.

    Args:
        node: The node.
        number: Index of the node in the cluster.
    """

    def __init__(self, node: Node, number: int = 0) -> None:
        self.node = node
        self.number = number
        self.free = {
            name: total - node.held.get_milli(name) for name, total in node.resources.milli
        }
        self.device_free = dict.fromkeys(node.devices, MILLI)

    def alike(self) -> Hashable:
        """Return a key that is equal for nodes with equal free amounts."""
        return (bool(self.node.obstacle), *self.free.items(), *self.device_free.values())

    def rank(self) -> tuple[int, int, int]:
        """Return a sort key: the emptiest node first, nodes with free GPUs last."""
        return self.free.get(GPU, 0), -self.free.get(CPU, 0), self.number

    def fullness(self) -> tuple[int, int, int]:
        """Return a sort key: the fullest node first, nodes with free GPUs last."""
        return self.free.get(GPU, 0), self.free.get(CPU, 0), self.number

    def fits(self, request: Resources) -> bool:
        """Return True if the node has room for a request of one bundle."""
        if self.node.obstacle:
            return False
        gpu = 0
        for name, amount in request.milli:
            if self.free.get(name, 0) < amount:
                return False
            if name == GPU:
                gpu = amount
        return not gpu or not self.device_free or self._pick_devices(gpu) is not None

    def _pick_devices(self, gpu: int) -> tuple[str, ...] | None:
        """Return whole devices for a request of 1 or more, else the fullest device with room."""
        if gpu < MILLI:
            roomy = [(free, device) for device, free in self.device_free.items() if free >= gpu]
            return (min(roomy, key=lambda pair: pair[0])[1],) if roomy else None
        # A request for 1.5 GPUs gets two whole devices: nothing can enforce how two processes
        # share one.
        wanted = -(-gpu // MILLI)
        idle = [device for device, free in self.device_free.items() if free == MILLI]
        return tuple(idle[:wanted]) if len(idle) >= wanted else None

    def reserve(self, request: Resources) -> Slot:
        """Reserve the resources of a request that `fits`, and return the slot."""
        gpu = request.get_milli(GPU)
        devices = (self._pick_devices(gpu) or ()) if gpu and self.device_free else ()
        slot = Slot(self.node.address, request, devices)
        self.add(slot, -1)
        return slot

    def add(self, slot: Slot, sign: int) -> None:
        """Count a slot as free (`sign` 1) or reserved (-1), whether it fits or not."""
        for name, amount in slot.resources.milli:
            self.free[name] = self.free.get(name, 0) + sign * amount
        gpu = min(slot.resources.get_milli(GPU), MILLI)
        for device in slot.devices:
            if device in self.device_free:
                self.device_free[device] += sign * gpu


class NodesAlike(dict[int, NodeSlots]):
    """Nodes with equal free amounts, by number; finds the lowest without a look at all."""

    def __init__(self) -> None:
        super().__init__()
        # A heap of all numbers, and of some that are gone.
        self._numbers: list[int] = []

    def add(self, node: NodeSlots) -> None:
        """Add a node."""
        self[node.number] = node
        heappush(self._numbers, node.number)
        if len(self._numbers) > 2 * len(self) + 16:
            self._numbers = sorted(self)

    def lowest(self, avoided: int | None) -> NodeSlots | None:
        """Return the node with the lowest number but `avoided`; None if there is no other."""
        numbers = self._numbers
        while numbers and numbers[0] not in self:
            heappop(numbers)
        if not numbers or numbers[0] != avoided:
            return self[numbers[0]] if numbers else None
        number = min((number for number in self if number != avoided), default=None)
        return None if number is None else self[number]


#: Nodes with equal free amounts, and their preference: those with the lowest number come first.
NodeClass = tuple[int, Collection[NodeSlots]]


def lay_out(request: Resources, classes: Iterable[NodeClass]) -> list[Slot] | None:
    """Reserve a slot for each bundle of a request, all or none.

    The largest bundles are placed first, each on the node that the strategy prefers. If a bundle
    finds no room, the bundle placed before it is moved to another node.

    Args:
        request: The bundles and the strategy.
        classes: The nodes.

    Returns:
        The slots in the order of the bundles, already reserved on the nodes; None if the bundles
        do not fit.
    """
    return _Layout(request, [(liked, nodes) for liked, nodes in classes if nodes]).find()


class _Layout:
    """A search for slots of all bundles of a request; used by `lay_out`."""

    def __init__(self, request: Resources, classes: list[NodeClass]) -> None:
        self._request = request
        self._strategy = request.strategy
        bundles = request.bundles
        # An empty first bundle needs nothing, and goes to the node of the second one.
        self._order = [number for number, bundle in enumerate(bundles) if bundle]
        self._order.sort(key=lambda number: _size(bundles[number]), reverse=True)
        if self._strategy == "STRICT_PACK":
            classes = [known for known in classes if _has(_first(known), request)]
        classes = sorted(classes, key=lambda known: (known[0], self._rank(_first(known))))
        self._classes = [nodes for _, nodes in classes]
        #: The bundles placed so far: number, node and slot of each, the newest last.
        self._taken: list[tuple[int, NodeSlots, Slot]] = []
        self._tries = _TRIES

    def find(self) -> list[Slot] | None:
        if not self._classes or not self._place(0):
            return None
        slots = {number: slot for number, _, slot in self._taken}
        if 0 not in slots:  # 1 is missing as well if nothing at all is asked for
            node = slots[1].node if slots else next(iter(self._classes[0])).node.address
            slots[0] = Slot(node, self._request.bundles[0])
        return [slots[number] for number in range(len(slots))]

    def _rank(self, node: NodeSlots) -> tuple[int, ...]:
        """Return a sort key of the nodes for the first bundle."""
        if "PACK" not in self._strategy:
            return node.rank()
        # The fullest node with room for all bundles, or else the emptiest one.
        if _has(node, self._request):
            return 0, *node.fullness()
        return 1, *(-amount for amount in node.fullness())

    def _place(self, index: int) -> bool:
        """Place the bundles from this index on; if that fails, place none of them."""
        if index == len(self._order):
            return True
        number = self._order[index]
        bundle = self._request.bundles[number]
        for node in self._candidates():
            if not node.fits(bundle):
                continue
            if self._tries <= 0:
                return False
            self._tries -= 1
            self._taken.append((number, node, node.reserve(bundle)))
            if self._place(index + 1):
                return True
            _, _, slot = self._taken.pop()
            node.add(slot, 1)
        return False

    def _candidates(self) -> Iterator[NodeSlots]:
        """Return the nodes for the next bundle, the best first; one of each class."""
        counts = Counter(node.number for _, node, _ in self._taken)
        used = list({node.number: node for _, node, _ in self._taken}.values())
        others = (
            next((node for node in nodes if node.number not in counts), None)
            for nodes in self._classes
        )
        unused = (node for node in others if node is not None)
        if not used or self._strategy == "STRICT_SPREAD":
            return unused
        if self._strategy == "STRICT_PACK":
            return iter(used)
        if self._strategy == "PACK":
            return chain(used, unused)
        return chain(unused, sorted(used, key=lambda node: counts[node.number]))


def _first(known: NodeClass) -> NodeSlots:
    return next(iter(known[1]))


def _has(node: NodeSlots, request: Resources) -> bool:
    """Return True if a node has the amounts of all bundles; GPU devices are not compared."""
    return all(node.free.get(name, 0) >= amount for name, amount in request.milli)


def _size(bundle: Resources) -> tuple[int, int, int]:
    """Return a sort key of bundles by size; GPUs count first, being the scarcest."""
    amounts = dict(bundle.milli)
    return amounts.pop(GPU, 0), amounts.pop(CPU, 0), sum(amounts.values())
