"""What a trial asks for and what a node has, counted in integer milli-units.

Floats drift when slots are added and subtracted (nine requests of 1/9 do not fit into 1), so every
amount is an integer number of thousandths: 0.5 CPU is 500.
"""

from __future__ import annotations

import itertools
import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from prefect_tune.error import InvalidArgument

MILLI = 1000
CPU = "CPU"
GPU = "GPU"
#: Bytes of host memory; each node has what its worker may use.
MEMORY = "memory"
#: With a model: what each node with GPUs of this model has.
ACCELERATOR_TYPE = "accelerator_type:"
_STRATEGIES = ("PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD")
_CANONICAL = {"cpu": CPU, "gpu": GPU}


def canonical_name(name: str) -> str:
    """Return a resource name as Dask clusters spell it: ``cpu`` becomes ``CPU``."""
    return _CANONICAL.get(name.lower(), name)


def is_offered(name: str) -> bool:
    """Return True for a resource that a node has without declaring it."""
    return name == MEMORY or name.startswith(ACCELERATOR_TYPE)


def show_amount(name: str, *milli: int, between: str = " of ") -> str:
    """Return a text such as ``0.5 GPU``, ``1 of 2 CPU`` or ``0.3 of 2.1 GB memory``."""
    if name == MEMORY:
        return f"{between.join(f'{amount / MILLI / 1e9:.4g}' for amount in milli)} GB {name}"
    return f"{between.join(f'{amount / MILLI:g}' for amount in milli)} {name}"


def to_milli(amount: Any, argument: str) -> int:
    """Convert an amount in units into milli-units.

    Raises:
        InvalidArgument: If the amount is not a finite number >= 0.
    """
    if isinstance(amount, bool) or not isinstance(amount, (int, float)):
        raise InvalidArgument(argument, f"got {amount!r}.", "Give a number >= 0, e.g. 0.5.")
    if not math.isfinite(amount) or amount < 0:
        raise InvalidArgument(
            argument, f"got {amount!r}.", "Resources are finite numbers >= 0, e.g. 0.5."
        )
    milli = round(amount * MILLI)
    if amount > 0 and milli == 0:
        raise InvalidArgument(argument, f"got {amount!r}.", "The smallest share is 0.001.")
    return milli


@dataclass(frozen=True, slots=True, init=False)
class Resources(Mapping[str, float]):
    """An amount of named resources, in milli-units, sorted by name.

    As a mapping it shows units: ``Resources(cpu=0.5)["CPU"] == 0.5``.

    Args:
        milli: Names and amounts in milli-units, sorted by name.
        **units: Amounts in units as Ray Tune 1 names them: `cpu`, `gpu`, `memory`, `extra_cpu`,
            `custom_resources` and so on. Extra ones are added to the others.

    Raises:
        InvalidArgument: On negative, NaN or non-numeric amounts.
    """

    milli: tuple[tuple[str, int], ...] = ()

    def __init__(self, milli: tuple[tuple[str, int], ...] = (), **units: Any) -> None:
        units.pop("has_placement_group", None)
        if units:
            milli = type(self).parse({"cpu": 0, **units}, "Resources").milli
        object.__setattr__(self, "milli", milli)

    @property
    def bundles(self) -> tuple[Resources, ...]:
        """What is reserved on one node each; the first runs the trial."""
        return (self,)

    @property
    def strategy(self) -> str:
        """How the bundles are laid over nodes."""
        return "PACK"

    @property
    def factory(self) -> PlacementGroupFactory:
        """The request in Ray Tune's form."""
        return PlacementGroupFactory([dict(bundle) for bundle in self.bundles], self.strategy)

    @property
    def cpu(self) -> float:
        """Number of CPUs."""
        return self.get(CPU, 0.0)

    @property
    def gpu(self) -> float:
        """Number of GPUs."""
        return self.get(GPU, 0.0)

    @property
    def custom_resources(self) -> dict[str, float]:
        """Amounts of all resources but CPUs and GPUs, in units."""
        return {name: amount for name, amount in self.items() if name not in (CPU, GPU)}

    @classmethod
    def parse(cls, request: Any, argument: str = "resources_per_trial") -> Resources:
        """Read a request as Ray Tune users write it.

        Args:
            request: None (one CPU), a dict such as ``{"cpu": 0.5, "gpu": 1, "custom": 2}`` (a dict
                without ``cpu`` asks for one CPU, a nested ``custom_resources`` dict is merged), a
                `PlacementGroupFactory`, or `Resources`.
            argument: The name used in errors.

        Raises:
            InvalidArgument: On negative, NaN or non-numeric amounts and unknown types.
        """
        if request is None:
            return cls(((CPU, MILLI),))
        if isinstance(request, Resources):
            return request
        if isinstance(request, PlacementGroupFactory):
            if len(request.bundles) > 1:
                bundles = tuple(map(_bundle, request.bundles, itertools.count()))
                return PlacementGroup(bundles, request.strategy)
            return cls.parse(request.required_resources or {"cpu": 0}, argument)
        if not isinstance(request, Mapping):
            raise InvalidArgument(
                argument,
                f"got {type(request).__name__}.",
                'Give a dict such as {"cpu": 1, "gpu": 0.5} or a PlacementGroupFactory.',
            )
        given: list[tuple[Any, Any]] = []
        for name, amount in request.items():
            if name in ("custom_resources", "extra_custom_resources"):
                given += (amount or {}).items()
            else:
                given.append(
                    (name.removeprefix("extra_") if isinstance(name, str) else name, amount)
                )
        amounts: dict[str, int] = {}
        for name, amount in given:
            if not isinstance(name, str) or not name:
                raise InvalidArgument(argument, f"resource name {name!r}.", "Names are strings.")
            key = canonical_name(name)
            amounts[key] = amounts.get(key, 0) + to_milli(amount or 0, f'{argument}["{name}"]')
        amounts.setdefault(CPU, MILLI)
        return cls(tuple(sorted((name, value) for name, value in amounts.items() if value)))

    @classmethod
    def of(cls, **units: float) -> Resources:
        """Build from amounts in units without any default: ``Resources.of(CPU=4, GPU=1)``."""
        return cls(
            tuple(sorted((canonical_name(n), to_milli(v, n)) for n, v in units.items() if v))
        )

    def get_milli(self, name: str) -> int:
        """Amount of one resource in milli-units, 0 if it is not named."""
        for key, value in self.milli:
            if key == name:
                return value
        return 0

    def __getitem__(self, name: str) -> float:
        key = canonical_name(name)
        for known, value in self.milli:
            if known == key:
                return value / MILLI
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return (name for name, _ in self.milli)

    def __len__(self) -> int:
        return len(self.milli)

    def __str__(self) -> str:
        return ", ".join(show_amount(name, value) for name, value in self.milli) or "nothing"


class PlacementGroup(Resources):
    """Several bundles that are reserved together; as resources it is their sum.

    Args:
        bundles: At least two; the first runs the trial and may be empty.
        strategy: As of `PlacementGroupFactory`.
    """

    __slots__ = ("_bundles", "_hash", "_strategy")

    def __init__(self, bundles: tuple[Resources, ...], strategy: str) -> None:
        total: Counter[str] = Counter()
        for bundle in bundles:
            total.update(dict(bundle.milli))
        object.__setattr__(self, "milli", tuple(sorted(total.items())))
        object.__setattr__(self, "_bundles", bundles)
        object.__setattr__(self, "_strategy", strategy)
        object.__setattr__(self, "_hash", hash((bundles, strategy)))

    @property
    def bundles(self) -> tuple[Resources, ...]:  # noqa: D102  inherited
        return self._bundles  # type: ignore[no-any-return,attr-defined]

    @property
    def strategy(self) -> str:  # noqa: D102  inherited
        return self._strategy  # type: ignore[no-any-return,attr-defined]

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, PlacementGroup)
            and self.bundles == other.bundles
            and self.strategy == other.strategy
        )

    def __hash__(self) -> int:
        return self._hash  # type: ignore[no-any-return,attr-defined]

    def __reduce__(self) -> tuple[Any, ...]:
        return PlacementGroup, (self.bundles, self.strategy)

    def __str__(self) -> str:
        listed = "; ".join(f"{n} x ({b})" for b, n in Counter(self.bundles).items())
        return f"{self.strategy} of {listed}"


class PlacementGroupFactory:
    """Several bundles of resources that a trial gets together, or not at all.

    The first bundle, the head, runs the trial. The others are for what the trial starts in them,
    see `tune.trial_workers`.

    Args:
        bundles: Dicts of resources. The head may be empty: the trial takes nothing of its own.
        strategy: How they are laid over the nodes, which are Dask workers: ``PACK`` takes as few
            as it can, ``SPREAD`` as many; ``STRICT_PACK`` insists on a single one, and
            ``STRICT_SPREAD`` on a different one for each bundle.

    Raises:
        InvalidArgument: If no bundle is given, one has a wrong amount, one of several has no
            resources, the head of several has no CPU, or there is no such strategy.
    """

    def __init__(
        self,
        bundles: list[dict[str, float]],
        strategy: str = "PACK",
        *args: Any,
        **kwargs: Any,
    ) -> None:
        if not bundles:
            raise InvalidArgument("bundles", "the list is empty.", 'Give e.g. [{"CPU": 1}].')
        if strategy not in _STRATEGIES:
            raise InvalidArgument(
                "strategy", f"got {strategy!r}.", f"It is one of {', '.join(_STRATEGIES)}."
            )
        head, *others = map(_bundle, bundles, itertools.count())
        if others:
            if head and not head.cpu:
                raise InvalidArgument(
                    "bundles",
                    f"the first bundle, which runs the trial, asks for {head} and no CPU.",
                    'Give it one, e.g. {"CPU": 1, ...}, or nothing at all: {}.',
                )
            if not all(others):
                raise InvalidArgument(
                    f"bundles[{others.index(Resources()) + 1}]",
                    "it is empty.",
                    "Only the first bundle, which runs the trial, may be.",
                )
        self.bundles = [dict(bundle) for bundle in bundles]
        self.strategy = strategy

    @property
    def head_bundle_is_empty(self) -> bool:
        """True if the trainable itself asks for nothing."""
        return not any(self.bundles[0].values())

    @property
    def head_cpus(self) -> float:
        """CPUs of the first bundle."""
        return self.bundles[0].get("CPU", 0.0)

    @property
    def required_resources(self) -> dict[str, float]:
        """Sum over all bundles, in units."""
        total: dict[str, float] = {}
        for bundle in self.bundles:
            for name, amount in bundle.items():
                total[name] = total.get(name, 0) + amount
        return total

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, PlacementGroupFactory)
            and self.bundles == other.bundles
            and self.strategy == other.strategy
        )

    def __hash__(self) -> int:
        return hash((tuple(tuple(sorted(b.items())) for b in self.bundles), self.strategy))

    def __repr__(self) -> str:
        return f"PlacementGroupFactory({self.bundles!r}, strategy={self.strategy!r})"


def _bundle(amounts: Mapping[str, float], number: int) -> Resources:
    return Resources.parse({"cpu": 0, **amounts}, f"bundles[{number}]")


def resource_dict_to_pg_factory(spec: Mapping[str, Any] | None) -> PlacementGroupFactory:
    """Return a `PlacementGroupFactory` of one bundle, from a dict as for `resources_per_trial`.

    Raises:
        InvalidArgument: If an amount is wrong, as in `Resources.parse`.
    """
    return PlacementGroupFactory([dict(Resources.parse(spec))])


def json_to_resources(data: str | Mapping[str, Any] | None) -> Resources | None:
    """Return the resources in a JSON text or the dict in it; None for None or ``null``.

    Raises:
        InvalidArgument: If the text is no JSON of resources.
    """
    if data is None or data == "null":
        return None
    if isinstance(data, str):
        try:
            data = json.loads(data)
        except ValueError as error:
            raise InvalidArgument("data", f"is no JSON ({error}).", 'Give {"cpu": 1}.') from None
    return Resources.parse(data, "data")


def resources_to_json(resources: Mapping[str, float] | None) -> str | None:
    """Return resources as a JSON text, which `json_to_resources` reads."""
    if resources is None:
        return None
    parsed = Resources.parse(resources, "resources")
    return json.dumps(
        {"cpu": parsed.cpu, "gpu": parsed.gpu, "custom_resources": parsed.custom_resources}
    )
