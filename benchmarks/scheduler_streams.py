"""The same streams of events for Ray Tune's schedulers and ours, and what each of them decides.

A stream stands in for an experiment: trials that report numbers drawn from a seed, on a few slots.
Nothing but the standard library is imported, so that it works in the peer's virtual environment.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

PENDING, RUNNING, PAUSED, TERMINATED = "PENDING", "RUNNING", "PAUSED", "TERMINATED"
#: What `lr` is drawn anew as, which no change of a number comes to.
DRAWN = 7.0
BATCHES = [16, 32, 64, 128, 256]
FACTORS = (1.2, 0.8)
_FOREVER = 10**6

#: One decision: the trial, its time, and what was decided; or an event of a trial.
Entry = list[Any]


class StreamTrial:
    """A trial, with what the schedulers of both look at."""

    is_saving = False
    temporary_state = SimpleNamespace(saving_to=None)
    #: Any checkpoint will do.
    newest_checkpoint = checkpoint = "checkpoint"
    local_experiment_path = local_dir = ""

    def __init__(self, trial_id: str) -> None:
        self.trial_id = trial_id
        self.status = PENDING
        self.config: dict[str, Any] = {}
        self.experiment_tag = trial_id
        self.evaluated_params: dict[str, Any] = {}
        self.last_result: dict[str, Any] = {}
        rules = SimpleNamespace(num_to_keep=None)
        manager = SimpleNamespace(checkpoint_config=rules)
        self.run_metadata = SimpleNamespace(checkpoint_manager=manager)

    def __repr__(self) -> str:
        return self.trial_id

    def is_finished(self) -> bool:
        return self.status == TERMINATED

    def set_config(self, config: dict[str, Any]) -> None:
        self.config = config

    def set_experiment_tag(self, tag: str) -> None:
        self.experiment_tag = tag


class Searcher:
    """A searcher that is told of pauses; Ray looks for it below `searcher`."""

    def on_pause(self, trial_id: str) -> None:
        """Nothing."""

    on_unpause = on_pause

    @property
    def searcher(self) -> Searcher:
        return self


class Stream:
    """An experiment on simulated trials; it is the controller that the schedulers are given.

    Args:
        scheduler: Whose decisions are wanted.
        seed: Decides what trials report, and whose turn it is.
        trials: How many there are.
        slots: How many run at once.
        lookahead: How many wait for a slot.
        ends: At which time a trial ends by itself, by its number.
        steps: By how much a trial's time goes on with a result.
        odd: Share of the results that are not finite.
        results: After how many results the stream ends.
    """

    search_alg = _search_alg = Searcher()

    def __init__(
        self,
        scheduler: Any,
        seed: int,
        *,
        trials: int,
        slots: int,
        lookahead: int = 1,
        ends: Callable[[random.Random], int] = lambda draw: _FOREVER,
        steps: tuple[int, ...] = (1,),
        odd: float = 0.0,
        results: int = 20_000,
    ) -> None:
        self.log: list[Entry] = []
        self.copies: list[dict[str, Any]] = []
        self._scheduler = scheduler
        self._seed = seed
        self._num_trials = trials
        self._slots = slots
        self._lookahead = lookahead
        self._ends = ends
        self._steps = steps
        self._odd = odd
        self._results = results
        self._draw = random.Random(seed)
        self._trials: dict[str, StreamTrial] = {}
        self._time: dict[str, int] = {}
        self._end: dict[str, int] = {}
        self._saved: dict[str, int] = {}

    # -- what schedulers ask for ------------------------------------------------------------------

    def get_trials(self) -> list[StreamTrial]:
        return list(self._trials.values())

    def get_live_trials(self) -> list[StreamTrial]:
        return [trial for trial in self._trials.values() if not trial.is_finished()]

    def get_waiting_trials(self) -> list[StreamTrial]:
        return [trial for trial in self._trials.values() if trial.status in (PENDING, PAUSED)]

    def get_trial(self, trial_id: str) -> StreamTrial | None:
        return self._trials.get(trial_id)

    def has_resources_for_trial(self, trial: StreamTrial) -> bool:
        return True

    def stop_trial(self, trial: StreamTrial) -> None:
        self._scheduler.on_trial_remove(self, trial)
        trial.status = TERMINATED
        self.log.append(["removed", trial.trial_id])

    def pause_trial(self, trial: StreamTrial, should_checkpoint: bool = True) -> None:
        trial.status = PAUSED

    def save_checkpoint(self, trial: StreamTrial, result: Any = None) -> str:
        self._saved[trial.trial_id] = self._time[trial.trial_id]
        return "checkpoint"

    _schedule_trial_save = save_checkpoint

    def restore_trial_from(
        self,
        trial: StreamTrial,
        source: StreamTrial,
        checkpoint: Any = None,
        config: dict[str, Any] | None = None,
        experiment_tag: str = "",
    ) -> bool:
        """A trial becomes a copy: asked for by our schedulers, told by what wraps Ray's."""
        config = config or {}
        self.copies.append(
            {"of": source.config, "is": config, "from": source.trial_id, "to": trial.trial_id}
        )
        self._time[trial.trial_id] = self._saved[source.trial_id]
        trial.config = config
        trial.status = PAUSED
        return True

    # -- the course of events ---------------------------------------------------------------------

    def run(self) -> Stream:
        for _ in range(self._results):
            self._fill()
            running = [trial for trial in self._trials.values() if trial.status == RUNNING]
            if not running:
                break
            self._step(self._draw.choice(running))
        else:
            return self  # it could go on
        self.log.append(["left", [trial.trial_id for trial in self.get_live_trials()]])
        return self

    def _fill(self) -> None:
        self._add()
        while sum(trial.status == RUNNING for trial in self._trials.values()) < self._slots:
            trial = self._scheduler.choose_trial_to_run(self)
            if trial is None:
                return
            trial.status = RUNNING
            self.log.append(["runs", trial.trial_id])
            self._add()

    def _config(self, draw: random.Random) -> dict[str, Any]:
        return {}

    def _add(self) -> None:
        waiting = sum(trial.status == PENDING for trial in self._trials.values())
        while waiting < self._lookahead and len(self._trials) < self._num_trials:
            number = len(self._trials)
            draw = random.Random(f"{self._seed}/{number}")
            trial = StreamTrial(f"{number:04d}")
            trial.config = self._config(draw)
            self._trials[trial.trial_id] = trial
            self._time[trial.trial_id] = self._saved[trial.trial_id] = 0
            self._end[trial.trial_id] = self._ends(draw)
            self._scheduler.on_trial_add(self, trial)
            waiting += 1

    def _step(self, trial: StreamTrial) -> None:
        name = trial.trial_id
        time = self._time[name] + self._draw.choice(self._steps)
        if time > self._end[name]:
            self._scheduler.on_trial_complete(self, trial, trial.last_result)
            trial.status = TERMINATED
            self.log.append(["ends", name])
            return
        self._time[name] = time
        draw = random.Random(f"{self._seed}/{name}/{time}")
        value = draw.random()
        if draw.random() < self._odd:
            value = draw.choice([math.nan, math.inf, -math.inf])
        result = {"training_iteration": time, "score": value}
        known = len(self.copies)
        decision = str(self._scheduler.on_trial_result(self, trial, result))
        made = [f"{copy['to']} copies {copy['from']}" for copy in self.copies[known:]]
        self.log.append([name, time, ", ".join(made) or decision])
        trial.last_result = result
        if made or decision == "PAUSE":
            trial.status = PAUSED
            self._saved[name] = self._time[name]
        elif decision == "STOP":
            self._scheduler.on_trial_complete(self, trial, result)
            trial.status = TERMINATED


def streams(schedulers: ModuleType, pbt: Any, kind: str, runs: int) -> Iterator[Stream]:
    """The streams of a kind of scheduler, each after its course.

    Args:
        schedulers: Has the classes under Ray's names.
        pbt: The class for population based training, which tells the stream of copies.
        kind: ``fifo``, ``asha``, ``median``, ``median_odd``, ``hyperband``, ``hyperband_ends``,
            ``bohb``, ``pbt``, ``pbt_odd`` or ``pbt_synch``.
        runs: How many.
    """
    import numpy as np

    for seed in range(runs):
        draw = random.Random(f"{kind}/{seed}")
        random.seed(seed)
        np.random.seed(seed)
        common = {
            "time_attr": "training_iteration",
            "metric": "score",
            "mode": draw.choice(["min", "max"]),
        }
        slots = draw.randint(1, 8)
        if kind == "fifo":
            yield Stream(
                schedulers.FIFOScheduler(),
                seed,
                trials=20,
                slots=slots,
                ends=lambda own: own.randint(1, 20),
            ).run()
        elif kind == "asha":
            scheduler = schedulers.AsyncHyperBandScheduler(
                **common,
                max_t=draw.choice([9, 27, 81, 100]),
                grace_period=draw.choice([1, 2, 3]),
                reduction_factor=draw.choice([2, 3, 4]),
                brackets=draw.choice([1, 1, 2, 3]),
            )
            yield Stream(
                scheduler,
                seed,
                trials=60,
                slots=slots,
                ends=lambda own: own.choice([_FOREVER, own.randint(1, 100)]),
                steps=draw.choice([(1,), (1, 2, 5)]),
                odd=draw.choice([0.0, 0.05]),
            ).run()
        elif kind in ("median", "median_odd"):
            scheduler = schedulers.MedianStoppingRule(
                **common,
                grace_period=draw.choice([1, 2, 5]),
                min_samples_required=draw.choice([1, 2, 3, 5]),
            )
            yield Stream(
                scheduler,
                seed,
                trials=draw.randint(3, 20),
                slots=slots,
                ends=lambda own: own.randint(10, 60),
                steps=draw.choice([(1,), (1, 2, 4)]),
                odd=0.1 if kind == "median_odd" else 0.0,
            ).run()
        elif kind in ("hyperband", "hyperband_ends", "bohb"):
            max_t = draw.choice([9, 16, 27, 81, 100])
            scheduler = getattr(
                schedulers, "HyperBandForBOHB" if kind == "bohb" else "HyperBandScheduler"
            )(**common, max_t=max_t, reduction_factor=draw.choice([2, 3, 4]))
            early = kind == "hyperband_ends"
            yield Stream(
                scheduler,
                seed,
                trials=draw.randint(1, 120),
                slots=slots,
                lookahead=draw.choice([1, 3, 16, 200]),
                ends=lambda own, max_t=max_t, early=early: (  # type: ignore[misc]
                    own.randint(1, max_t) if early and own.random() < 0.2 else _FOREVER
                ),
            ).run()
        elif kind in ("pbt", "pbt_odd", "pbt_synch"):
            scheduler = pbt(
                **common,
                perturbation_interval=draw.choice([2, 3, 5]),
                burn_in_period=draw.choice([0, 4]),
                quantile_fraction=draw.choice([0.25, 0.5]),
                hyperparam_mutations={"lr": lambda: DRAWN, "batch": list(BATCHES)},
                log_config=False,
                synch=kind == "pbt_synch",
            )
            yield Stream(
                scheduler,
                seed,
                trials=12,
                slots=draw.choice([3, 6, 12]),
                lookahead=12,
                odd=0.05 if kind == "pbt_odd" else 0.0,
                results=1200,
            ).run()


def write(schedulers: ModuleType, pbt: Any, kind: str, runs: int, path: str) -> dict[str, float]:
    """Write the logs and copies of all streams of a kind to a file.

    Returns:
        How many decisions there were, and how many streams left trials behind that nobody runs.
    """
    done = list(streams(schedulers, pbt, kind, runs))
    Path(path).write_text(json.dumps([[stream.log, stream.copies] for stream in done]))
    decisions = sum(len(entry) == 3 for stream in done for entry in stream.log)
    stuck = sum(stream.log[-1][0] == "left" and bool(stream.log[-1][1]) for stream in done)
    return {"decisions": decisions, "stuck": stuck}
