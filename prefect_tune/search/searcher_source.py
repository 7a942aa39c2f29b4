"""`SearcherSource`: make trials of a searcher's suggestions."""

from __future__ import annotations

import pickle
import random
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from prefect_tune.error import InvalidArgument, TuneError
from prefect_tune.nested import flatten_config
from prefect_tune.search.search_state import SourceState
from prefect_tune.search.searcher import Metric, Mode, Searcher, reject_grids
from prefect_tune.search.source import FINISHED, Finished, Suggestion
from prefect_tune.search.warm_start import Evaluated, best_points, can_learn, fitting, teach
from prefect_tune.search.wrapper import ConcurrencyLimiter, offer_properties
from prefect_tune.space import (
    SearchSpace,
    check_num_samples,
    format_tag,
    is_variable,
    random_draw,
)
from prefect_tune.space.random import own_stream, set_stream_state, stream_state


class SearcherSource:
    """A trial source that makes trials of a searcher's suggestions.

    A suggestion is merged into the experiment's space. Variables that the suggestion does not set
    (functions, and domains that the searcher does not know) are computed and drawn here.

    Args:
        searcher: Makes the suggestions; it is offered the space, metric and mode.
        space: The parsed search space.
        num_samples: Number of trials; -1 for as many as the searcher suggests.
        metric: The caller's metric.
        mode: The caller's mode.
        seed: Seed of ids; also offered to the searcher.
        evaluated: Configurations whose values are known: the searcher learns from them, or if it
            cannot, the best ones are tried before it is asked.

    Raises:
        InvalidArgument: The space holds a grid, or is offered to a searcher that has a space.
    """

    lookahead = 1

    def __init__(
        self,
        searcher: Searcher,
        space: SearchSpace,
        num_samples: int = 1,
        metric: Metric = None,
        mode: Mode = None,
        seed: int | None = None,
        evaluated: Sequence[Evaluated] = (),
    ) -> None:
        check_num_samples(num_samples)
        reject_grids(space, type(searcher).__name__)
        self.searcher = searcher
        self._space = space
        self._num_samples = num_samples
        self._ids = random.Random(seed)
        self._stream = own_stream(seed)
        self._draw = random_draw(self._stream)
        self._count = 0
        self._next_id = self._new_id()
        self._live: set[str] = set()
        self._finished = False
        taken = offer_properties(
            searcher, metric, mode, space.space, seed=seed, num_samples=num_samples
        )
        if space.variables and not taken:
            raise InvalidArgument(
                "param_space",
                f"{type(searcher).__name__} has a search space of its own, or takes none, but the "
                f"given space has variables ({', '.join(v.name for v in space.variables)}).",
                "Give the space either to the searcher or to the experiment.",
            )
        known = fitting(space, evaluated) if evaluated else []
        learns = can_learn(searcher)
        # The searcher is told when the search begins: one that is restored knows them already.
        self._to_teach = known if learns else []
        self._first = [] if learns else best_points(known, mode)

    @property
    def wants_results(self) -> bool:
        """Whether the searcher uses intermediate results."""
        return self.searcher.wants_results

    def next(self) -> Suggestion | Literal[Finished.FINISHED] | None:
        """Return the next trial; None for "not now"; `FINISHED` for the end."""
        if self._finished or self._count == self._num_samples:
            return FINISHED
        # An id that got no suggestion is used again, so that ids do not depend on timing.
        trial_id = self._next_id
        if self._to_teach:
            teach(self.searcher, self._to_teach)
            self._to_teach = []
        asked = not self._first
        suggested = self.searcher.suggest(trial_id) if asked else self._first.pop(0)
        if suggested is None:
            return None
        if isinstance(suggested, str) and suggested == Searcher.FINISHED:
            self._finished = True
            return FINISHED
        if not isinstance(suggested, dict):
            raise TuneError(
                f"{type(self.searcher).__name__}.suggest() must return a config dict, None or "
                f"{Searcher.FINISHED!r}, got {type(suggested).__name__}: {suggested!r:.200}"
            )
        self._count += 1
        if asked:
            self._live.add(trial_id)
        self._next_id = self._new_id()
        whole = SearchSpace(_merge(self._space.space, suggested))
        config = next(whole.variants(self._draw))
        resolved = self._resolved(suggested, config)
        tag = format_tag(self._count, resolved)
        return Suggestion(trial_id, config, resolved, self._count, tag)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Pass a result of a trial to the searcher."""
        if trial_id in self._live:
            self.searcher.on_trial_result(trial_id, result)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Pass the end of a trial to the searcher, once."""
        if trial_id in self._live:
            self._live.discard(trial_id)
            self.searcher.on_trial_complete(trial_id, result=result, error=error)

    def total(self) -> int | None:
        """Return ``num_samples``; None if endless."""
        return None if self._num_samples < 0 else self._num_samples

    def adjust(self, samples: int, max_concurrent: int | None) -> None:
        """Increase the number of trials, and change the limit of trials at a time."""
        if self._num_samples >= 0:
            self._num_samples += samples
        if max_concurrent is not None and isinstance(self.searcher, ConcurrencyLimiter):
            self.searcher.max_concurrent = max_concurrent

    def save_state(self) -> bytes:
        """Return the state that the searcher's `save` writes, and the source's own counters."""
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "searcher.pkl"
            self.searcher.save(str(path))
            saved = path.read_bytes()
        own = (self._count, self._ids.getstate(), self._next_id, self._live, self._finished)
        state = SourceState(own, stream_state(self._stream), saved, self._first, not self._to_teach)
        return pickle.dumps(tuple(state))

    def restore_state(self, state: bytes) -> None:
        """Restore the searcher and the counters from a state of `save_state`."""
        saved = SourceState(*pickle.loads(state))
        self._first = list(saved.first)
        if saved.is_taught:
            self._to_teach = []
        self._count, ids, self._next_id, self._live, self._finished = saved.counters
        self._ids.setstate(ids)
        set_stream_state(self._stream, saved.stream)
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "searcher.pkl"
            path.write_bytes(saved.searcher)
            self.searcher.restore(str(path))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({type(self.searcher).__name__})"

    def _new_id(self) -> str:
        return f"{self._ids.getrandbits(32):08x}"

    def _resolved(self, suggested: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
        if not self._space.variables:
            return flatten_config(suggested)
        extra = {key: value for key, value in suggested.items() if key not in self._space.space}
        return {**self._space.describe(config), **flatten_config(extra)}


def _merge(base: dict[str, Any], suggested: dict[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for key, value in suggested.items():
        below = base.get(key)
        nested = isinstance(below, dict) and isinstance(value, dict) and not is_variable(below)
        result[key] = _merge(below, value) if nested else value  # type: ignore[arg-type]
    return result
