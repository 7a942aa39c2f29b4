"""Change hyperparameters for population based training: perturb or resample them."""

from __future__ import annotations

import copy
import random
from collections.abc import Mapping, Sequence
from typing import Any

from prefect_tune.error import InvalidArgument
from prefect_tune.space import Categorical, Domain, RandomState, is_variable
from prefect_tune.validation import is_number

#: Key -> list of values, domain, function without arguments, or a dict of these.
Mutations = Mapping[str, Any]


def check_mutations(mutations: Mutations, argument: str = "hyperparam_mutations") -> None:
    """Check the definition of mutations.

    Raises:
        InvalidArgument: If a value has a wrong type; the error names the key.
    """
    if not isinstance(mutations, Mapping):
        raise InvalidArgument(
            argument, f"got {mutations!r:.200}.", 'Give a dict, e.g. {"lr": tune.uniform(0, 1)}.'
        )
    for key, values in mutations.items():
        where = f"{argument}[{key!r}]"
        if isinstance(values, Mapping) and is_variable(values):
            raise InvalidArgument(
                where, "a grid cannot be drawn from.", "Give a list of values, or tune.choice."
            )
        if isinstance(values, Mapping):
            check_mutations(values, where)
        elif isinstance(values, (list, tuple)):
            if not values:
                raise InvalidArgument(where, "the list is empty.", "Give at least one value.")
        elif not isinstance(values, Domain) and not callable(values):
            raise InvalidArgument(
                where,
                f"got {values!r:.200}.",
                "Give a list of values, a domain such as tune.uniform(0, 1), a function without "
                "arguments, or a dict of these.",
            )


def draw(values: Any, dice: random.Random, stream: RandomState) -> Any:
    """Draw a new value of a hyperparameter, or of a dict of hyperparameters."""
    if isinstance(values, Mapping):
        return {key: draw(below, dice, stream) for key, below in values.items()}
    if isinstance(values, Domain):
        return values.sample(None, random_state=stream)
    return dice.choice(values) if isinstance(values, (list, tuple)) else values()


def fill(
    config: dict[str, Any], mutations: Mutations, dice: random.Random, stream: RandomState
) -> list[str]:
    """Draw hyperparameters that a configuration lacks, and return their keys.

    Raises:
        InvalidArgument: If the configuration has a value where the mutations have a dict.
    """
    filled = []
    for key, values in mutations.items():
        if key in config and isinstance(values, Mapping):
            if not isinstance(config[key], dict):
                raise InvalidArgument(
                    "hyperparam_mutations",
                    f"{key!r} is a dict there, but {config[key]!r:.200} in a trial's config.",
                    "Give both the same structure.",
                )
            filled += [f"{key}/{below}" for below in fill(config[key], values, dice, stream)]
        elif key not in config:
            config[key] = draw(values, dice, stream)
            filled.append(key)
    return filled


def explore(
    config: Mapping[str, Any],
    mutations: Mutations,
    resample_probability: float,
    factors: Sequence[float],
    dice: random.Random,
    stream: RandomState,
) -> dict[str, Any]:
    """Return a copy of a configuration with changed hyperparameters.

    A hyperparameter is drawn anew with `resample_probability`. Otherwise a value from a list is
    replaced by its neighbour in the list, and a number is multiplied by one of the factors; ints
    are rounded.
    """
    new = copy.deepcopy(dict(config))
    for key, values in mutations.items():
        known = config[key]
        if isinstance(values, Mapping):
            new[key] = explore(known, values, resample_probability, factors, dice, stream)
            continue
        steps = values.categories if isinstance(values, Categorical) else values
        listed = list(steps) if isinstance(steps, (list, tuple)) else None
        if dice.random() < resample_probability or (listed is not None and known not in listed):
            new[key] = draw(values, dice, stream)
        elif listed is not None:
            place = listed.index(known) + dice.choice([-1, 1])
            new[key] = listed[min(max(place, 0), len(listed) - 1)]
        elif is_number(known):
            scaled = known * dice.choice(list(factors))
            new[key] = round(scaled) if isinstance(known, int) else scaled
        else:
            new[key] = draw(values, dice, stream)
    return new


def perturbed_tag(tag: str, config: Mapping[str, Any], mutations: Mutations) -> str:
    """Return the tag of a perturbed trial, ``<tag>@perturbed[k=v,...]``."""
    values = mutated_values(config, mutations)
    shown = (
        f"{key}={value:.4f}" if isinstance(value, float) else f"{key}={value}"
        for key, value in values.items()
    )
    return f"{original_tag(tag)}@perturbed[{','.join(shown)}]"


def original_tag(tag: str) -> str:
    """Return the tag that a trial had before it was perturbed."""
    return tag.partition("@perturbed[")[0]


def mutated_values(
    config: Mapping[str, Any], mutations: Mutations, prefix: str = ""
) -> dict[str, Any]:
    """Return the values of the hyperparameters in a configuration, by path."""
    found: dict[str, Any] = {}
    for key, values in mutations.items():
        if key not in config:
            continue
        if isinstance(values, Mapping):
            found |= mutated_values(config[key], values, f"{prefix}{key}/")
        else:
            found[f"{prefix}{key}"] = config[key]
    return found
