"""How good the best of some trials is: our searchers, their libraries alone, and Ray Tune's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import prefect_tune as tune
from benchmarks.measure import OURS, Bench, Outcome, Row, compare
from benchmarks.peers.ray_searchers import RAY_CLASSES
from benchmarks.problems import PROBLEMS, Objective, search_values
from benchmarks.subject import Values
from prefect_tune.search import SEARCHERS, Suggestion, make_source

#: Name of the searcher -> how many seeds; fewer where a suggestion takes long.
LIBRARIES = {
    "optuna": 20,
    "hyperopt": 20,
    "cfo": 20,
    "blendsearch": 20,
    "zoopt": 20,
    "nevergrad": 20,
    "bayesopt": 5,
    "skopt": 5,
    "ax": 3,
}
_SEED_ARGUMENT = {"hyperopt": "random_state_seed", "bayesopt": "random_state"}
_DOMAINS: dict[str, Any] = {
    "float": tune.uniform,
    "log": tune.loguniform,
    "int": lambda low, high: tune.randint(low, high + 1),
    "choice": tune.choice,
}


def measure(*, library: str, problem: str, trials: int, seeds: int) -> Values:
    """Search as an experiment does, without running trials."""

    def search(objective: Objective, trials: int, seed: int) -> None:
        arguments: dict[str, Any] = {_SEED_ARGUMENT.get(library, "seed"): seed}
        if library == "bayesopt":
            arguments["patience"] = trials
        searcher = SEARCHERS.create(library, **arguments)
        space = {name: _DOMAINS[kind](*rest) for name, (kind, *rest) in objective.space.items()}
        source = make_source(searcher, space, trials, "loss", "min", seed=seed)
        while isinstance(suggestion := source.next(), Suggestion):
            loss = objective(suggestion.config)
            source.on_trial_complete(suggestion.trial_id, {"loss": loss})

    return search_values(search, problem=problem, trials=trials, seeds=seeds)


def rows(bench: Bench) -> Iterator[Row]:
    trials = bench.size(50, quick=15)
    for library, most in LIBRARIES.items():
        seeds = bench.size(most, quick=2)
        for problem in PROBLEMS:
            if library == "bayesopt" and problem == "mixed":
                continue  # it knows numbers only
            arguments = {"library": library, "problem": problem, "trials": trials, "seeds": seeds}
            ours = bench.ours("searchers", timeout_s=1800, **arguments)
            peers = [
                bench.peer("search_libraries", "searchers", label=f"{library} alone", **arguments)
            ]
            if library in RAY_CLASSES:
                peers.append(
                    bench.peer("ray_searchers", "searchers", label="Ray Tune", **arguments)
                )
            what = f"{library}, {problem}"
            for row in compare(f"{what}: regret", "regret", "", ours, peers):
                errors = [_error(one) for one in (ours, *peers) if one.subject in (OURS, row.peer)]
                yield replace(row, note=f"{' | '.join(errors)}, n={trials}, {seeds} seeds")
            if problem == "Hartmann6":
                yield from compare(f"{what}: CPU time a trial", "suggest_ms", "ms", ours, peers)


def _error(outcome: Outcome) -> str:
    return outcome.problem or f"±{outcome.values['error']:.2g}"
