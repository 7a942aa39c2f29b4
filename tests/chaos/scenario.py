"""What one run is: a small sweep and what is done to it, all drawn from a seed."""

from __future__ import annotations

import json
import random
from collections.abc import Collection
from dataclasses import asdict, dataclass, replace
from enum import StrEnum


class Kind(StrEnum):
    """What can be done to a sweep."""

    TRIAL = "trial"  #: SIGKILL to a trial process
    ZYGOTE = "zygote"  #: SIGKILL to the process that forks trials
    WORKER = "worker"  #: SIGKILL to a Dask worker
    SCHEDULER = "scheduler"  #: SIGKILL to the Dask scheduler
    FLOW = "flow"  #: SIGKILL to the flow process
    MACHINE = "machine"  #: SIGKILL to the flow process and all workers, and its disk is gone
    PREFECT = "prefect"  #: SIGKILL to the Prefect server
    STORAGE_ERRORS = "storage-errors"  #: errors, broken connections and lost answers for a while
    STORAGE_AWAY = "storage-away"  #: no connection to the store for a while
    DISK_FULL = "disk-full"  #: no room on the disk of the experiment directory for a while


#: After these the flow process may end with an error, and the sweep has to be resumed.
FATAL = frozenset({Kind.FLOW, Kind.MACHINE, Kind.SCHEDULER, Kind.DISK_FULL})
#: Without these a sweep may refuse to start; once it runs it has to do without them for a while.
NEEDED = frozenset({Kind.PREFECT, Kind.STORAGE_AWAY, Kind.WORKER, Kind.ZYGOTE})

PLAIN, FUNCTION, STEP_DIR, CLASS, CLASS_DICT = (
    "plain",  # a function without checkpoints
    "function",  # report(checkpoint=), get_checkpoint()
    "step-dir",  # checkpoint_dir(step), f(config, checkpoint_dir=None)
    "class",  # save_checkpoint that writes files
    "class-dict",  # save_checkpoint that returns a dict
)
TRAINABLES = (PLAIN, FUNCTION, STEP_DIR, CLASS, CLASS_DICT)
FIFO, ASHA, PAUSING, HYPERBAND, PBT = "fifo", "asha", "pausing", "hyperband", "pbt"
RESOURCES = "resources"
SCHEDULERS = (FIFO, ASHA, PAUSING, HYPERBAND, PBT, RESOURCES)
#: Those that end trials early, and those that need checkpoints to get anywhere.
ENDING, SUSPENDING = (ASHA, HYPERBAND), (PAUSING, HYPERBAND, PBT, RESOURCES)
LOCAL, S3 = "local", "s3"
STORAGES = (LOCAL, S3)
INSIDE, SHARED, APART = (
    "inside",  # the cluster that lives in the flow process
    "shared",  # scheduler and workers of their own, on the flow process's file system
    "apart",  # the same, but the workers do not see the experiment directory
)
CLUSTERS = (INSIDE, SHARED, APART)


@dataclass(frozen=True)
class Strike:
    """One thing that is done to a sweep.

    Attributes:
        kind: What.
        after: How many results the flow process must have shown before.
        delay: Seconds from then on.
        lasting: For how many seconds, where it is not a kill.
    """

    kind: Kind
    after: int
    delay: float
    lasting: float = 0.0


@dataclass(frozen=True)
class Scenario:
    """One run."""

    seed: int
    trainable: str
    scheduler: str
    storage: str
    cluster: str
    prefect: bool
    optuna: bool
    trials: int
    steps: int
    step_s: float
    every: int
    keep: int | None
    scored: bool
    strikes: tuple[Strike, ...]

    @property
    def checkpoints(self) -> bool:
        """Whether its trials write any."""
        return self.trainable != PLAIN

    def encode(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def decode(cls, text: str) -> Scenario:
        body = json.loads(text)
        body["strikes"] = tuple(Strike(Kind(s.pop("kind")), **s) for s in body.pop("strikes"))
        return cls(**body)

    def __str__(self) -> str:
        what = [self.trainable, self.scheduler, self.storage, self.cluster]
        what += ["prefect"] * self.prefect + ["optuna"] * self.optuna
        if self.keep is not None:
            what.append(f"keep {self.keep}{' by score' * self.scored}")
        struck = ", ".join(f"{s.kind} after {s.after}" for s in self.strikes)
        return f"{' '.join(what)}; {self.trials} trials of {self.steps} results; {struck}"


@dataclass(frozen=True)
class Limits:
    """What runs may be made of; `prefect` is the share of those with a Prefect server."""

    trainables: Collection[str] = TRAINABLES
    schedulers: Collection[str] = SCHEDULERS
    storages: Collection[str] = STORAGES
    clusters: Collection[str] = CLUSTERS
    kinds: Collection[str] = tuple(Kind)
    prefect: float = 0.2


def draw(seed: int, limits: Limits) -> Scenario:
    """The run of a seed: the same for the same limits."""
    rng = random.Random(f"chaos {seed}")
    trainable = rng.choice([t for t in TRAINABLES if t in limits.trainables])
    schedulers = [s for s in SCHEDULERS if s in limits.schedulers]
    if trainable == PLAIN:  # would begin anew after each pause, and never come to its end
        schedulers = [s for s in schedulers if s not in SUSPENDING] or [FIFO]
    scenario = Scenario(
        seed=seed,
        trainable=trainable,
        scheduler=rng.choice(schedulers),
        storage=rng.choice([s for s in STORAGES if s in limits.storages]),
        cluster=rng.choice([c for c in CLUSTERS if c in limits.clusters]),
        prefect=rng.random() < limits.prefect,
        optuna=rng.random() < 0.15,
        trials=rng.randint(2, 6),
        steps=rng.randint(4, 12),
        step_s=rng.choice([0.02, 0.05, 0.1]),
        every=rng.randint(1, 3),
        keep=rng.choice([None, None, 1, 2]),
        scored=rng.random() < 0.4,
        strikes=(),
    )
    if scenario.scheduler == PBT:  # changes what a searcher would have suggested
        scenario = replace(scenario, optuna=False)
    kinds = [kind for kind in _possible(scenario) if kind in limits.kinds]
    total = scenario.trials * scenario.steps
    if scenario.scheduler in ENDING:
        total = max(total // 3, 1)
    strikes = [_strike(rng, kinds, total) for _ in range(rng.randint(1, 4)) if kinds]
    return replace(scenario, strikes=tuple(sorted(strikes, key=lambda s: s.after)))


def _possible(scenario: Scenario) -> list[Kind]:
    kinds = [Kind.TRIAL, Kind.TRIAL, Kind.ZYGOTE, Kind.FLOW, Kind.FLOW]
    if scenario.cluster != INSIDE:
        kinds += [Kind.WORKER, Kind.WORKER, Kind.SCHEDULER]
    if scenario.prefect:
        kinds += [Kind.PREFECT, Kind.PREFECT]
    if scenario.storage == S3:
        kinds += [Kind.STORAGE_ERRORS, Kind.STORAGE_AWAY, Kind.MACHINE]
    elif scenario.cluster != APART:
        kinds.append(Kind.DISK_FULL)
    return kinds


def _strike(rng: random.Random, kinds: list[Kind], total: int) -> Strike:
    kind = rng.choice(kinds)
    # Some before the first result: starting and resuming are moments like any other.
    early = rng.random() < 0.2
    after = 0 if early else rng.randrange(total)
    delay = rng.uniform(0.0, 3.0 if early else 0.3)
    return Strike(kind, after, round(delay, 3), round(rng.uniform(0.3, 3.0), 3))
