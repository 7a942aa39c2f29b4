"""Decides which nodes an attempt runs on, and which of their GPUs it gets.

The coordinator places attempts itself and pins them to nodes: a Dask scheduler would place tasks by
declared totals only, and a task queued on a worker would block the tasks behind it. All amounts are
integer milli-units.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import replace

from prefect_tune.coordinator.events import Node
from prefect_tune.coordinator.node_slots import (
    NodeClass,
    NodesAlike,
    NodeSlots,
    Slot,
    lay_out,
)
from prefect_tune.resources import GPU, MILLI, Resources, is_offered, show_amount


class Placer:
    """Reserves slots for attempts on the nodes of the cluster."""

    def __init__(self) -> None:
        self._nodes: dict[str, NodeSlots] = {}
        #: The nodes by their free amounts: most nodes have equal free amounts.
        self._alike: dict[Hashable, NodesAlike] = {}
        # Requests that do not fit now; schedulers ask for each waiting trial again and again.
        self._too_large: set[Resources] = set()
        #: Slots that are kept free for a request that waits.
        self._kept: list[Slot] = []
        self._kept_for: Resources | None = None
        #: True once a request names what nodes have without declaring it: before, it is not shown.
        self._uses_offers = False
        self._known: Resources | None = None

    def update(self, nodes: Iterable[Node], slots: Iterable[Slot]) -> None:
        """Replace the set of nodes; `slots` are the reservations that go on."""
        if self._uses_offers:
            nodes = map(Node.with_offers, nodes)
        self._nodes = {node.address: NodeSlots(node, number) for number, node in enumerate(nodes)}
        self._too_large.clear()
        for slot in slots:
            for part in (slot, *slot.others):
                if part.node in self._nodes:
                    self._nodes[part.node].add(part, -1)
        self._alike = {}
        for state in self._nodes.values():
            self._enter(state)
        kept_for, self._kept, self._kept_for = self._kept_for, [], None
        if kept_for is not None:
            self.keep_for(kept_for)

    @property
    def nodes(self) -> list[Node]:
        """The present nodes of the cluster."""
        return [state.node for state in self._nodes.values()]

    def __len__(self) -> int:
        return len(self._nodes)

    def fits(self, request: Resources) -> bool:
        """Return True if there is room for the request now."""
        self._add_offers_for(request)
        if request in self._too_large:
            return False
        if len(request.bundles) > 1:
            fits = self._lay_out(request) is not None
        else:
            fits = any(next(iter(nodes.values())).fits(request) for nodes in self._alike.values())
        if not fits:
            self._too_large.add(request)
        return fits

    def reserve(self, request: Resources, avoid: str = "", pack: bool = False) -> Slot | None:
        """Reserve a slot for a request; return None if no node has room now.

        A request with GPUs goes to the fullest node that has room, which leaves whole nodes for
        large requests; one without goes to the emptiest, and to nodes with GPUs last. Several
        bundles go where their strategy says, all of them or none.

        Args:
            request: The requested resources.
            avoid: Address of a node that is used only if no other one has room.
            pack: Whether a request without GPUs goes to the fullest node, too.
        """
        self._add_offers_for(request)
        if len(request.bundles) > 1:
            return self._reserve_group(request, avoid)
        candidates = []
        avoided = self._nodes.get(avoid)
        for nodes in self._alike.values():
            if not next(iter(nodes.values())).fits(request):  # then none of them has room
                continue
            lowest = nodes.lowest(None if avoided is None else avoided.number)
            if lowest is not None:
                candidates.append(lowest)
        if not candidates:
            if avoided is None or not avoided.fits(request):
                return None
            candidates = [avoided]
        pack = pack or bool(request.get_milli(GPU))
        best = min(candidates, key=NodeSlots.fullness if pack else NodeSlots.rank)
        self._leave(best)
        slot = best.reserve(request)
        self._enter(best)
        return slot

    def _add_offers_for(self, request: Resources) -> None:
        """Count optional resources of nodes, such as memory, once a request names one of them."""
        if self._uses_offers or request is self._known:
            return
        if not any(map(is_offered, request)):
            self._known = request  # most trials share one
            return
        self._uses_offers = True
        self._alike = {}
        for state in self._nodes.values():
            state.node = state.node.with_offers()
            state.free = {**dict(state.node.resources.milli), **state.free}
            self._enter(state)

    def _reserve_group(self, request: Resources, avoid: str) -> Slot | None:
        slots = self._lay_out(request, self._nodes.get(avoid))
        if slots is None:
            return None
        for slot in slots:
            self._add(slot, -1)
        head, *rest = slots
        return replace(head, others=tuple(rest))

    def _lay_out(self, request: Resources, avoided: NodeSlots | None = None) -> list[Slot] | None:
        """Find slots for all bundles of a request, without reserving them."""
        slots = lay_out(request, self._classes(avoided))
        for slot in slots or ():
            self._nodes[slot.node].add(slot, 1)
        return slots

    def _classes(self, avoided: NodeSlots | None) -> Iterator[NodeClass]:
        for nodes in self._alike.values():
            if avoided is not None and avoided.number in nodes:
                yield 1, [avoided]
                yield 0, [node for node in nodes.values() if node is not avoided]
            else:
                yield 0, nodes.values()

    def release(self, slot: Slot) -> None:
        """Release a slot; do nothing on nodes that are gone."""
        for part in (slot, *slot.others):
            self._add(part, 1)

    def _add(self, slot: Slot, sign: int) -> None:
        """Count a slot as free (`sign` 1) or reserved (-1), and update the class of its node."""
        state = self._nodes.get(slot.node)
        if state is None:
            return
        self._leave(state)
        state.add(slot, sign)
        self._enter(state)
        if sign > 0:
            # Of the requests that did not fit, only those with a bundle that fits here may fit now.
            self._too_large = {
                request for request in self._too_large if not any(map(state.fits, request.bundles))
            }

    def _enter(self, state: NodeSlots) -> None:
        key = state.alike()
        nodes = self._alike.get(key)
        if nodes is None:
            nodes = self._alike[key] = NodesAlike()
        nodes.add(state)

    def _leave(self, state: NodeSlots) -> None:
        """Remove a node from its class; call this before its free amounts change."""
        key = state.alike()
        nodes = self._alike[key]
        del nodes[state.number]
        if not nodes:
            del self._alike[key]

    # -- keeping room -----------------------------------------------------------------------------

    def keep_for(self, request: Resources) -> None:
        """Keep room for a request, which no other request gets, until `keep_nothing`.

        The room is kept on the nodes where the least has to become free. It counts as reserved
        although other attempts may still run there, so free amounts may be negative.
        """
        self._add_offers_for(request)
        self.keep_nothing()
        slots = lay_out(request, self._idle(functools.partial(_missing, request)))
        self._kept_for = request
        self._kept = [replace(slot, devices=()) for slot in slots or ()]
        for slot in self._kept:
            self._add(slot, -1)

    def keep_nothing(self) -> None:
        """Give up the room that `keep_for` keeps."""
        for slot in self._kept:
            self._add(slot, 1)
        self._kept, self._kept_for = [], None

    def _idle(self, cost: Callable[[NodeSlots], int | None]) -> Iterable[NodeClass]:
        """Return the nodes as if nothing ran on them; leave out those with `cost` None."""
        classes: dict[tuple[int, Hashable], list[NodeSlots]] = {}
        for state in self._nodes.values():
            missing = cost(state)
            if missing is not None:
                node = replace(state.node, held=Resources(), obstacle="")
                idle = NodeSlots(node, state.number)
                classes.setdefault((missing, idle.alike()), []).append(idle)
        return ((missing, nodes) for (missing, _), nodes in classes.items())

    @property
    def is_kept_free(self) -> bool:
        """True if all kept room is free; GPU devices are not compared."""
        return bool(self._kept) and all(
            self._nodes[slot.node].free[name] >= 0
            for slot in self._kept
            for name, _ in slot.resources.milli
        )

    # -- for messages -----------------------------------------------------------------------------

    def could_ever_fit(self, request: Resources) -> bool:
        """Return True if the nodes, when empty, have room for the request."""
        self._add_offers_for(request)
        return lay_out(request, self._idle(lambda _: 0)) is not None

    def totals(self) -> dict[str, tuple[float, float]]:
        """Return ``{resource: (in use, total)}`` over all nodes, in units."""
        result: dict[str, tuple[float, float]] = {}
        kept: Counter[tuple[str, str]] = Counter()
        for slot in self._kept:
            kept.update({(slot.node, name): amount for name, amount in slot.resources.milli})
        for address, state in self._nodes.items():
            for name, total in state.node.resources.milli:
                used, known = result.get(name, (0.0, 0.0))
                free = state.free.get(name, 0) + kept[address, name]
                result[name] = (used + (total - free) / MILLI, known + total / MILLI)
        return result

    def describe(self) -> str:
        """Return a text that says what each node has free, for messages."""
        if not self._nodes:
            return "the cluster has no workers that can run it"
        return "; ".join(map(_describe, self._nodes.values()))


def _missing(request: Resources, state: NodeSlots) -> int | None:
    """Return how much has to become free on a node before a bundle of the request fits.

    None is returned for a node on which no attempt can start.
    """
    if state.node.obstacle:
        return None
    return min(
        sum(max(0, amount - state.free.get(name, 0)) for name, amount in bundle.milli)
        for bundle in request.bundles
    )


def _describe(state: NodeSlots) -> str:
    node = state.node
    if node.obstacle:
        return f"nothing starts on {node.address} now: {node.obstacle}"
    free = ", ".join(
        show_amount(name, max(0, state.free.get(name, 0)), total)
        for name, total in node.resources.milli
    )
    others = f" (other Dask tasks hold {node.held})" if node.held else ""
    return f"{node.address} has {free} free{others}"
