"""``prefect-tune quickstart``: the command's options and their checks."""

from __future__ import annotations

import argparse
import importlib.util
import math
import re
from collections.abc import Callable

from prefect_tune.cli.commands import EXIT_INTERRUPTED, EXIT_OK, UsageError
from prefect_tune.error import (
    ClusterError,
    InsufficientResources,
    InvalidArgument,
    PrefectUnavailable,
    StorageError,
    TuneError,
)

_LARGEST_SEED = 2**32 - 1
_ADDRESS_SCHEMES = ("tcp", "tls", "ucx", "ws", "wss", "inproc")

#: The option to name in an error when an argument of the sweep is wrong.
_OPTION_OF_ARGUMENT = {
    "num_samples": "--trials",
    "storage_path": "--storage",
    "cluster": "--cluster",
    "resources_per_trial": "--cpus-per-trial",
    "seed": "--seed",
    "search_alg": "--search",
}
_OPTION_OF_ERROR: tuple[tuple[type[TuneError], str], ...] = (
    (InsufficientResources, "--cpus-per-trial"),
    (ClusterError, "--cluster"),
    (StorageError, "--storage"),
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the quickstart's options."""
    add = parser.add_argument
    add(
        "--trials",
        type=whole_number(1),
        default=40,
        metavar="N",
        help="number of networks to train (default: %(default)s)",
    )
    add(
        "--epochs",
        type=whole_number(1),
        default=40,
        metavar="N",
        help="maximum epochs of a network (default: %(default)s)",
    )
    add(
        "--search",
        choices=("optuna", "random"),
        default="auto",
        help="searcher that proposes the networks (default: optuna if it is installed)",
    )
    add(
        "--seed",
        type=whole_number(0, _LARGEST_SEED),
        default=0,
        metavar="N",
        help="seed of the search, the weights and the shuffling (default: %(default)s)",
    )
    add(
        "--cpus-per-trial",
        type=positive_number,
        default=1.0,
        metavar="CPUS",
        help="CPUs for each network; 0.5 trains two on a CPU (default: 1)",
    )
    add(
        "--storage",
        type=not_empty,
        metavar="PATH",
        help="directory for the results (default: ~/prefect_tune_results)",
    )
    add(
        "--cluster",
        type=scheduler_address,
        metavar="ADDRESS",
        help="Dask scheduler to use, e.g. tcp://10.0.0.1:8786 (default: use this machine only)",
    )
    add(
        "--no-prefect",
        dest="orchestrate",
        action="store_const",
        const=False,
        help="do not record the sweep with Prefect; starts sooner",
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the quickstart."""
    if not importlib.util.find_spec("sklearn"):
        raise TuneError("the quickstart needs scikit-learn: pip install 'prefect-tune[quickstart]'")
    from prefect_tune.cli.quickstart import sweep

    try:
        outcome = sweep.run(sweep.SweepOptions(**vars(arguments)))
    except PrefectUnavailable as error:
        raise TuneError(f"{error} The quickstart's option for that is --no-prefect.") from error
    except InvalidArgument as error:
        option = _OPTION_OF_ARGUMENT.get(error.argument)
        if option is None:
            raise
        raise UsageError(option, f"{error.problem} {error.hint}") from error
    except TuneError as error:
        for kind, option in _OPTION_OF_ERROR:
            if isinstance(error, kind):
                # The error begins with the sweep's argument; the user knows the option instead.
                message = re.sub(r"^`\w+`: ", "", str(error))
                raise UsageError(option, message) from error
        raise
    return EXIT_INTERRUPTED if outcome.interrupted else EXIT_OK


def whole_number(minimum: int, maximum: int | None = None) -> Callable[[str], int]:
    """Return an argparse type for whole numbers from `minimum` to `maximum`."""
    wanted = f"of at least {minimum:,}" if maximum is None else f"from {minimum:,} to {maximum:,}"

    def read(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = None
        if number is None or number < minimum or (maximum is not None and number > maximum):
            raise argparse.ArgumentTypeError(f"give a whole number {wanted}, not {text!r}")
        return number

    return read


def positive_number(text: str) -> float:
    """Parse a finite number greater than zero; a type for argparse."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number > 0):
        raise argparse.ArgumentTypeError(f"give a number greater than 0, e.g. 0.5, not {text!r}")
    return number


def not_empty(text: str) -> str:
    """Check that a path is not empty, as after a shell variable that is not set."""
    if not text.strip():
        raise argparse.ArgumentTypeError("is empty; give a directory")
    return text


def scheduler_address(text: str) -> str:
    """Check that an address looks like one of a Dask scheduler."""
    scheme, separator, host = text.partition("://")
    if not separator or scheme not in _ADDRESS_SCHEMES or not host:
        raise argparse.ArgumentTypeError(
            f"give the address of a Dask scheduler such as tcp://127.0.0.1:8786, not {text!r}"
        )
    return text
